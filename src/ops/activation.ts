// Activation functions with an op of their own; others are blocks of the standard library.

import { f32, fma, max, mul, sub } from "../ir/expr.ts";
import { abs, erf as erfExpr, erfc, sigmoid as sigmoidExpr, tanh as tanhExpr } from "./expressions.ts";
import { textOf } from "./define.ts";
import { unary } from "./elementwise.ts";
import { erf as erfNumber } from "./loops.ts";

export const relu = unary({
  name: "relu",
  doc: "Rectifier: negative values become 0.",
  equation: "y = max(x, 0)",
  domain: "float",
  apply: (x) => Math.max(x, 0),
  lower: (x) => max(x, f32(0)),
  examples: [{ about: "negative values go", inputs: { x: [-1, 0.5, 2] }, outputs: [[0, 0.5, 2]] }],
});

const tanhScale = Math.sqrt(2 / Math.PI);
const tanhCubic = 0.044715;

export const gelu = unary({
  name: "gelu",
  doc: "Gaussian error linear unit. `none` is the exact form and PyTorch's default; `tanh` is a different function, up to 4.7e-4 away. On the GPU the exact form is within 1e-6.",
  equation: "y = x/2 * (1 + erf(x / sqrt(2)));  tanh: x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))",
  domain: "float",
  attrs: {
    approximate: {
      kind: "string",
      doc: "which of the two functions",
      default: "none",
      choices: ["none", "tanh"],
    },
  },
  apply: (x, attrs) =>
    textOf(attrs, "approximate") === "tanh"
      ? (x / 2) * (1 + Math.tanh(tanhScale * (x + tanhCubic * x ** 3)))
      : (x / 2) * (1 + erfNumber(x / Math.SQRT2)),
  lower(x, c) {
    const v = c.bind("x", x);
    if (textOf(c.attrs, "approximate") === "tanh") {
      const inner = mul(v, fma(mul(v, v), f32(tanhScale * tanhCubic), f32(tanhScale)));
      const half = c.bind("half", mul(v, f32(0.5)));
      return fma(half, tanhExpr(inner), half);
    }
    // x/2 (1 + erf(x/sqrt 2)) = max(x, 0) - |x|/2 erfc(|x|/sqrt 2): nothing cancels where x is negative.
    const size = c.bind("size", abs(v));
    const tail = erfc(c.bind("z", mul(size, f32(Math.SQRT1_2))), c);
    return sub(max(v, f32(0)), mul(mul(size, f32(0.5)), tail));
  },
  examples: [
    { about: "the exact form", inputs: { x: [-1, 0, 2] }, outputs: [[-0.158655254, 0, 1.954499736]] },
    {
      about: "the tanh form",
      inputs: { x: [-1, 0, 2] },
      attrs: { approximate: "tanh" },
      outputs: [[-0.158808009, 0, 1.954597694]],
    },
  ],
});

export const errorFunction = unary({
  name: "erf",
  doc: "Error function; within 1e-6 on the GPU.",
  equation: "y = 2/sqrt(pi) * integral from 0 to x of e^(-t^2) dt",
  domain: "float",
  apply: (x) => erfNumber(x),
  lower: (x, c) => erfExpr(x, c),
  examples: [
    { about: "odd, and near 1 by 2", inputs: { x: [-1, 0, 2] }, outputs: [[-0.842700793, 0, 0.995322265]] },
  ],
});

export const tanh = unary({
  name: "tanh",
  doc: "Hyperbolic tangent.",
  equation: "y = (e^x - e^-x) / (e^x + e^-x)",
  domain: "float",
  apply: (x) => Math.tanh(x),
  lower: (x) => tanhExpr(x),
  examples: [{ about: "saturates at 1", inputs: { x: [0, 1, 50] }, outputs: [[0, 0.761594156, 1]] }],
});

export const sigmoid = unary({
  name: "sigmoid",
  doc: "Logistic function.",
  equation: "y = 1 / (1 + e^-x)",
  domain: "float",
  apply: (x) => 1 / (1 + Math.exp(-x)),
  lower: (x) => sigmoidExpr(x),
  examples: [{ about: "one half at 0", inputs: { x: [-200, 0, 1] }, outputs: [[0, 0.5, 0.731058579]] }],
});

export const silu = unary({
  name: "silu",
  doc: "Sigmoid linear unit, also called Swish.",
  equation: "y = x / (1 + e^-x)",
  domain: "float",
  apply: (x) => x / (1 + Math.exp(-x)),
  lower(x, c) {
    const v = c.bind("x", x);
    return mul(v, sigmoidExpr(v));
  },
  examples: [
    { about: "near the rectifier", inputs: { x: [-1, 0, 2] }, outputs: [[-0.268941421, 0, 1.761594156]] },
  ],
});
