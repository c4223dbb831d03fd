// The entry of this layer: a file, a choice of models and parameters; out come graphs. Nothing here throws on what a user wrote.

import type { EntrySettings } from "../ir/compilation.ts";
import type { Graph, Input, Module } from "../ir/graph.ts";
import type { OpLookup } from "../ir/op.ts";
import type * as ast from "../parser/ast.ts";
import type { Diagnostic } from "../support/diagnostic.ts";
import { locationOf } from "../support/source.ts";
import { bindParameters, runBody } from "./block-calls.ts";
import { ruleProblem } from "./checkpoint-map.ts";
import { configsOf, configValue, findConfig } from "./constants.ts";
import { Env, fail, fileContext, top, type Context, type Session } from "./context.ts";
import { evaluate, hintOf } from "./evaluate.ts";
import { loadFiles, type FileScope, type Parse, type Resolve, type SourceText } from "./files.ts";
import { finish, newGraphState, type GraphState } from "./graph-state.ts";
import { defaultLimits, type Limits } from "./limits.ts";
import { modelInfo, modelsOf, type FoundModel, type ModelInfo } from "./models.ts";
import { checkParameter } from "./parameters.ts";
import { Reporter } from "./report.ts";
import { openType } from "./signature.ts";
import { addOutput } from "./statements.ts";
import { suggestion } from "./suggest.ts";
import { describe, none, type Given, type TensorValue } from "./value.ts";

export interface Files {
  readonly root: SourceText;
  readonly resolve: Resolve;
  /** `parse` of src/parser/parse.ts. */
  readonly parse: Parse;
}

export interface ElaborateOptions {
  readonly lookup: OpLookup;
  /** Names of ops, for suggestions. */
  readonly opNames?: readonly string[];
  /** The entry point; absent: the default model, or the only one. */
  readonly model?: string;
  /** Several entry points, which share weights by key. */
  readonly models?: readonly string[];
  readonly config?: string;
  /** Parameters by name, as text: `--set head=original`. */
  readonly set?: Readonly<Record<string, string>>;
  readonly limits?: Partial<Limits>;
  readonly observe?: Session["observe"];
}

export interface Elaborated {
  /** What the names at the top of the file stand for, those of imports among them. */
  readonly file: FileScope;
  /** Absent where there are errors. */
  readonly module?: Module;
  /** Every model of the file, with parameters, configurations and checkpoint maps. */
  readonly models: readonly ModelInfo[];
  /** One per entry point. */
  readonly settings: readonly EntrySettings[];
  readonly diagnostics: readonly Diagnostic[];
}

export function elaborate(files: Files, options: ElaborateOptions): Elaborated {
  const limits = { ...defaultLimits, ...options.limits };
  const report = new Reporter(limits.diagnostics);
  const session: Session = {
    report,
    limits,
    lookup: options.lookup,
    opNames: options.opNames ?? [],
    ...(options.observe && { observe: options.observe }),
    used: { work: limits.work, nesting: 0, stopped: false },
  };
  const file = loadFiles(files.root, files.resolve, files.parse, limits, report);
  const found = modelsOf(file);
  const models = found.map((m) => modelInfo(file, m));
  const settings: EntrySettings[] = [];
  const graphs: Graph[] = [];
  // What a file with syntax errors lacks would be reported a second time, as an unknown name.
  if (!report.failed) {
    checkCheckpoints(session, file, found);
    const entries = chooseEntries(report, found, options);
    const chosenFor = checkChoices(session, file, entries, options);
    for (const entry of entries) {
      const chosen = elaborateEntry(session, file, entry, chosenFor(entry), files.parse);
      if (chosen.graph) graphs.push(chosen.graph);
      settings.push(chosen.settings);
    }
    checkShared(report, graphs);
  }
  const diagnostics = report.all();
  const module = { name: baseName(files.root.name), graphs };
  return { ...(!report.failed && graphs.length > 0 && { module }), file, models, settings, diagnostics };
}

function baseName(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1).replace(/\.model$/, "");
}

