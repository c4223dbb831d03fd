// How the tensors of a checkpoint become the weights of a model: rules of a map applied to the names that are there, then
// every weight looked up. Works on names and shapes alone; a recipe says what to do with the numbers, and no number is touched here.

import { error, type Diagnostic } from "../support/diagnostic.ts";
import type { CheckpointMap, CheckpointRuleData } from "./checkpoint-map.ts";
import { fillPattern, matchPattern, parsePattern, type Captures, type Pattern } from "./pattern.ts";
import { nearest } from "../support/suggest.ts";

export interface AvailableTensor {
  readonly key: string;
  readonly dtype: string;
  readonly shape: readonly number[];
}

export interface WantedTensor {
  readonly key: string;
  readonly shape: readonly number[];
}

/** Where a weight's numbers come from. */
export type Recipe =
  | { readonly kind: "copy"; readonly key: string }
  | { readonly kind: "reshape"; readonly of: Recipe; readonly shape: readonly number[] }
  | { readonly kind: "transpose"; readonly of: Recipe; readonly perm: readonly number[] }
  | { readonly kind: "concat"; readonly parts: readonly Recipe[]; readonly axis: number }
  | {
      readonly kind: "slice";
      readonly of: Recipe;
      readonly axis: number;
      readonly start: number;
      readonly end: number;
    }
  | { readonly kind: "stack"; readonly parts: readonly Recipe[]; readonly axis: number };

export interface CheckpointPlan {
  /** By wanted key. */
  readonly sources: ReadonlyMap<string, Recipe>;
  /** Wanted keys that nothing gives. */
  readonly missing: readonly string[];
  /** Keys of the checkpoint that no weight needs and no rule ignores. */
  readonly unused: readonly string[];
  readonly diagnostics: readonly Diagnostic[];
}

interface Entry {
  readonly recipe: Recipe;
  readonly shape: readonly number[];
  /** Keys of the checkpoint that went into it. */
  readonly keys: readonly string[];
  /** A `reshape` rule has said that any shape of as many elements will do. */
  readonly open?: boolean;
}

interface State {
  entries: Map<string, Entry>;
  readonly diagnostics: Diagnostic[];
}

const maxEntries = 1_000_000;

export function planCheckpoint(
  map: CheckpointMap | undefined,
  available: readonly AvailableTensor[],
  wanted: readonly WantedTensor[],
): CheckpointPlan {
  const state: State = { entries: new Map(), diagnostics: [] };
  for (const t of available)
    state.entries.set(t.key, { recipe: { kind: "copy", key: t.key }, shape: t.shape, keys: [t.key] });
  for (const rule of map?.rules ?? []) applyRule(state, rule);
  const sources = new Map<string, Recipe>();
  const missing: string[] = [];
  const used = new Set<string>();
  for (const w of wanted) {
    const { entry, names, absent } = entryOf(state, w);
    if (!entry) {
      missing.push(...absent);
      continue;
    }
    for (const name of names) used.add(name);
    const recipe = fitted(entry, w.shape);
    if (recipe) sources.set(w.key, recipe);
    else
      state.diagnostics.push(
        error(
          "weights-shape",
          `${w.key} is [${entry.shape.join(", ")}] in the checkpoint, and [${w.shape.join(", ")}] in the model`,
        ),
      );
  }
  const usedKeys = new Set([...used].flatMap((key) => state.entries.get(key)!.keys));
  const left = [...state.entries].filter(([name]) => !used.has(name));
  const unused = [...new Set(left.flatMap(([, e]) => e.keys))].filter((key) => !usedKeys.has(key));
  const leftNames = left.map(([name]) => name);
  for (const key of missing) state.diagnostics.push(missingWeight(key, leftNames, missing.length));
  return { sources, missing, unused, diagnostics: state.diagnostics };
}

/**
 * What gives a weight. `experts.*.up_proj.weight` is a stack: the checkpoint has it so, under the name without the star, or one tensor for
 * each expert, with its number in place of the star.
 */
