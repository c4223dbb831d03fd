// Where each name of a file is declared, and where it stands: what definition, rename and completion ask. Follows the scopes of the
// language over the whole file, also over branches that are not taken; values come from the elaborator, not from here.

import type * as ast from "../parser/ast.ts";
import type { FileEntry, FileScope } from "../elaborate/files.ts";
import type { Span } from "../support/source.ts";

export type NameKind =
  | "model"
  | "block"
  | "constant"
  | "config"
  | "checkpoint"
  | "import"
  | "parameter"
  | "input"
  | "dimension"
  | "variable"
  | "loop"
  | "state"
  | "weight";

export interface Declaration {
  readonly name: string;
  readonly kind: NameKind;
  /** Of the name where it is declared; perhaps in another file. */
  readonly span: Span;
  /** What it was declared with: a block, a parameter, an input. */
  readonly node?: ast.Block | ast.Param | ast.TensorParam | ast.Const | ast.Config;
  /** Of a weight whose key is its name: where a label can be written that keeps the key. */
  readonly labelAt?: number;
}

export interface Occurrence {
  readonly span: Span;
  readonly of: Declaration;
  readonly isDeclaration: boolean;
}

/** Names that can be said inside a span. */
export interface Scope {
  readonly span: Span;
  readonly outer: Scope | undefined;
  readonly names: Map<string, Declaration>;
}

export interface NameIndex {
  /** In the order of the text. */
  readonly occurrences: readonly Occurrence[];
  readonly scopes: readonly Scope[];
}

/** Equal for two declarations that are the same one. */
export function keyOf(d: Declaration): string {
  return `${d.span.file.name}:${d.span.start}`;
}

export function indexNames(file: FileScope): NameIndex {
  const indexer = new Indexer(file);
  for (const item of file.ast.items) indexer.item(item);
  const occurrences = indexer.occurrences.sort((a, b) => a.span.start - b.span.start);
  return { occurrences, scopes: indexer.scopes };
}

export function occurrenceAt(index: NameIndex, offset: number): Occurrence | undefined {
  return index.occurrences.find((o) => o.span.start <= offset && offset <= o.span.end);
}

/** Names in reach at an offset, the innermost first. */
export function namesAt(index: NameIndex, offset: number): ReadonlyMap<string, Declaration> {
  const inside = index.scopes.filter((s) => s.span.start <= offset && offset <= s.span.end);
  const innermost = inside.reduce<Scope | undefined>(
    (best, s) => (!best || s.span.end - s.span.start <= best.span.end - best.span.start ? s : best),
    undefined,
  );
  const out = new Map<string, Declaration>();
  for (let s = innermost; s; s = s.outer)
    for (const [name, d] of s.names) if (!out.has(name)) out.set(name, d);
  return out;
}

/** The declaration that an entry of a file stands for. */
export function declarationOf(entry: FileEntry): Declaration | undefined {
  if (entry.kind === "broken") return undefined;
  const { item } = entry;
  const kind =
    entry.kind === "config"
      ? "config"
      : entry.kind === "const"
        ? "constant"
        : entry.item.model
          ? "model"
          : "block";
  return { name: item.name.text, kind, span: item.name.span, node: item };
}

class Indexer {
  readonly occurrences: Occurrence[] = [];
  readonly scopes: Scope[] = [];
  readonly #file: FileScope;
  readonly #top: Scope;

