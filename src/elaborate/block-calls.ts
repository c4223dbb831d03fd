// Calls of blocks: parameters and inputs bound, the body elaborated under the label, results checked against the signature.

import type * as ast from "../parser/ast.ts";
import type { CallSite } from "./calls.ts";
import { Env, fail, joinPath, nested, stop, type Context, type Frame, type Place } from "./context.ts";
import { evaluate, hintOf } from "./evaluate.ts";
import type { FileScope } from "./files.ts";
import { addScope } from "./graph-state.ts";
import { annotationsOf, labelPath, type LabelPath } from "./labels.ts";
import { asTensor, reportExtraInput } from "./op-calls.ts";
import { checkParameter } from "./parameters.ts";
import { execute } from "./statements.ts";
import { withAxes } from "./signature.ts";
import { unify, type Meeting } from "./unify.ts";
import { none, poison, type Given, type TensorValue, type Value } from "./value.ts";

export function callBlock(ctx: Context, block: ast.Block, file: FileScope, site: CallSite): Value {
  const { limits } = ctx.session;
  if (ctx.place.depth >= limits.blockDepth)
    return stop(
      ctx,
      "too-deep",
      `blocks call one another more than ${limits.blockDepth} levels deep`,
      site.span,
    );
  if (!ctx.graph)
    return fail(ctx, "no-tensors-here", `${block.name.text} computes with tensors, and there are none here`, {
      span: site.span,
    });
  const label = site.call.label ? labelPath(ctx, site.call.label) : undefined;
  if (site.call.label && !label) return poison;
  const place = placeOf(ctx, block, site, label);
  const env = new Env();
  const inner: Context = { session: ctx.session, file, env, place, graph: ctx.graph };
  const bound = bindParameters(inner, ctx, block, site.named, site) && bindInputs(inner, ctx, block, site);
  if (!bound) return poison;
  const weightsBefore = ctx.graph.weights.size;
  const values = runBody(inner, block, false);
  if (label && ctx.graph.weights.size > weightsBefore) ctx.place.labels.labelled ??= site.span;
  return values ? resultValue(block, values) : poison;
}

function placeOf(ctx: Context, block: ast.Block, site: CallSite, label: LabelPath | undefined): Place {
  const here = ctx.place;
  const labelled = joinPath(here.path, label?.path ?? "");
  const path = site.experts ? joinPath(labelled, "*") : labelled;
  const experts = site.experts ?? here.experts;
  const annotations = [...here.annotations, ...annotationsOf(ctx, site.call.annotations)];
  if (label) addScope(ctx.graph!, path, block.name.text, annotations, site.span);
  return {
    path,
    blockPath: path,
    labels: label ? {} : here.labels,
    blame: label ? undefined : (here.blame ?? site.span),
    shared: here.shared || (label?.shared ?? false),
    annotations: label ? [] : annotations,
    chain: {
      block: block.name.text,
      span: site.span,
      loops: here.loops,
      ...(here.chain && { caller: here.chain }),
    },
    loops: [],
    depth: here.depth + 1,
    ...(experts && { experts }),
  };
}

/** Parameters in order, so that a default may speak of those before it. `blame` is where a missing one is reported. */
export function bindParameters(
  inner: Context,
  blame: Context,
  block: ast.Block,
  given: ReadonlyMap<string, Given>,
  site: { readonly span: ast.Block["span"] },
): boolean {
  let sound = true;
  for (const param of block.params) {
    const name = param.name.text;
    const argument = given.get(name);
    if (argument)
      inner.env.declare(name, { value: argument.value, origin: "parameter", span: argument.span });
    else if (param.default) {
      const value = evaluate(inner, param.default, hintOf(param.type));
      const what = `${name} of ${block.name.text}`;
      const checked = checkParameter(
        inner,
        param.type,
        { value, span: param.default.span },
        what,
        param.name.span,
      );
      if (checked.kind === "poison") sound = false;
      inner.env.declare(name, { value: checked, origin: "parameter", span: param.default.span });
    } else {
      sound = false;
      fail(blame, "missing-parameter", `${block.name.text} needs ${name}`, {
        span: site.span,
        notes: [{ message: "it is declared here, without a default", span: param.span }],
        help: `write ${name} = ...`,
      });
    }
  }
  return sound;
}