function entryOf(
  state: State,
  { key, shape }: WantedTensor,
): { readonly entry?: Entry; readonly names: readonly string[]; readonly absent: readonly string[] } {
  const stacked = key.replace(".*", "");
  for (const name of [key, stacked]) {
    const entry = state.entries.get(name);
    if (entry) return { entry, names: [name], absent: [] };
  }
  if (stacked === key) return { names: [], absent: [key] };
  const names = Array.from({ length: shape[0]! }, (_, i) => key.replace("*", String(i)));
  const parts = names.map((name) => state.entries.get(name));
  const absent = names.filter((_, i) => !parts[i]);
  const first = parts[0]?.shape;
  if (absent.length > 0 || !first) return { names, absent };
  // A part of another shape is reported as one of the whole.
  const odd = parts.find((p) => !sameSizes(p!.shape, first))?.shape;
  const entries = parts.map((p) => p!);
  const recipe: Recipe = { kind: "stack", parts: entries.map((e) => e.recipe), axis: 0 };
  const keys = entries.flatMap((e) => e.keys);
  return { entry: { recipe, shape: [shape[0]!, ...(odd ?? first)], keys }, names, absent };
}

function missingWeight(key: string, left: readonly string[], count: number): Diagnostic {
  // Comparing every name with every other one is for a handful, not for the wrong file.
  const near = count <= 50 && left.length <= 5_000 ? nearest(key, left) : undefined;
  return error("weights-missing", `the checkpoint has no ${key}`, {
    help: near === undefined ? undefined : `it has ${near}, which no weight needs`,
  });
}

/** Shapes that differ only by sizes of one hold the same numbers in the same order: `[o, i]` and `[o, i, 1, 1]`. */
function fitted(entry: Entry, shape: readonly number[]): Recipe | undefined {
  if (sameSizes(entry.shape, shape)) return entry.recipe;
  const withoutOnes = (s: readonly number[]) => s.filter((n) => n !== 1);
  return sameSizes(withoutOnes(entry.shape), withoutOnes(shape)) || entry.open
    ? reshaped(entry, shape)
    : undefined;
}

function reshaped(entry: Entry, shape: readonly number[]): Recipe | undefined {
  if (count(entry.shape) !== count(shape)) return undefined;
  const of = entry.recipe.kind === "reshape" ? entry.recipe.of : entry.recipe;
  return { kind: "reshape", of, shape };
}

const sameSizes = (a: readonly number[], b: readonly number[]) =>
  a.length === b.length && a.every((n, i) => n === b[i]);
const count = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

// Rules.

function applyRule(state: State, rule: CheckpointRuleData): void {
  const from = patterns(state, rule, rule.from);
  const to = patterns(state, rule, rule.to);
  if (!from || !to) return;
  const [first] = from;
  const target = to[0];
  switch (rule.verb) {
    case "strip":
      return each(state, rule, (name) => {
        const prefix = rule.from.find((p) => name.startsWith(p));
        return prefix === undefined ? undefined : [name.slice(prefix.length)];
      });
    case "rename":
      return each(state, rule, (name) => filled(first!, target!, name));
    case "ignore":
      for (const name of state.entries.keys())
        if (from.some((p) => matchPattern(p, name))) state.entries.delete(name);
      return;
    case "transpose":
      return each(
        state,
        rule,
        (name) => (target ? filled(first!, target, name) : matchPattern(first!, name) && [name]),
        transposed,
      );
    case "reshape":
      return each(
        state,
        rule,
        (name) => (target ? filled(first!, target, name) : matchPattern(first!, name) && [name]),
        openShape,
      );
    case "concat":
    case "stack":
      return gather(state, rule, from[0]!, to);
    case "split":
      return split(state, rule, first!, to);
    case "unstack":
      return unstack(state, rule, first!, target!);
    default:
      return rule.verb satisfies never;
  }
}

