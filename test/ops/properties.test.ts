// What a record claims, held against its reference on random inputs: shapes, relations of axes, traits, decompositions.

import { describe, expect, test } from "vitest";
import { constantOf, dim, evaluateDim } from "../../src/ir/dim.ts";
import { inferTypes, type AxisRelation } from "../../src/ir/op.ts";
import { stridesOfShape, type Tensor } from "../../src/ir/tensor.ts";
import { tensorType } from "../../src/ir/types.ts";
import { callable, randomCall } from "./cases.ts";
import {
  attrsFor,
  symbolsFor,
  inferCall,
  largestDifference,
  namesFor,
  Random,
  runCall,
  runDecomposed,
  typesFor,
  type Call,
} from "./support.ts";

const seeds = [1, 2, 3, 4, 5, 6, 7, 8];

function indexOf(flat: number, shape: readonly number[]): number[] {
  return stridesOfShape(shape).map((s, i) => Math.floor(flat / s) % shape[i]!);
}

/** May result position `at` depend on position `p` of an input axis with this relation? */
function mayDepend(
  relation: AxisRelation,
  p: number,
  at: readonly number[],
  shape: readonly number[],
): boolean {
  if (relation.kind === "same" || relation.kind === "tail") return at[relation.axis] === p;
  if (relation.kind === "grouped") return Math.floor(at[relation.axis]! / relation.size) === p;
  if (relation.kind === "part") return constantOf(relation.start)! + relation.step * at[relation.axis]! === p;
  if (relation.kind === "joined") return relation.axes.reduce((n, a) => n * shape[a]! + at[a]!, 0) === p;
  if (relation.kind !== "window") return true;
  const start = at[relation.axis]! * relation.stride - relation.pad;
  return Array.from({ length: relation.size }, (_, t) => start + t * relation.dilation).includes(p);
}

function perturbed(t: Tensor, at: number): Tensor {
  const data = t.data.slice();
  data[at] = t.dtype === "bool" ? 1 - data[at]! : data[at]! + 1;
  return { ...t, data };
}