function bindInputs(inner: Context, ctx: Context, block: ast.Block, site: CallSite): boolean {
  if (site.positional.length > block.inputs.length) {
    const names = block.inputs.map((x) => x.name.text);
    reportExtraInput(ctx, block.name.text, names, site.positional[block.inputs.length]!);
    return false;
  }
  const meetings: Meeting[] = [];
  let sound = true;
  for (const [i, input] of block.inputs.entries()) {
    const name = input.name.text;
    const byName = site.named.get(name);
    const given = site.positional[i] ?? byName;
    if (byName && site.positional[i]) {
      fail(ctx, "duplicate-argument", `input ${name} of ${block.name.text} is given twice`, {
        span: byName.span,
      });
      sound = false;
    } else if (!given || (given.value.kind === "none" && input.optional)) {
      inner.env.declare(name, { value: none, origin: "input" });
      if (input.optional) continue;
      fail(ctx, "missing-input", `${block.name.text} needs input ${name}`, {
        span: site.span,
        notes: [{ message: "it is declared here", span: input.span }],
      });
      sound = false;
    } else {
      const actual = asTensor(ctx, given, `input ${name} of ${block.name.text}`);
      if (!actual) sound = false;
      else
        meetings.push({
          declared: input.type,
          actual,
          what: `${name} of ${block.name.text}`,
          span: given.span,
        });
    }
  }
  if (!sound) return false;
  // Mismatches are about the call: the caller's chain of calls goes with them.
  if (
    !unify({ ...inner, place: { ...inner.place, chain: ctx.place.chain, loops: ctx.place.loops } }, meetings)
  )
    return false;
  for (const m of meetings) {
    const input = block.inputs.find((x) => x.type === m.declared)!;
    inner.env.declare(input.name.text, {
      value: withAxes(m.actual, input.type),
      origin: "input",
      span: m.span,
    });
  }
  return true;
}

/** Elaborates the body; the values of the results, in order, or undefined once something has been reported. */
export function runBody(
  ctx: Context,
  block: ast.Block,
  isEntry: boolean,
): readonly TensorValue[] | undefined {
  const frame: Frame = { block, isEntry };
  const env = ctx.env.copy();
  const body: Context = { ...ctx, env, frame };
  nested(ctx, block.span, undefined, () => execute(body, block.body));
  if (ctx.session.used.stopped || frame.uncertain) return undefined;
  const { returned } = frame;
  if (!returned) {
    fail(body, "missing-return", `${block.name.text} returns nothing`, {
      span: block.name.span,
      help: "end its body with `return ...`",
    });
    return undefined;
  }
  if (returned.values.some((v) => v.value.kind === "poison")) return undefined;
  return checkResults(ctx, block, returned);
}

function checkResults(
  ctx: Context,
  block: ast.Block,
  returned: NonNullable<Frame["returned"]>,
): readonly TensorValue[] | undefined {
  const ordered = orderResults(ctx, block, returned);
  if (!ordered) return undefined;
  const meetings: Meeting[] = [];
  for (const [i, given] of ordered.entries()) {
    const declared = block.results[i]!;
    const what = declared.name
      ? `result ${declared.name.text} of ${block.name.text}`
      : `the result of ${block.name.text}`;
    const actual = asTensor(ctx, given, what);
    if (!actual) return undefined;
    meetings.push({ declared: declared.type, actual, what, span: given.span });
  }
  if (!unify(ctx, meetings)) return undefined;
  return meetings.map((m) => withAxes(m.actual, m.declared));
}

/** Results by name come in the order of the signature. */
function orderResults(
  ctx: Context,
  block: ast.Block,
  { statement, values }: NonNullable<Frame["returned"]>,
): readonly Given[] | undefined {
  const { results } = block;
  const count = (n: number) => `${n} ${n === 1 ? "value" : "values"}`;
  if (values.length !== results.length) {
    fail(
      ctx,
      "wrong-count",
      `${block.name.text} returns ${count(results.length)}, and is given ${values.length}`,
      {
        span: statement.span,
        notes: [{ message: "declared here", span: results[0]?.span ?? block.name.span }],
      },
    );
    return undefined;
  }
  const names = statement.values.map((v) => v.name);
  if (names.every((n) => n === undefined) || statement.values.length !== values.length) return values;
  const out: Given[] = [];
  for (const [i, result] of results.entries()) {
    const at = names.findIndex((n) => n?.text === result.name?.text && n !== undefined);
    const given = at >= 0 ? values[at] : names[i] === undefined ? values[i] : undefined;
    if (!given) {
      const name = names.find((n) => n && !results.some((r) => r.name?.text === n.text)) ?? names[i];
      const known = results.flatMap((r) => (r.name ? [r.name.text] : []));
      fail(ctx, "unknown-result", `${block.name.text} has no result ${name?.text ?? "of this name"}`, {
        span: name?.span ?? statement.span,
        notes: [{ message: "declared here", span: result.span }],
        help: known.length > 0 ? `its results are ${known.join(", ")}` : "its result has no name",
      });
      return undefined;
    }
    out.push(given);
  }
  return out;
}

function resultValue(block: ast.Block, values: readonly TensorValue[]): Value {
  if (values.length === 1) return values[0]!;
  return { kind: "tuple", items: values, names: block.results.map((r) => r.name?.text) };
}