function patterns(
  state: State,
  rule: CheckpointRuleData,
  texts: readonly string[],
): readonly Pattern[] | undefined {
  const out: Pattern[] = [];
  for (const text of texts) {
    const p = parsePattern(text);
    if ("problem" in p) {
      state.diagnostics.push(error("checkpoint-pattern", p.problem, { span: rule.span }));
      return undefined;
    }
    out.push(p);
  }
  return out;
}

function filled(from: Pattern, to: Pattern, name: string): readonly string[] | undefined {
  const captures = matchPattern(from, name);
  const key = captures && fillPattern(to, captures);
  return key === undefined ? undefined : [key];
}

/** Gives entries new names, and where `change` is given, another recipe. */
function each(
  state: State,
  rule: CheckpointRuleData,
  rename: (name: string) => readonly string[] | undefined,
  change: (entry: Entry) => Entry | undefined = (entry) => entry,
): void {
  const next = new Map<string, Entry>();
  for (const [name, entry] of state.entries) {
    const renamed = rename(name)?.[0];
    const changed = renamed === undefined ? entry : change(entry);
    if (!changed) {
      const shape = `[${entry.shape.join(", ")}]`;
      state.diagnostics.push(
        error("checkpoint-rule", `${rule.verb} does not apply to ${name}, which is ${shape}`, {
          span: rule.span,
        }),
      );
    }
    place(state, rule, next, renamed ?? name, changed ?? entry);
  }
  state.entries = next;
}

function place(
  state: State,
  rule: CheckpointRuleData,
  entries: Map<string, Entry>,
  name: string,
  entry: Entry,
): void {
  if (entries.has(name) && state.diagnostics.length < 100)
    state.diagnostics.push(
      error("checkpoint-collision", `${rule.verb} gives two tensors the name ${name}`, { span: rule.span }),
    );
  entries.set(name, entry);
}

function transposed(entry: Entry): Entry | undefined {
  if (entry.shape.length < 2) return undefined;
  const perm = entry.shape.map((_, i) => i);
  // The first two axes: [in, out] to [out, in], and so for kernels behind them.
  [perm[0], perm[1]] = [1, 0];
  return {
    ...entry,
    recipe: { kind: "transpose", of: entry.recipe, perm },
    shape: perm.map((p) => entry.shape[p]!),
  };
}

/** Says that the shape may be any of as many elements; the weight that takes it gives its own. */
function openShape(entry: Entry): Entry {
  return { ...entry, open: true };
}

function axisIn(rule: CheckpointRuleData, rank: number): number | undefined {
  const axis = rule.axis < 0 ? rule.axis + rank : rule.axis;
  return axis >= 0 && axis < rank ? axis : undefined;
}

const groupKey = (captures: Captures, names: readonly string[]) =>
  names.map((n) => captures.get(n) ?? "").join("\u0000");

/** concat: one result of several patterns. stack: one result of all that one pattern matches, in the order of its own number. */
function gather(state: State, rule: CheckpointRuleData, result: Pattern, parts: readonly Pattern[]): void {
  const stacking = rule.verb === "stack";
  const own = stacking ? parts[0]!.names.find((n) => !result.names.includes(n)) : undefined;
  const shared = result.names;
  const groups = new Map<string, { readonly captures: Captures; readonly members: Map<number, string> }>();
  for (const name of state.entries.keys())
    for (const [i, part] of parts.entries()) {
      const captures = matchPattern(part, name);
      if (!captures) continue;
      const key = groupKey(captures, shared);
      const group = groups.get(key) ?? { captures, members: new Map<number, string>() };
      groups.set(key, group);
      group.members.set(own === undefined ? i : Number(captures.get(own)), name);
      break;
    }
  for (const { captures, members } of groups.values()) {
    const name = fillPattern(result, captures);
    const wanted = stacking ? members.size : parts.length;
    const names = Array.from({ length: wanted }, (_, i) => members.get(i));
    const entries = names.map((n) => (n === undefined ? undefined : state.entries.get(n)));
    const made =
      name !== undefined && entries.every((e) => e !== undefined) ? joined(rule, entries) : undefined;
    if (name === undefined || !made) {
      const text = [...members.values()].slice(0, 3).join(", ");
      state.diagnostics.push(
        error("checkpoint-rule", `${rule.verb} does not find all parts that fit together: ${text}`, {
          span: rule.span,
        }),
      );
      continue;
    }
    for (const n of names) state.entries.delete(n!);
    place(state, rule, state.entries, name, made);
  }
}