  constructor(file: FileScope) {
    this.#file = file;
    this.#top = this.#scope(file.ast.span, undefined);
    const aliases = new Map<string, ast.Name>();
    for (const item of file.ast.items)
      if (item.kind === "import") for (const n of item.names) if (n.as) aliases.set(n.as.text, n.as);
    for (const [name, entry] of file.entries) {
      const alias = aliases.get(name);
      const declared = declarationOf(entry);
      if (alias)
        this.#top.names.set(name, {
          name,
          kind: "import",
          span: alias.span,
          ...(declared?.node && { node: declared.node }),
        });
      else if (declared) this.#top.names.set(name, declared);
    }
  }

  #scope(span: Span, outer: Scope | undefined): Scope {
    const scope: Scope = { span, outer, names: new Map() };
    this.scopes.push(scope);
    return scope;
  }

  #declare(scope: Scope, name: ast.Name, kind: NameKind, node?: Declaration["node"], labelAt?: number): void {
    const known = scope.names.get(name.text);
    const of: Declaration = known ?? {
      ...{ name: name.text, kind, span: name.span },
      ...(node && { node }),
      ...(labelAt !== undefined && { labelAt }),
    };
    if (!known) scope.names.set(name.text, of);
    this.occurrences.push({ span: name.span, of, isDeclaration: of.span.start === name.span.start });
  }

  #find(scope: Scope, name: string): Declaration | undefined {
    for (let s: Scope | undefined = scope; s; s = s.outer) {
      const found = s.names.get(name);
      if (found) return found;
    }
    return undefined;
  }

  #refer(scope: Scope, name: ast.Name): Declaration | undefined {
    const of = this.#find(scope, name.text);
    if (of) this.#stands(name.span, of);
    return of;
  }

  #stands(span: Span, of: Declaration): void {
    const isDeclaration = of.span.file.name === span.file.name && of.span.start === span.start;
    this.occurrences.push({ span, of, isDeclaration });
  }

  // ---- items ----

  item(item: ast.Item): void {
    const top = this.#top;
    switch (item.kind) {
      case "import":
        return this.#import(item);
      case "const":
        this.#own(item.name);
        return this.#expr(top, item.value);
      case "block":
        this.#own(item.name);
        return this.#block(item);
      case "config": {
        this.#stands(item.name.span, {
          name: item.name.text,
          kind: "config",
          span: item.name.span,
          node: item,
        });
        const model = this.#refer(top, item.model);
        if (item.extends) this.#extends(item.extends, item.model.text);
        return this.#args(top, item.args, model);
      }
      case "checkpoint":
        this.#stands(item.name.span, { name: item.name.text, kind: "checkpoint", span: item.name.span });
        this.#refer(top, item.model);
        return;
      default:
        return item satisfies never;
    }
  }

  /** A name at the top: the first of its kind is the one that is meant, another one stands for itself. */
  #own(name: ast.Name): void {
    const known = this.#top.names.get(name.text);
    this.#stands(
      name.span,
      known?.span.start === name.span.start ? known : { name: name.text, kind: "variable", span: name.span },
    );
  }

  #extends(name: ast.Name, model: string): void {
    const found = this.#file.ast.items.find(
      (x) => x.kind === "config" && x.name.text === name.text && x.model.text === model,
    );
    if (found?.kind === "config")
      this.#stands(name.span, { name: name.text, kind: "config", span: found.name.span, node: found });
  }

  #import(item: ast.Import): void {
    for (const { name, as } of item.names) {
      const entry = this.#file.entries.get((as ?? name).text);
      const of = entry && declarationOf(entry);
      if (of) this.#stands(name.span, of);
      const alias = as && this.#top.names.get(as.text);
      if (as && alias) this.#stands(as.span, alias);
    }
  }

  #block(b: ast.Block): void {
    const scope = this.#scope(b.span, this.#top);
    for (const p of b.params) this.#declare(scope, p.name, "parameter", p);
    for (const p of b.params) if (p.default) this.#expr(scope, p.default);
    for (const x of b.inputs) this.#declare(scope, x.name, "input", x);
    for (const x of [...b.inputs, ...b.results]) this.#type(scope, x.type);
    this.#body(scope, b.body);
  }

  /** A name in a type that nothing declares is a dimension, and declares itself. */
  #type(scope: Scope, type: ast.TensorTypeExpr): void {
    for (const d of type.dims) {
      this.#size(scope, d.size);
      if (d.bound) this.#size(scope, d.bound);
    }
  }

  #size(scope: Scope, e: ast.Expr): void {
    if (e.kind === "name" && !this.#find(scope, e.name))
      this.#declare(scope, { text: e.name, span: e.span }, "dimension");
    else if (e.kind === "binary") (this.#size(scope, e.left), this.#size(scope, e.right));
    else this.#expr(scope, e);
  }

  // ---- statements ----

  #body(scope: Scope, body: ast.Body): void {
    for (const s of body.statements) this.#statement(scope, s);
  }

  #statement(scope: Scope, s: ast.Statement): void {
    switch (s.kind) {
      case "assign":
        this.#expr(scope, s.value);
        for (const t of s.targets)
          if (!this.#assigned(scope, t)) this.#declare(blockOf(scope), t, "variable");
        return;
      case "return":
        for (const v of s.values) this.#expr(scope, v.value);
        return;
      case "if":
        this.#expr(scope, s.condition);
        this.#body(scope, s.then);
        if (s.else) this.#body(scope, s.else);
        return;
      case "for": {
        this.#expr(scope, s.list);
        const inner = this.#scope(s.span, scope);
        for (const n of s.pattern) this.#declare(inner, n, "loop");
        return this.#body(inner, s.body);
      }
      case "repeat": {
        this.#expr(scope, s.count);
        const inner = this.#scope(s.span, scope);
        if (s.index) this.#declare(inner, s.index, "loop");
        return this.#body(inner, s.body);
      }
      case "state":
        this.#declare(scope, s.name, "state");
        this.#type(scope, s.type);
        return this.#expr(scope, s.initial);
      case "output":
        if (s.index) this.#expr(scope, s.index);
        return this.#expr(scope, s.value);
      case "weight":
        this.#declare(scope, s.name, "weight", undefined, s.label ? undefined : s.type.span.end);
        return this.#type(scope, s.type);
      case "preprocess":
        this.#refer(scope, s.input);
        return this.#args(scope, s.args, undefined);
      case "assert":
        this.#expr(scope, s.condition);
        if (s.message) this.#expr(scope, s.message);
        return;
      case "with":
        return this.#body(scope, s.body);
      default:
        return s satisfies never;
    }
  }

  /** Assigning a name again is the same name, unless it is one of the file. */
  #assigned(scope: Scope, name: ast.Name): boolean {
    const known = this.#find(scope, name.text);
    if (!known || this.#top.names.get(name.text) === known) return false;
    this.#stands(name.span, known);
    return true;
  }

  // ---- expressions ----

  #expr(scope: Scope, e: ast.Expr): void {
    // Pipelines and sums are long chains to the left: they are walked, not descended.
    let at: ast.Expr | undefined = e;
    while (at) at = this.#one(scope, at);
  }

  /** Gives what is left to walk of a chain. */
  #one(scope: Scope, e: ast.Expr): ast.Expr | undefined {
    switch (e.kind) {
      case "name":
        this.#refer(scope, { text: e.name, span: e.span });
        return undefined;
      case "list":
      case "tuple":
        for (const x of e.elements) this.#expr(scope, x);
        return undefined;
      case "comprehension": {
        this.#expr(scope, e.list);
        const inner = this.#scope(e.span, scope);
        for (const n of e.pattern) this.#declare(inner, n, "loop");
        if (e.condition) this.#expr(inner, e.condition);
        return void this.#expr(inner, e.element);
      }
      case "unary":
        return e.operand;
      case "binary":
        this.#expr(scope, e.right);
        return e.left;
      case "if":
        this.#expr(scope, e.condition);
        this.#expr(scope, e.then);
        return e.else;
      case "match":
        this.#expr(scope, e.subject);
        for (const arm of e.arms) this.#expr(scope, arm.value);
        return undefined;
      case "call": {
        const callee = this.#refer(scope, e.callee);
        this.#args(scope, e.args, callee);
        for (const part of e.label?.parts ?? []) if (part.index) this.#expr(scope, part.index);
        return e.piped;
      }
      case "index":
        this.#expr(scope, e.index);
        return e.object;
      case "member":
        return e.object;
      case "number":
      case "string":
      case "bool":
      case "none":
      case "ellipsis":
      case "bad":
        return undefined;
      default:
        return e satisfies never;
    }
  }

  /** A name in front of `=` is a parameter or an input of what is called. */
  #args(scope: Scope, args: readonly ast.Argument[], callee: Declaration | undefined): void {
    const block = callee && blockOfDeclaration(callee);
    for (const a of args) {
      const param = a.name && block?.params.find((p) => p.name.text === a.name!.text);
      const input = a.name && block?.inputs.find((p) => p.name.text === a.name!.text);
      if (param)
        this.#stands(a.name!.span, {
          name: param.name.text,
          kind: "parameter",
          span: param.name.span,
          node: param,
        });
      else if (input)
        this.#stands(a.name!.span, {
          name: input.name.text,
          kind: "input",
          span: input.name.span,
          node: input,
        });
      this.#expr(scope, a.value);
    }
  }
}

export function blockOfDeclaration(d: Declaration): ast.Block | undefined {
  return d.node && "body" in d.node ? d.node : undefined;
}

/** A new name belongs to the whole block, also where it is assigned inside a loop. */
function blockOf(scope: Scope): Scope {
  let at = scope;
  while (at.outer?.outer) at = at.outer;
  return at;
}
