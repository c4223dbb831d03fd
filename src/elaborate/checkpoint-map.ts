// `checkpoint original of poolformer { ... }` as data: rules in order, patterns as text with their places.

import type * as ast from "../parser/ast.ts";
import type { CheckpointRecord } from "../ir/compilation.ts";
import type { Span } from "../support/source.ts";
import { parsePattern, sumNames, type Pattern } from "./pattern.ts";
import { suggestion } from "./suggest.ts";

/** What each rule looks like, with the fewest and most patterns on its left and right. */
export const ruleForms = {
  strip: { form: 'strip "module."', left: [1, 8], right: [0, 0] },
  rename: { form: 'rename "theirs.{i}" = "ours.{i}"', left: [1, 1], right: [1, 1] },
  ignore: { form: 'ignore "*.num_batches_tracked"', left: [1, 64], right: [0, 0] },
  transpose: { form: 'transpose "{rest*}.weight"', left: [1, 1], right: [0, 1] },
  reshape: { form: 'reshape "{rest*}.weight"', left: [1, 1], right: [0, 1] },
  concat: { form: 'concat "ours" = ["theirs.a", "theirs.b"] axis 0', left: [1, 1], right: [2, 64] },
  split: { form: 'split "theirs" = ["ours.a", "ours.b"] axis 0', left: [1, 1], right: [2, 64] },
  stack: { form: 'stack "ours" = "theirs.{i}" axis 0', left: [1, 1], right: [1, 1] },
  unstack: { form: 'unstack "theirs" = "ours.{i}" axis 0', left: [1, 1], right: [1, 1] },
} as const satisfies Record<string, RuleForm>;

interface RuleForm {
  readonly form: string;
  readonly left: readonly [number, number];
  readonly right: readonly [number, number];
}

export type RuleVerb = keyof typeof ruleForms;

/** Whose names come out of a rule: `concat ours = theirs`, but `rename theirs = ours`. */
const resultOnLeft: readonly string[] = ["concat", "stack"];

export interface CheckpointRuleData {
  readonly verb: RuleVerb;
  readonly from: readonly string[];
  readonly to: readonly string[];
  readonly axis: number;
  readonly span?: Span;
}

export interface CheckpointMap {
  readonly name: string;
  readonly model: string;
  readonly rules: readonly CheckpointRuleData[];
}

export function checkpointMap(c: ast.Checkpoint): CheckpointMap {
  return {
    name: c.name.text,
    model: c.model.text,
    rules: c.rules.map((r) => ({
      verb: r.verb.text as RuleVerb,
      from: r.from.map((x) => x.text),
      to: r.to.map((x) => x.text),
      axis: r.axis ?? 0,
      span: r.span,
    })),
  };
}

/** A map that was written as data, or the first thing that is wrong with it. */
export function readCheckpointMap(record: CheckpointRecord): CheckpointMap | { readonly problem: string } {
  for (const { verb, from, to } of record.rules) {
    if (!Object.hasOwn(ruleForms, verb)) return { problem: `there is no checkpoint rule ${verb}` };
    const { form, left, right }: RuleForm = ruleForms[verb as RuleVerb];
    if (!within(from.length, left) || !within(to.length, right))
      return { problem: `${verb} is written as ${form}` };
    for (const text of [...from, ...to]) {
      const pattern = parsePattern(text);
      if ("problem" in pattern) return { problem: `${verb} ${JSON.stringify(text)}: ${pattern.problem}` };
    }
  }
  return record as CheckpointMap;
}

function within(n: number, [low, high]: readonly [number, number]): boolean {
  return n >= low && n <= high;
}

export interface RuleProblem {
  readonly code: string;
  readonly message: string;
  readonly span: Span;
  readonly help?: string;
}

/** What is wrong with a rule as it is written; nothing where all is well. */
export function ruleProblem(r: ast.CheckpointRule): RuleProblem | undefined {
  const verb = r.verb.text;
  if (!Object.hasOwn(ruleForms, verb))
    return {
      code: "unknown-rule",
      message: `there is no checkpoint rule ${verb}`,
      span: r.verb.span,
      help: suggestion(verb, Object.keys(ruleForms), "there is") ?? "",
    };
  const { form, left, right }: RuleForm = ruleForms[verb as RuleVerb];
  if (!within(r.from.length, left) || !within(r.to.length, right))
    return { code: "checkpoint-rule", message: `${verb} is written as ${form}`, span: r.span };
  const parsed: Pattern[] = [];
  for (const { text, span } of [...r.from, ...r.to]) {
    const pattern = parsePattern(text);
    if ("problem" in pattern) return { code: "checkpoint-pattern", message: pattern.problem, span };
    parsed.push(pattern);
  }
  return nameProblem(r, parsed.slice(0, r.from.length), parsed.slice(r.from.length));
}

/** A name in a result must be one of the source; `unstack` makes one more. */
function nameProblem(
  r: ast.CheckpointRule,
  from: readonly Pattern[],
  to: readonly Pattern[],
): RuleProblem | undefined {
  const reversed = resultOnLeft.includes(r.verb.text);
  const [sources, results] = reversed ? [to, from] : [from, to];
  const known = sources[0]!.names;
  const made = results.flatMap((p) => p.names).filter((n) => !known.includes(n));
  const free = r.verb.text === "unstack" ? made.slice(1) : made;
  const unknown = free[0] ?? results.flatMap(sumNames).find((n) => !known.includes(n) && !made.includes(n));
  if (unknown === undefined) return undefined;
  return {
    code: "checkpoint-pattern",
    message: `{${unknown}} is in the result, and in no pattern that is matched`,
    span: r.span,
  };
}
