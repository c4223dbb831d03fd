// Ops the compiler makes and no model file calls: a fused group, whose computation is its body, and a copy, which only changes how a
// value lies in memory.

import { Bug } from "../support/bug.ts";
import type { OpDefinition } from "../ir/op.ts";

export const group: OpDefinition = {
  name: "group",
  doc: "One kernel: the nodes of the body run in one dispatch. `kind` says which generator makes it.",
  equation: "y = body(x...)",
  traits: [],
  inputs: [{ name: "x", doc: "values read from memory, one per parameter of the body", optional: true }],
  variadic: true,
  attrs: {
    kind: {
      kind: "string",
      doc: "contraction, reduction, program or element",
      choices: ["contraction", "reduction", "program", "element"],
    },
    name: { kind: "string", doc: "readable name of the kernel, from the ops it holds" },
  },
  results: ["y"],
  constraints: {},
  infer() {
    throw new Bug("the types of a group are those of its body");
  },
  axes: (types) => types.map((t) => (t?.shape ?? []).map(() => ({ kind: "other" as const }))),
  reference() {
    throw new Bug("a group is evaluated by evaluating its body");
  },
  lowering: { kind: "group" },
  examples: [],
  inLanguage: false,
};

export const copy: OpDefinition = {
  name: "copy",
  doc: "The same values, in another physical order where the result's type says so.",
  equation: "y[i] = x[i]",
  traits: ["elementwise", "movement", "linear"],
  inputs: [{ name: "x", doc: "any tensor" }],
  attrs: {},
  results: ["y"],
  constraints: {},
  infer(c) {
    const { order: _, ...type } = c.type("x");
    return [type];
  },
  axes: (types) => [(types[0]?.shape ?? []).map((_, axis) => ({ kind: "same" as const, axis }))],
  reference(c) {
    const x = c.input("x");
    const y = c.result();
    y.data.set(x.data);
    return [y];
  },
  lowering: { kind: "element", element: (c, index) => c.read(0, index) },
  examples: [
    {
      about: "values do not change",
      inputs: {
        x: [
          [1, 2],
          [3, 4],
        ],
      },
      outputs: [
        [
          [1, 2],
          [3, 4],
        ],
      ],
    },
  ],
  inLanguage: false,
};