describe.each(callable.map((op) => [op.name, op] as const))("%s", (opName, op) => {
  const calls: Call[] = seeds.map((seed) => randomCall(opName, new Random(seed * 7919)));

  // The evaluator compares every result with the inferred shape and type, and throws where they differ.
  test("the reference gives what was inferred", () => {
    for (const call of calls) expect(runCall(call)).toHaveLength(op.results.length);
  });

  test("sizes left symbolic come out the same", () => {
    for (const call of calls) {
      const env: Record<string, number> = Object.fromEntries(symbolsFor(call).map((s) => [s.name, 1]));
      const types = typesFor(call).map(
        (t) =>
          t &&
          tensorType(
            t.dtype,
            t.shape.map((d) => {
              const size = constantOf(d)!;
              // One symbol per size: equal sizes stay equal. Size 1 broadcasts, and must stay a number.
              if (size === 1) return d;
              env[`n${size}`] = size;
              return dim(`n${size}`);
            }),
          ),
      );
      const inferred = inferTypes(op, types, attrsFor(call));
      // Some constraints cannot be shown for symbols; then there is nothing to compare.
      if ("failure" in inferred) continue;
      const expected = inferCall(call);
      for (const [i, t] of inferred.types.entries())
        expect(t.shape.map((d) => evaluateDim(d, env))).toEqual(
          expected[i]!.shape.map((d) => evaluateDim(d, env)),
        );
    }
  });

  test("no result depends on more than the axis relations say", () => {
    for (const call of calls) {
      const before = runCall(call);
      const relations = op.axes(typesFor(call), attrsFor(call));
      const random = new Random(99);
      for (const [i, name] of namesFor(call).entries()) {
        const input = call.inputs[name];
        if (!input) continue;
        expect(relations[i]).toHaveLength(input.shape.length);
        for (let trial = 0; trial < 4; trial++) {
          const at = random.int(0, input.data.length - 1);
          const position = indexOf(at, input.shape);
          const after = runCall({ ...call, inputs: { ...call.inputs, [name]: perturbed(input, at) } });
          for (const [r, y] of after.entries())
            for (let k = 0; k < y.data.length; k++) {
              if (Object.is(y.data[k], before[r]!.data[k])) continue;
              const place = indexOf(k, y.shape);
              for (const [axis, relation] of relations[i]!.entries())
                expect(mayDepend(relation, position[axis]!, place, y.shape), `${name}, axis ${axis}`).toBe(
                  true,
                );
            }
        }
      }
    }
  });

  if ("decompose" in op.lowering || op.expand) {
    test("the decomposition is the reference to 1e-10", () => {
      let expanded = 0;
      for (const call of calls) {
        const expected = runCall(call);
        for (const [i, y] of (runDecomposed(call) ?? []).entries()) {
          expect(largestDifference(expected[i]!, y)).toBeLessThan(1e-10);
          expanded++;
        }
      }
      expect(expanded).toBeGreaterThan(0);
    });
  }

  if (op.traits.includes("linear")) {
    test("is linear in its first input", () => {
      for (const call of calls) {
        const first = op.inputs[0]!.name;
        const x = call.inputs[first]!;
        if (x.dtype !== "f32") continue;
        const y = { ...x, data: x.data.map((_, i) => Math.sin(i + 1)) as Tensor["data"] };
        const mixed = { ...x, data: x.data.map((v, i) => 2 * v - 3 * y.data[i]!) as Tensor["data"] };
        const at = (t: Tensor) => runCall({ ...call, inputs: { ...call.inputs, [first]: t } })[0]!;
        const [fx, fy, fmixed] = [at(x), at(y), at(mixed)];
        const combined = fx.data.map((v, i) => 2 * v - 3 * fy.data[i]!) as Tensor["data"];
        expect(largestDifference({ ...fx, data: combined }, fmixed)).toBeLessThan(1e-10);
      }
    });
  }

  if (op.keepsConstants) {
    test("a constant comes out as it went in, where it says so", () => {
      for (const call of calls) {
        const first = op.inputs[0]!.name;
        const x = call.inputs[first]!;
        if (x.dtype !== "f32" || !op.keepsConstants!(attrsFor(call))) continue;
        const seven = { ...x, data: x.data.map(() => 7) as Tensor["data"] };
        const [y] = runCall({ ...call, inputs: { ...call.inputs, [first]: seven } });
        expect(largestDifference(y!, { ...y!, data: y!.data.map(() => 7) as Tensor["data"] })).toBeLessThan(
          1e-12,
        );
      }
    });
  }

  if (op.traits.includes("commutative")) {
    test("its inputs may be swapped", () => {
      for (const call of calls) {
        const [a, b] = [call.inputs["a"]!, call.inputs["b"]!];
        const swapped = runCall({ ...call, inputs: { ...call.inputs, a: b, b: a } });
        expect(swapped[0]).toEqual(runCall(call)[0]);
      }
    });
  }

  if (op.traits.includes("movement")) {
    test("every result is a value of an input, or zero", () => {
      for (const call of calls) {
        const values = new Set([0, ...Object.values(call.inputs).flatMap((t) => [...t.data])]);
        for (const y of runCall(call)) for (const v of y.data) expect(values.has(v)).toBe(true);
      }
    });
  }
});

test("multiply-adds are counted for contractions", () => {
  for (const op of callable) expect(op.macs !== undefined).toBe(op.traits.includes("contraction"));
  const conv = randomCall("conv2d", new Random(3));
  const [result] = inferCall(conv);
  const macs = conv.op.macs!(typesFor(conv), attrsFor(conv), result!);
  const weight = conv.inputs["weight"]!.shape;
  const outputs = result!.shape.reduce((n, d) => n * constantOf(d)!, 1);
  expect(constantOf(macs)).toBe(outputs * weight[1]! * weight[2]! * weight[3]!);
});
