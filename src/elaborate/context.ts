// Where an expression is evaluated: the names in reach, the graph being made, the path of labels, the chain of calls.
// A Context is immutable; going into a block, a loop turn or a branch makes a new one.

import type * as ast from "../parser/ast.ts";
import type { Dim } from "../ir/dim.ts";
import type { Annotation, GraphBuilder } from "../ir/graph.ts";
import type { OpLookup } from "../ir/op.ts";
import type { DiagnosticInit } from "../support/diagnostic.ts";
import type { Span } from "../support/source.ts";
import type { FileScope } from "./files.ts";
import type { GraphState, StateCell } from "./graph-state.ts";
import type { Limits } from "./limits.ts";
import { chainNotes, type CallChain, type Reporter } from "./report.ts";
import { poison, type Given, type TensorValue, type Value } from "./value.ts";

/** What an expression came to, and the nodes of the graph that were made for it: `builder.nodes` from `from` up to `to`. */
export interface Observation {
  readonly value: Value;
  readonly builder?: GraphBuilder;
  readonly from: number;
  readonly to: number;
}

/** What one elaboration has and uses up. */
export interface Session {
  /** Sees every expression that is evaluated, each time; for editors. */
  readonly observe?: (e: ast.Expr, seen: Observation) => void;
  readonly report: Reporter;
  readonly limits: Limits;
  readonly lookup: OpLookup;
  /** Names of all ops, for suggestions. */
  readonly opNames: readonly string[];
  /** Counters: `work` goes down to zero, `nesting` is how deep evaluation is now; `stopped` once a limit has been passed. */
  readonly used: { work: number; nesting: number; stopped: boolean };
}

export type Origin = "parameter" | "dimension" | "input" | "assigned" | "loop" | "state";

export interface Binding {
  readonly value: Value;
  readonly origin: Origin;
  /** Where the value was given: the argument, the assignment. */
  readonly span?: Span | undefined;
  readonly state?: StateCell;
}

/** Names of one block call; a loop turn and a comprehension have one of their own around their pattern. */
export class Env {
  readonly #names = new Map<string, Binding>();
  readonly #outer: Env | undefined;

  constructor(outer?: Env) {
    this.#outer = outer;
  }

  get(name: string): Binding | undefined {
    return this.#names.get(name) ?? this.#outer?.get(name);
  }

  /** Makes a name here, hiding outer ones. */
  declare(name: string, binding: Binding): void {
    this.#names.set(name, binding);
  }

  copy(): Env {
    const copy = new Env(this.#outer);
    for (const [name, binding] of this.#names) copy.declare(name, binding);
    return copy;
  }

  /** Assigns where the name is declared; a new name belongs to the whole block. */
  assign(name: string, binding: Binding): void {
    if (!this.#outer || this.#names.has(name)) this.#names.set(name, binding);
    else this.#outer.assign(name, binding);
  }

  *names(): Iterable<string> {
    yield* this.#names.keys();
    if (this.#outer) yield* this.#outer.names();
  }
}

/** The calls that made weights under one path, to find the one that should have had a label. */
export interface Labels {
  unlabelled?: Span;
  labelled?: Span;
}

/** What the rows of an expert's block are. */
export type ExpertRows = { readonly count: number } & (
  | {
      /** [N], the expert of each row. */
      readonly ids: TensorValue;
      readonly slots?: undefined;
    }
  /** As many rows for each expert in turn. */
  | { readonly slots: Dim; readonly ids?: undefined }
);

export interface Place {
  /** Labels around, joined with dots. */
  readonly path: string;
  /** Labels around the block being elaborated, without its loops: what its taps are named under. */
  readonly blockPath: string;
  readonly labels: Labels;
  /** The outermost call without a label since the last one with: the one to blame for a missing label. */
  readonly blame: Span | undefined;
  /** Inside something labelled `shared`. */
  readonly shared: boolean;
  /** Annotations that every call here gets. */
  readonly annotations: readonly Annotation[];
  readonly chain: CallChain | undefined;
  readonly loops: readonly string[];
  readonly depth: number;
  /** Inside the block of experts. */
  readonly experts?: ExpertRows;
}

export interface Context {
  readonly session: Session;
  readonly file: FileScope;
  readonly env: Env;
  readonly place: Place;
  /** Absent where only values can be: constants, configurations, `--set`. */
  readonly graph?: GraphState;
  /** The block being elaborated. */
  readonly frame?: Frame;
}

/** One call of a block, and what it has returned. */
export interface Frame {
  readonly block: ast.Block;
  /** The model itself, not a block within it. */
  readonly isEntry: boolean;
  returned?: { readonly statement: ast.Return; readonly values: readonly Given[] };
  /** A `return` stood in a branch that could not be decided, for an error that has been reported. */
  uncertain?: boolean;
}

export const top: Place = {
  path: "",
  blockPath: "",
  labels: {},
  blame: undefined,
  shared: false,
  annotations: [],
  chain: undefined,
  loops: [],
  depth: 0,
};

export function fileContext(session: Session, file: FileScope): Context {
  return { session, file, env: new Env(), place: top };
}

export interface Fault extends DiagnosticInit {
  readonly span: Span;
}

/** Reports with the chain of calls, and gives the value that causes no further errors. */
export function fail(ctx: Context, code: string, message: string, init: Fault): Value {
  const notes = [...(init.notes ?? []), ...chainNotes(ctx.place.chain, ctx.place.loops)];
  ctx.session.report.error(code, message, { ...init, notes });
  return poison;
}

/** Reports that a limit was passed, and ends the elaboration: what follows is not looked at. */
export function stop(ctx: Context, code: string, message: string, span: Span): Value {
  if (!ctx.session.used.stopped) fail(ctx, code, message, { span });
  ctx.session.used.stopped = true;
  return poison;
}

/** Counts work; false, once reported, when there has been too much. */
export function spend(ctx: Context, amount: number, span: Span): boolean {
  const { used, limits } = ctx.session;
  used.work -= amount;
  if (used.work >= 0 && !used.stopped) return true;
  stop(ctx, "too-much-work", `elaborating this file takes more than ${limits.work} steps`, span);
  return false;
}

/** Runs `f` one level deeper; beyond the limit it is not run. */
export function nested<T>(ctx: Context, span: Span, otherwise: T, f: () => T): T {
  const { used, limits } = ctx.session;
  if (used.stopped) return otherwise;
  if (used.nesting >= limits.nesting) {
    stop(
      ctx,
      "too-deep",
      `expressions and statements are more than ${limits.nesting} levels deep here`,
      span,
    );
    return otherwise;
  }
  used.nesting++;
  const result = f();
  used.nesting--;
  return result;
}

/**
 * Labels are joined with dots. A path with a namespace (`small:stem`) begins at the root of that checkpoint, whatever is around it: what
 * the checkpoint calls its weights does not depend on where they are used.
 */
export function joinPath(path: string, more: string): string {
  if (path === "" || more.includes(":")) return more;
  if (more === "") return path;
  return path.endsWith(":") ? path + more : `${path}.${more}`;
}

/** A path as part of a name that is not a weight's: those of the model have no namespaces. */
export function withoutNamespace(path: string): string {
  return path.replace(/:$/, "").replace(":", ".");
}