function chooseEntries(
  report: Reporter,
  found: readonly FoundModel[],
  options: ElaborateOptions,
): readonly FoundModel[] {
  const names = found.map((m) => m.name);
  const wanted = options.models ?? (options.model === undefined ? undefined : [options.model]);
  for (const name of new Set(wanted?.filter((x, i, all) => all.indexOf(x) !== i)))
    report.error("duplicate-model", `model ${name} is asked for twice`, {
      help: "each entry point is named once",
    });
  if (wanted)
    return wanted.flatMap((name) => {
      const model = found.find((m) => m.name === name);
      if (!model)
        report.error("unknown-model", `there is no model ${name}`, {
          help: suggestion(name, names, "there is"),
        });
      return model ?? [];
    });
  const own = found.filter((m) => !m.imported);
  const defaults = own.filter((m) => m.block.isDefault);
  for (const extra of defaults.slice(1))
    report.error("two-defaults", "a file has one default model", {
      span: extra.block.name.span,
      notes: [{ message: "the first one is here", span: defaults[0]!.block.name.span }],
    });
  const only =
    defaults[0] ??
    (own.length === 1 ? own[0] : own.length === 0 && found.length === 1 ? found[0] : undefined);
  if (only) return [only];
  if (names.length === 0)
    report.error("no-model", "this file declares no model", {
      help: "write `model name (...) (input: f32[...]) -> f32[...] { ... }`",
    });
  else
    report.error("which-model", "this file has several models, and none is the default", {
      help: `choose one of ${names.join(", ")} (or several: --model ${names.slice(0, 2).join(",")}), or write \`default model\` before one of them`,
    });
  return [];
}

type Choices = Pick<ElaborateOptions, "config" | "set">;

/** What is chosen on the command line goes to the models that know it; what no model knows is reported. Gives the part of each. */
function checkChoices(
  session: Session,
  root: FileScope,
  entries: readonly FoundModel[],
  options: Choices,
): (entry: FoundModel) => Choices {
  const { config, set = {} } = options;
  const configured = entries.filter((e) => config !== undefined && configOf(root, e, config));
  if (config !== undefined && configured.length === 0 && entries.length > 0) {
    const all = entries.flatMap((e) => [...configsOf(e.file, e.block.name.text), ...configsOf(root, e.name)]);
    session.report.error(
      "unknown-config",
      `${entries.map((e) => e.name).join(" and ")} ${entries.length > 1 ? "have" : "has"} no configuration ${config}`,
      { help: suggestion(config, unique(all.map((c) => c.config.name.text)), "there is") },
    );
  }
  const names = unique(entries.flatMap((e) => e.block.params.map((p) => p.name.text)));
  for (const name of Object.keys(set))
    if (entries.length > 0 && !names.includes(name))
      session.report.error(
        "unknown-parameter",
        `${entries.map((e) => e.block.name.text).join(" and ")} ${entries.length > 1 ? "have" : "has"} no parameter ${name}`,
        { help: suggestion(name, names, "its parameters are") },
      );
  return (entry) => ({
    ...(config !== undefined && configured.includes(entry) && { config }),
    set: Object.fromEntries(
      Object.entries(set).filter(([name]) => entry.block.params.some((p) => p.name.text === name)),
    ),
  });
}

const unique = (names: readonly string[]): readonly string[] => [...new Set(names)];

function configOf(root: FileScope, model: FoundModel, name: string): ReturnType<typeof findConfig> {
  return findConfig(model.file, name, model.block.name.text) ?? findConfig(root, name, model.name);
}

function elaborateEntry(
  session: Session,
  root: FileScope,
  model: FoundModel,
  options: Choices,
  parse: Parse,
): { readonly graph?: Graph; readonly settings: EntrySettings } {
  const { block, file } = model;
  const g = newGraphState(model.name, session.lookup);
  const ctx: Context = { session, file, env: new Env(), place: { ...top, labels: {} }, graph: g };
  const configured =
    options.config === undefined ? new Map() : configBindings(session, root, model, options.config);
  const given = new Map<string, Given>(configured);
  const fromSet = setBindings(session, root, block, options.set ?? {}, parse);
  for (const [name, value] of fromSet) given.set(name, value);
  const sound = bindParameters(ctx, ctx, block, given, { span: block.name.span });
  const settings: EntrySettings = {
    model: model.name,
    ...(options.config !== undefined && { config: options.config }),
    settings: block.params.map(({ name: { text: name } }) => ({
      name,
      value: describe(ctx.env.get(name)?.value ?? none, 200),
      from: fromSet.has(name) ? "set" : configured.has(name) ? "config" : "default",
    })),
  };
  if (!sound || [...given.values()].some((v) => v.value.kind === "poison")) return { settings };
  declareInputs(ctx, block, g);
  const values = session.report.failed ? undefined : runBody(ctx, block, true);
  if (!values) return { settings };
  block.results.forEach((result, i) => {
    const name = result.name?.text ?? (block.results.length === 1 ? "output" : `output${i}`);
    addOutput(ctx, name, values[i]!, result.span);
  });
  return { graph: orderOutputs(finish(g), block), settings };
}

