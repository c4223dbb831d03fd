// Running totals along an axis. No generator has this loop, so the op writes its kernel itself.

import { add, constant, div, kernelType, min, mul, sub, u32 } from "../ir/expr.ts";
import type { Expr } from "../ir/kernel.ts";
import type { KernelWriter, ProgramFacts, ProgramStep } from "../ir/program.ts";
import { elementCount, stridesOfShape } from "../ir/tensor.ts";
import { axisOf, checkAxis, checkNumeric, defineOp, flagOf, same, sentences, whole } from "./define.ts";
import { rowsWithout } from "./loops.ts";

/** Invocations of the workgroup that a row has. */
const THREADS = 64;

export const cumsum = defineOp({
  name: "cumsum",
  doc: "Running total along an axis, accumulated in f32 in a fixed order. `exclusive` leaves out the element itself, `reverse` runs from the end.",
  equation: "y[t] = sum over s <= t of x[s]",
  traits: ["linear"],
  inputs: [{ name: "x", doc: "any number type" }],
  attrs: {
    axis: { kind: "axis", doc: "the axis (index or name)", default: -1 },
    exclusive: { kind: "bool", doc: "sum over s < t", default: false },
    reverse: { kind: "bool", doc: "sum over s >= t", default: false },
  },
  constraints: { numeric: sentences.numeric, axis: sentences.axis },
  infer(c) {
    const x = checkNumeric(c);
    checkAxis(c);
    return [{ dtype: x.dtype, shape: x.shape, axes: x.axes }];
  },
  axes([x], attrs) {
    const rank = x?.shape.length ?? 0;
    const axis = axisOf(attrs, "axis", rank);
    return [Array.from({ length: rank }, (_, i) => (i === axis ? whole(i) : same(i)))];
  },
  reference(c) {
    const x = c.input("x");
    const axis = axisOf(c.attrs, "axis", x.shape.length);
    const size = x.shape[axis]!;
    const stride = stridesOfShape(x.shape)[axis]!;
    const { row } = rowsWithout(x.shape, [axis]);
    const totals = new Float64Array(elementCount(x.shape) / Math.max(1, size));
    const y = c.result();
    const reverse = flagOf(c.attrs, "reverse");
    const exclusive = flagOf(c.attrs, "exclusive");
    for (let step = 0; step < size; step++) {
      const t = reverse ? size - 1 - step : step;
      for (let i = 0; i < x.data.length; i++) {
        if (Math.floor(i / stride) % size !== t) continue;
        const before = totals[row[i]!]!;
        totals[row[i]!] = before + x.data[i]!;
        y.data[i] = exclusive ? before : totals[row[i]!]!;
      }
    }
    return [y];
  },
  lowering: {
    kind: "program",
    inPlace: ["x"],
    epilogue: true,
    program: (f) => ({ steps: [scanRow(f)] }),
  },
  examples: [
    {
      about: "along the last axis",
      inputs: {
        x: [
          [1, 2, 3],
          [4, 5, 6],
        ],
      },
      outputs: [
        [
          [1, 3, 6],
          [4, 9, 15],
        ],
      ],
    },
    {
      about: "down the rows, without the element itself",
      inputs: {
        x: [
          [1, 2],
          [3, 4],
          [5, 6],
        ],
      },
      attrs: { axis: 0, exclusive: true },
      outputs: [
        [
          [0, 0],
          [1, 2],
          [4, 6],
        ],
      ],
    },
    { about: "from the end", inputs: { x: [1, 2, 3] }, attrs: { reverse: true }, outputs: [[6, 5, 3]] },
  ],
});

/** A workgroup for each row: every invocation adds up a run of neighbours, then knows where its run begins, then writes it. */
function scanRow(f: ProgramFacts): ProgramStep {
  const x = f.type("x");
  const axis = axisOf(f.attrs, "axis", x.shape.length);
  const reverse = flagOf(f.attrs, "reverse");
  const exclusive = flagOf(f.attrs, "exclusive");
  const scalar = x.dtype === "i32" || x.dtype === "u32" ? x.dtype : "f32";
  const zero = constant(0, kernelType(scalar));
  const write = (k: KernelWriter): void => {
    const size = k.size(x.shape[axis]!);
    const at = (step: Expr): readonly Expr[] => {
      const t = reverse ? k.bind("t", sub(sub(size, u32(1)), step)) : step;
      const rest = [...k.workgroup];
      return x.shape.map((_, i) => (i === axis ? t : rest.shift()!));
    };
    const run = k.bind("run", div(add(size, u32(THREADS - 1)), u32(THREADS)));
    const start = k.bind("start", min(mul(k.local, run), size));
    const end = k.bind("end", min(add(start, run), size));
    const total = k.variable("total", zero);
    k.loop("step", start, end, (step) => k.set(total, add(total, k.read("x", at(step)))));
    const totals = k.shared("totals", kernelType(scalar), THREADS);
    totals.store(k.local, total);
    k.barrier();
    const sum = k.variable("sum", zero);
    k.loop("before", u32(0), k.local, (before) => k.set(sum, add(sum, totals.load(before))));
    k.loop("step", start, end, (step) => {
      const before = k.bind("running", sum);
      const after = k.bind("running", add(before, k.read("x", at(step))));
      k.set(sum, after);
      k.write("y", at(step), exclusive ? before : after);
    });
  };
  return {
    reads: ["x"],
    writes: ["y"],
    workgroups: x.shape.filter((_, i) => i !== axis),
    invocations: THREADS,
    schedule: `running totals, a workgroup a row, ${THREADS} invocations`,
    write,
  };
}
