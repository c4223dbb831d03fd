// A router with its product: what `fuse-router` makes of a linear layer and the choice among its results.

import { sameDim } from "../ir/dim.ts";
import { elementCount } from "../ir/tensor.ts";
import { showType } from "../ir/types.ts";
import { asDoubles } from "./loops.ts";
import {
  checkFloat,
  checkRank,
  checkSameDType,
  checkVector,
  defineOp,
  numberOf,
  other,
  reduced,
  same,
  sentences,
} from "./define.ts";
import { inferChoice, routeAttrs, routeConstraints, writeChoices } from "./route.ts";
import { routeTokensProgram } from "./route-tokens-kernel.ts";

export const routeTokens = defineOp({
  name: "route_tokens",
  inLanguage: false,
  doc:
    "`route` of the logits x @ weight + offset, which are not written to memory: a workgroup makes those of a few tokens and chooses. The sum of " +
    "a logit goes from the first channel to the last.",
  equation:
    "experts, weights = route(z, bias),  z[..., e] = sum over i of x[..., i] * weight[i, e] + offset[e]",
  inputs: [
    { name: "x", doc: "[..., in] tokens, f32 or f16" },
    { name: "weight", doc: "[in, E]" },
    { name: "offset", doc: "[E], the bias of the linear layer", optional: true },
    { name: "bias", doc: "[E], added to the scores to choose", optional: true },
  ],
  attrs: {
    ...routeAttrs,
    tokens: { kind: "int", doc: "tokens of a workgroup, a power of 2 up to 64", default: 1 },
  },
  results: ["experts", "weights"],
  constraints: {
    float: sentences.float,
    rank: "x has at least one axis, and the weight two",
    channels: "the last axis of x is as long as the columns of the weight",
    ...routeConstraints,
    offset: "the offset has one number per expert",
    tokens: "tokens of a workgroup are 1, 2, 4 and so on to 64",
    dtype: sentences.dtype,
  },
  infer(c) {
    const x = checkFloat(c);
    const tokens = numberOf(c.attrs, "tokens");
    const isPower = tokens >= 1 && tokens <= 64 && Number.isInteger(Math.log2(tokens));
    c.check("tokens", isPower, { input: "x", got: `${tokens}`, expected: "a power of 2 up to 64" });
    c.check("rank", x.shape.length >= 1, { input: "x", got: showType(x), expected: "at least one axis" });
    const weight = checkRank(c, "weight", 2);
    const axis = x.shape.length - 1;
    c.check("channels", sameDim(x.shape[axis]!, weight.shape[0]!), {
      input: "x",
      axis,
      got: x.shape[axis]!.key,
      expected: weight.shape[0]!.key,
      from: "weight",
    });
    checkVector(c, "offset", weight.shape[1]!, "offset");
    checkSameDType(c, ["x", "weight", "offset"]);
    const shape = [...x.shape.slice(0, -1), weight.shape[1]!];
    return inferChoice(c, { dtype: x.dtype, shape, axes: [...x.axes.slice(0, -1), null] }, "weight");
  },
  axes([x, , offset, bias]) {
    const last = (x?.shape.length ?? 1) - 1;
    const rows = Array.from({ length: last + 1 }, (_, i) => (i === last ? reduced : same(i)));
    return [rows, [reduced, other], offset ? [other] : [], bias ? [other] : []];
  },
  reference(c) {
    const [x, weight] = [c.input("x"), c.input("weight")];
    const [into, experts] = weight.shape as readonly [number, number];
    const offset = c.has("offset") ? c.input("offset").data : undefined;
    const [tokens, by] = [asDoubles(x.data), asDoubles(weight.data)];
    const rows = elementCount(x.shape.slice(0, -1));
    // In the precision that the linear layer would have written them in.
    const logits =
      c.precision === "f64" ? new Float64Array(rows * experts) : new Float32Array(rows * experts);
    for (let r = 0; r < rows; r++)
      for (let e = 0; e < experts; e++) {
        let sum = 0;
        for (let i = 0; i < into; i++) sum += tokens[r * into + i]! * by[i * experts + e]!;
        logits[r * experts + e] = sum + (offset ? offset[e]! : 0);
      }
    const bias = c.has("bias") ? c.input("bias").data : undefined;
    const [ids, weights] = [c.result(0), c.result(1)];
    writeChoices(logits, experts, c, bias, [ids, weights]);
    return [ids, weights];
  },
  lowering: { kind: "program", moved: ["x"], program: routeTokensProgram },
  examples: [
    {
      about: "DeepSeekMoE's gate over the logits 2, 1, 0, -1",
      inputs: {
        x: [[1, 2]],
        weight: [
          [0, 1, 0, -1],
          [1, 0, 0, 0],
        ],
      },
      attrs: { k: 2 },
      outputs: [[[0, 1]], [[0.643914, 0.236883]]],
    },
    {
      about: "three tokens, two of a workgroup; an offset, and a bias that only chooses",
      inputs: {
        x: [[1], [0], [-1]],
        weight: [[1, 0, -1]],
        offset: [0, 0.5, 0],
        bias: [0, 0, 10],
      },
      attrs: { k: 1, scores: "logits", tokens: 2 },
      outputs: [
        [[2], [2], [2]],
        [[-1], [0], [1]],
      ],
    },
  ],
});