function joined(rule: CheckpointRuleData, entries: readonly Entry[]): Entry | undefined {
  const first = entries[0]!.shape;
  const keys = entries.flatMap((e) => e.keys);
  const parts = entries.map((e) => e.recipe);
  if (rule.verb === "stack") {
    const axis = axisIn(rule, first.length + 1);
    if (axis === undefined || !entries.every((e) => sameSizes(e.shape, first))) return undefined;
    const shape = [...first.slice(0, axis), entries.length, ...first.slice(axis)];
    return { recipe: { kind: "stack", parts, axis }, shape, keys };
  }
  const axis = axisIn(rule, first.length);
  const fits = (s: readonly number[]) =>
    s.length === first.length && s.every((n, i) => i === axis || n === first[i]);
  if (axis === undefined || !entries.every((e) => fits(e.shape))) return undefined;
  const total = entries.reduce((n, e) => n + e.shape[axis]!, 0);
  return {
    recipe: { kind: "concat", parts, axis },
    shape: first.map((n, i) => (i === axis ? total : n)),
    keys,
  };
}

/** Equal parts along an axis. */
function split(state: State, rule: CheckpointRuleData, from: Pattern, to: readonly Pattern[]): void {
  for (const [name, entry] of [...state.entries]) {
    const captures = matchPattern(from, name);
    if (!captures) continue;
    const axis = axisIn(rule, entry.shape.length);
    const whole = axis === undefined ? 0 : entry.shape[axis]!;
    const names = to.map((p) => fillPattern(p, captures));
    if (axis === undefined || whole % to.length !== 0 || names.includes(undefined)) {
      const text = `split cannot cut ${name}, which is [${entry.shape.join(", ")}], into ${to.length} equal parts`;
      state.diagnostics.push(error("checkpoint-rule", text, { span: rule.span }));
      continue;
    }
    state.entries.delete(name);
    const part = whole / to.length;
    for (const [i, target] of names.entries())
      place(state, rule, state.entries, target!, sliced(entry, axis, i * part, part));
  }
}

function sliced(entry: Entry, axis: number, start: number, length: number): Entry {
  return {
    recipe: { kind: "slice", of: entry.recipe, axis, start, end: start + length },
    shape: entry.shape.map((n, i) => (i === axis ? length : n)),
    keys: entry.keys,
  };
}

/** One tensor per position of an axis; the number is the name of the result that the source does not have. */
function unstack(state: State, rule: CheckpointRuleData, from: Pattern, to: Pattern): void {
  const own = to.names.find((n) => !from.names.includes(n));
  for (const [name, entry] of [...state.entries]) {
    const captures = matchPattern(from, name);
    if (!captures) continue;
    const axis = axisIn(rule, entry.shape.length);
    const size = axis === undefined ? 0 : entry.shape[axis]!;
    if (axis === undefined || own === undefined || state.entries.size + size > maxEntries) {
      state.diagnostics.push(
        error("checkpoint-rule", `unstack does not apply to ${name}`, { span: rule.span }),
      );
      continue;
    }
    state.entries.delete(name);
    const shape = entry.shape.filter((_, i) => i !== axis);
    for (let i = 0; i < size; i++) {
      const target = fillPattern(to, new Map([...captures, [own, String(i)]]));
      if (target === undefined) break;
      const { recipe } = sliced(entry, axis, i, 1);
      place(state, rule, state.entries, target, {
        recipe: { kind: "reshape", of: recipe, shape },
        shape,
        keys: entry.keys,
      });
    }
  }
}
