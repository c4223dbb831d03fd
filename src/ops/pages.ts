// A tensor in several pages, because one storage binding cannot hold it: made by a pass, read in place.

import { addDim, dim, sameDim, subDim, type Dim } from "../ir/dim.ts";
import { lt, sub } from "../ir/expr.ts";
import type { Expr } from "../ir/kernel.ts";
import type { AxisRelation } from "../ir/op.ts";
import { showType } from "../ir/types.ts";
import { checkSameDType, defineOp, same, sentences } from "./define.ts";

export const pages = defineOp({
  name: "pages",
  doc:
    "Parts of one tensor, one after the other along its first axis, each in a binding of its own. What reads an element reads the page " +
    "that has it, and no other.",
  equation: "y[n, ...] = x_p[n - start_p, ...],  start_p <= n < start_(p + 1)",
  traits: ["movement", "unpacking"],
  inputs: [{ name: "x", doc: "[N, ...], all but the first axis alike" }],
  variadic: true,
  attrs: {},
  constraints: {
    rank: "pages have at least one axis",
    shapes: "pages differ in their first axis alone",
    dtype: sentences.dtype,
  },
  infer(c) {
    const names = Array.from({ length: c.count }, (_, i) => (i === 0 ? "x" : `x${i + 1}`));
    const first = c.type("x");
    c.check("rank", first.shape.length >= 1, { input: "x", got: showType(first) });
    for (const name of names) {
      const { shape } = c.type(name);
      const alike =
        shape.length === first.shape.length &&
        shape.slice(1).every((d, i) => sameDim(d, first.shape[i + 1]!));
      c.check("shapes", alike, { input: name, got: showType(c.type(name)), expected: showType(first) });
    }
    checkSameDType(c, names);
    const rows = names.map((name) => c.type(name).shape[0]!).reduce<Dim>(addDim, dim(0));
    return [{ dtype: first.dtype, shape: [rows, ...first.shape.slice(1)], axes: first.axes }];
  },
  axes: (types) => {
    // Where the first row of the result would be in each page.
    let start: Dim = dim(0);
    return types.map((type) => {
      const relations = type!.shape.map((_, i): AxisRelation =>
        i === 0 ? { kind: "part", axis: 0, start, step: 1 } : same(i),
      );
      start = subDim(start, type!.shape[0]!);
      return relations;
    });
  },
  reference(c) {
    const y = c.result();
    let at = 0;
    for (let i = 0; i < c.count; i++) {
      const { data } = c.input(i === 0 ? "x" : `x${i + 1}`);
      y.data.set(data, at);
      at += data.length;
    }
    return [y];
  },
  lowering: {
    kind: "element",
    element(c, index) {
      const [row, ...rest] = index as readonly [Expr, ...Expr[]];
      const from = (page: number, at: Expr): Expr => {
        const size = c.size(c.type(page).shape[0]!);
        const next = page + 1 < c.count ? () => from(page + 1, sub(at, size)) : undefined;
        return c.readOr(page, [at, ...rest], lt(at, size), next);
      };
      return from(0, row);
    },
  },
  examples: [
    {
      about: "three rows, and one",
      inputs: {
        x: [
          [1, 2],
          [3, 4],
          [5, 6],
        ],
        x2: [[7, 8]],
      },
      outputs: [
        [
          [1, 2],
          [3, 4],
          [5, 6],
          [7, 8],
        ],
      ],
    },
  ],
  inLanguage: false,
});