/** Results come before taps. */
function orderOutputs(graph: Graph, block: ast.Block): Graph {
  const results = block.results.length;
  const at = graph.outputs.length - results;
  return { ...graph, outputs: [...graph.outputs.slice(at), ...graph.outputs.slice(0, at)] };
}

function declareInputs(ctx: Context, block: ast.Block, g: GraphState): void {
  const seen = new Map<string, ast.TensorParam>();
  for (const input of block.inputs) {
    const name = input.name.text;
    const old = seen.get(name);
    if (old)
      fail(ctx, "duplicate-name", `two inputs are called ${name}`, {
        span: input.name.span,
        notes: [{ message: "the first one is here", span: old.span }],
      });
    seen.set(name, input);
    if (input.optional || old) {
      // An entry point is compiled without its optional inputs.
      if (!old) ctx.env.declare(name, { value: none, origin: "input", span: input.span });
      continue;
    }
    const type = openType(ctx, input.type);
    if (!type) continue;
    const id = `%${name}`;
    g.builder.declare(id, type);
    g.origins.set(id, input.span);
    const entry: Input = { id, name, type, spans: [locationOf(input.span)] };
    g.inputs.push(entry);
    const value: TensorValue = { kind: "tensor", id, type, span: input.span };
    ctx.env.declare(name, { value, origin: "input", span: input.span });
  }
}

function configBindings(
  session: Session,
  root: FileScope,
  model: FoundModel,
  name: string,
): ReadonlyMap<string, Given> {
  const own = configOf(root, model, name)!;
  const value = configValue(fileContext(session, own.file), own.config, own.file);
  return value.kind === "block" ? value.bound : new Map();
}

/** `--set depths=[1, 1]`: the text is an expression of the language, read with the parameter's type in mind. */
function setBindings(
  session: Session,
  root: FileScope,
  block: ast.Block,
  set: Readonly<Record<string, string>>,
  parse: Parse,
): ReadonlyMap<string, Given> {
  const out = new Map<string, Given>();
  for (const [name, text] of Object.entries(set)) {
    const param = block.params.find((p) => p.name.text === name)!;
    const isText = param.type.kind === "name" && param.type.name.text === "string" && !text.startsWith('"');
    const prefix = `const ${name} = `;
    const parsed = parse(`${prefix}${isText ? JSON.stringify(text) : text}\n`, `--set ${name}`);
    const item = parsed.ast.items[0];
    for (const d of parsed.diagnostics) session.report.add(d);
    if (parsed.diagnostics.length > 0) continue;
    if (item?.kind !== "const" || parsed.ast.items.length !== 1) {
      session.report.error("parameter-type", `--set ${name}: ${text.slice(0, 60)} is not a value`);
      continue;
    }
    const ctx = fileContext(session, root);
    const value = evaluate(ctx, item.value, hintOf(param.type));
    const given = { value, span: item.value.span };
    const what = `${name} of ${block.name.text}`;
    out.set(name, { value: checkParameter(ctx, param.type, given, what, param.span), span: item.value.span });
  }
  return out;
}

function checkCheckpoints(session: Session, file: FileScope, found: readonly FoundModel[]): void {
  const names = found.map((m) => m.name);
  for (const c of file.checkpoints) {
    if (!names.includes(c.model.text))
      session.report.error("unknown-model", `there is no model ${c.model.text}`, {
        span: c.model.span,
        help: suggestion(c.model.text, names, "there is"),
      });
    for (const rule of c.rules) {
      const problem = ruleProblem(rule);
      if (problem)
        session.report.error(problem.code, problem.message, {
          span: problem.span,
          help: problem.help || undefined,
        });
    }
  }
}

/** Graphs of one module share weights by key, so a key has one type. */
function checkShared(report: Reporter, graphs: readonly Graph[]): void {
  const first = new Map<string, { readonly graph: string; readonly shape: string }>();
  for (const g of graphs)
    for (const w of g.weights) {
      const shape = `${w.type.dtype}[${w.type.shape.map((d) => d.key).join(", ")}]`;
      const old = first.get(w.key);
      if (!old) first.set(w.key, { graph: g.name, shape });
      else if (old.shape !== shape)
        report.error(
          "shared-weight-type",
          `weight ${w.key} is ${old.shape} in ${old.graph}, and ${shape} in ${g.name}`,
        );
    }
}
