// Sine and cosine. WGSL promises an absolute error of 2^-11 between -pi and pi and nothing beyond, so they are written out: the angle
// is brought within a quarter turn of 0, and polynomials do the rest. Angles of positions reach thousands.

import { add, eq, f32, fma, ge, mul, or, select, sub } from "../ir/expr.ts";
import type { Expr } from "../ir/kernel.ts";
import type { ElementContext } from "../ir/op.ts";
import { unary } from "./elementwise.ts";
import { floor, negate } from "./expressions.ts";

/** pi/2 in three parts, the first two short, so that their multiples are exact in f32 for thousands of turns. */
const quarters = [1.5703125, 4.837512969970703125e-4, 7.549789954891882e-8] as const;

/** Sine for `shift` 0, cosine for 1, which is ahead by a quarter turn. */
function wave(x: Expr, shift: 0 | 1, c: ElementContext): Expr {
  const angle = c.bind("angle", x);
  const turns = c.bind("turns", floor(fma(angle, f32(2 / Math.PI), f32(0.5))));
  const rest = quarters.reduce<Expr>((left, part) => fma(turns, f32(-part), left), angle);
  const r = c.bind("rest", rest);
  const z = c.bind("z", mul(r, r));
  // Minimax polynomials for |r| <= pi/4, of the Cephes library.
  const s = fma(mul(r, z), polynomial(z, [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1]), r);
  const k = fma(
    mul(z, z),
    polynomial(z, [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2]),
    fma(z, f32(-0.5), f32(1)),
  );
  const ahead = c.bind("ahead", add(turns, f32(shift)));
  const quadrant = c.bind("quadrant", sub(ahead, mul(floor(mul(ahead, f32(0.25))), f32(4))));
  const odd = or(eq(quadrant, f32(1)), eq(quadrant, f32(3)));
  const size = c.bind("size", select(odd, k, s));
  return select(ge(quadrant, f32(2)), negate(size), size);
}

function polynomial(z: Expr, [first, ...rest]: readonly [number, ...number[]]): Expr {
  return rest.reduce<Expr>((sum, a) => fma(sum, z, f32(a)), f32(first));
}

export const sine = unary({
  name: "sin",
  doc: "Sine of an angle in radians.",
  equation: "y = sin(x)",
  domain: "float",
  apply: (x) => Math.sin(x),
  lower: (x, c) => wave(x, 0, c),
  examples: [
    {
      about: "0, a sixth and a half of pi",
      inputs: { x: [0, 0.5235987756, 1.5707963268] },
      outputs: [[0, 0.5, 1]],
    },
  ],
});

export const cosine = unary({
  name: "cos",
  doc: "Cosine of an angle in radians.",
  equation: "y = cos(x)",
  domain: "float",
  apply: (x) => Math.cos(x),
  lower: (x, c) => wave(x, 1, c),
  examples: [
    {
      about: "0, a third and all of pi",
      inputs: { x: [0, 1.0471975512, 3.1415926536] },
      outputs: [[1, 0.5, -1]],
    },
  ],
});
