// Names at the top of files as values: constants (evaluated once, when first used), blocks, and configurations, which are
// their models with parameters given.

import type { Span } from "../support/source.ts";
import type * as ast from "../parser/ast.ts";
import { fail, fileContext, type Context } from "./context.ts";
import { evaluate, hintOf } from "./evaluate.ts";
import type { FileEntry, FileScope } from "./files.ts";
import { checkParameter } from "./parameters.ts";
import { suggestion } from "./suggest.ts";
import { poison, type BlockValue, type Given, type Value } from "./value.ts";

export function evaluateEntry(ctx: Context, entry: FileEntry, span: Span): Value {
  switch (entry.kind) {
    case "broken":
      return poison;
    case "const":
      return constantValue(ctx, entry.item, entry.file, span);
    case "block":
      return blockValue(entry.item, entry.file);
    case "config":
      return configValue(ctx, entry.item, entry.file);
    default:
      return entry satisfies never;
  }
}

export function blockValue(
  block: ast.Block,
  file: FileScope,
  bound: ReadonlyMap<string, Given> = new Map(),
): BlockValue {
  return { kind: "block", target: { kind: "block", block, file }, bound };
}

function constantValue(ctx: Context, item: ast.Const, file: FileScope, span: Span): Value {
  const known = file.constants.get(item);
  if (known === "busy")
    return fail(ctx, "constant-cycle", `${item.name.text} is defined by itself`, {
      span,
      notes: [{ message: "it is declared here", span: item.name.span }],
    });
  if (known) return known;
  file.constants.set(item, "busy");
  const inside = fileContext(ctx.session, file);
  const value = evaluate(inside, item.value, item.type ? hintOf(item.type) : {});
  const checked = item.type
    ? checkParameter(
        inside,
        item.type,
        { value, span: item.value.span },
        `constant ${item.name.text}`,
        item.name.span,
      )
    : value;
  file.constants.set(item, checked);
  return checked;
}

/** The model of a configuration, with the parameters that it and those it extends give. */
export function configValue(ctx: Context, config: ast.Config, file: FileScope): Value {
  const bound = new Map<string, Given>();
  const chain: ast.Config[] = [];
  let model: BlockValue | undefined;
  for (let at: ast.Config | undefined = config, scope = file; at;) {
    if (chain.includes(at))
      return fail(ctx, "config-cycle", `configuration ${at.name.text} extends itself`, {
        span: config.name.span,
      });
    chain.push(at);
    const entry = scope.entries.get(at.model.text);
    if (entry?.kind === "broken") return poison;
    if (entry?.kind !== "block") return unknownModel(ctx, at, scope);
    model ??= blockValue(entry.item, entry.file);
    addArguments(fileContext(ctx.session, scope), at, entry.item, bound);
    if (!at.extends) break;
    const parent = findConfig(scope, at.extends.text, at.model.text);
    if (!parent) {
      const names = configsOf(scope, at.model.text).map((c) => c.config.name.text);
      return fail(ctx, "unknown-config", `${at.model.text} has no configuration ${at.extends.text}`, {
        span: at.extends.span,
        help: suggestion(at.extends.text, names, "there is"),
      });
    }
    at = parent.config;
    scope = parent.file;
  }
  return model ? { ...model, bound } : poison;
}

function unknownModel(ctx: Context, config: ast.Config, scope: FileScope): Value {
  const models = [...scope.entries].filter(([, e]) => e.kind === "block").map(([name]) => name);
  return fail(ctx, "unknown-model", `there is no model ${config.model.text} to configure`, {
    span: config.model.span,
    help: suggestion(config.model.text, models, "there is"),
  });
}

/** What the configuration itself says wins over what it extends, so that is added first. */
function addArguments(ctx: Context, config: ast.Config, block: ast.Block, bound: Map<string, Given>): void {
  const seen = new Set<string>();
  for (const arg of config.args) {
    if (!arg.name) {
      fail(ctx, "positional-parameter", "a configuration gives parameters by name", { span: arg.span });
      continue;
    }
    const name = arg.name.text;
    const param = block.params.find((p) => p.name.text === name);
    if (!param) {
      const names = block.params.map((p) => p.name.text);
      fail(ctx, "unknown-parameter", `${block.name.text} has no parameter ${name}`, {
        span: arg.name.span,
        help: suggestion(name, names, "its parameters are"),
      });
      continue;
    }
    if (seen.has(name)) fail(ctx, "duplicate-argument", `${name} is given twice`, { span: arg.name.span });
    seen.add(name);
    if (bound.has(name)) continue;
    const given = { value: evaluate(ctx, arg.value, hintOf(param.type)), span: arg.value.span };
    const value = checkParameter(ctx, param.type, given, `${name} of ${block.name.text}`, param.span);
    bound.set(name, { value, span: arg.value.span });
  }
}

export interface FoundConfig {
  readonly config: ast.Config;
  readonly file: FileScope;
}

/** Configurations of the model called `model` in a file: its own, and imported ones. */
export function configsOf(file: FileScope, model: string): readonly FoundConfig[] {
  const own: FoundConfig[] = file.ast.items
    .filter((x) => x.kind === "config" && x.model.text === model)
    .map((x) => ({ config: x as ast.Config, file }));
  const target = file.entries.get(model);
  for (const entry of file.entries.values()) {
    if (entry.kind !== "config" || entry.file === file) continue;
    const theirs = entry.file.entries.get(entry.item.model.text);
    if (target?.kind === "block" && theirs?.kind === "block" && theirs.item === target.item)
      own.push({ config: entry.item, file: entry.file });
  }
  return own;
}

export function findConfig(file: FileScope, name: string, model: string): FoundConfig | undefined {
  return configsOf(file, model).find((c) => c.config.name.text === name);
}
