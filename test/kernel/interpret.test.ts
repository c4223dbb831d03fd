// What the interpreter refuses that a device would let pass, and its rounding. That its results are right is the battery's
// and the random kernels' matter.

import { describe, expect, test } from "vitest";
import { type InterpretOptions, interpret } from "../../src/codegen/interpret.ts";
import { parseKernel } from "../../src/ir/kernel-parse.ts";
import type { Kernel } from "../../src/ir/kernel.ts";

function kernelOf(body: string, header = "workgroup(8, 1, 1) subgroup(4)"): Kernel {
  const { kernel, diagnostics } = parseKernel(`kernel @strict ${header} {
  param n: u32
  buffer a: read f32
  buffer i: read i32
  buffer x: read_write f32
  shared tile: f32[16]
  ${body}
}`);
  expect(diagnostics.map((d) => d.message)).toEqual([]);
  return kernel!;
}

function run(body: string, change: Partial<InterpretOptions> = {}, header?: string): Float32Array {
  const x = new Float32Array(16);
  interpret(kernelOf(body, header), {
    workgroups: [1, 1, 1],
    params: { n: 3 },
    buffers: {
      a: Float32Array.from({ length: 8 }, (_, i) => i),
      i: Int32Array.from({ length: 8 }, (_, i) => i - 4),
      x,
    },
    ...change,
  });
  return x;
}

describe("stray accesses", () => {
  test.each<readonly [string, string]>([
    [
      "x[0] = a[local + 1]",
      "kernel strict: load of a[8], which has 8 elements (workgroup 0, 0, 0, invocation 7)",
    ],
    [
      "x[local * 4] = 1.0",
      "kernel strict: store to x[16], which has 16 elements (workgroup 0, 0, 0, invocation 4)",
    ],
    [
      "x[0] = a[i[local]]",
      "kernel strict: load of a[-4], which has 8 elements (workgroup 0, 0, 0, invocation 0)",
    ],
    [
      "tile[local * 3] = 1.0",
      "kernel strict: store to tile[18], which has 16 elements (workgroup 0, 0, 0, invocation 6)",
    ],
    ["x[0] = vec4(1.0)[local]", "kernel strict: component 4 of a vector (workgroup 0, 0, 0, invocation 4)"],
    [
      "x[local] = shuffle(1.0, local)",
      "kernel strict: subgroup shuffle of lane 4, there are 4 (workgroup 0, 0, 0, invocation 4)",
    ],
  ])("%s", (body, message) => {
    expect(() => run(body)).toThrow(message);
  });

  test("give zero and are dropped on request", () => {
    const x = run("x[local * 4] = a[local + 5] + 1.0", { outOfBounds: "zero" });
    expect([...x]).toEqual([6, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0]);
    expect(() => run("x[local] = 1.0\n x[local] = a[i[local]]", { outOfBounds: "zero" })).not.toThrow();
  });

  test("the right side of && is not evaluated for nothing", () => {
    expect(() => run("if local < 7 && a[local + 1] > 2.0 { x[local] = 1.0 }")).not.toThrow();
    expect(() => run("if local < 9 && a[local + 1] > 2.0 { x[local] = 1.0 }")).toThrow("load of a[8]");
  });
});

describe("data races", () => {
  test.each<readonly [string, string]>([
    [
      "tile[0] = f32(local)",
      "it writes another value than another invocation did since the last barrier, tile[0]",
    ],
    [
      "tile[local] = 1.0\n x[local] = tile[local ^ 1]",
      "it writes what another invocation read since the last barrier, tile[1]",
    ],
    ["x[local] = tile[local ^ 1]\n tile[local] = 1.0", "since the last barrier"],
    [
      "tile[local] = tile[local + 1]",
      "it writes what another invocation read since the last barrier, tile[1]",
    ],
    ["for k in 0..n { tile[local] = f32(k)\n barrier\n x[local] = tile[7 - local] }", "data race"],
  ])("%s", (body, message) => {
    expect(() => run(body)).toThrow(message);
    expect(() => run(body, { checkRaces: false })).not.toThrow();
  });

  test.each([
    "tile[0] = 1.0",
    "tile[local] = 1.0\n x[local] = tile[local]\n tile[local] = 2.0",
    "tile[local] = 1.0\n barrier\n x[local] = tile[7 - local]\n barrier\n tile[local] = 2.0",
    "for k in 0..n { tile[local] = f32(k)\n barrier\n x[local] = tile[7 - local]\n barrier }",
  ])("none: %s", (body) => {
    expect(() => run(body, { workgroups: [2, 1, 1] })).not.toThrow();
  });
});

describe("control flow", () => {
  // The verifier sees these too; what depends on data that it takes for uniform, only the interpreter.
  test("malformed kernels are refused", () => {
    expect(() => run("if local == 0 { barrier }")).toThrow(
      "a barrier may be reached by only some invocations",
    );
  });

  test("a loop must move on", () => {
    expect(() => run("for k in 0..4 step n - 3 { x[local] = 1.0 }")).toThrow(
      "a loop steps by 0 and would not end",
    );
    expect(() => run("for k in 4294967290..4294967295 step n { x[local] = 1.0 }")).toThrow("would not end");
  });

  test("workgroup memory starts as zeros in each workgroup", () => {
    const x = run("let was = tile[local]\n tile[local] = 5.0\n x[workgroup_x * 8 + local] = was", {
      workgroups: [2, 1, 1],
    });
    expect([...x]).toEqual(new Array(16).fill(0));
  });

  test("another subgroup width on request", () => {
    expect(run("x[local] = subgroup_add(1.0)")[0]).toBe(4);
    expect(run("x[local] = subgroup_add(1.0)", { subgroupSize: 8 })[0]).toBe(8);
  });
});

describe("arguments", () => {
  const good = { a: new Float32Array(8), i: new Int32Array(8), x: new Float32Array(16) };
  test.each<readonly [Partial<InterpretOptions>, string]>([
    [{ params: {} }, "kernel strict: no value for param n"],
    [{ params: { n: -1 } }, "kernel strict: param n is -1, which is no u32"],
    [{ params: { n: 1.5 } }, "kernel strict: param n is 1.5, which is no u32"],
    [{ buffers: { a: good.a, i: good.i } }, "kernel strict: buffer x is not given"],
    [{ buffers: { ...good, a: new Int32Array(8) } }, "kernel strict: buffer a of f32 is a Int32Array"],
  ])("%#: %s", (change, message) => {
    expect(() => run("x[local] = a[local]", change)).toThrow(message);
  });
});

test("a matrix product of a million multiply-adds", () => {
  const size = 100;
  const { kernel } = parseKernel(`kernel @matmul workgroup(10, 10, 1) {
  param n: u32
  buffer a: read f32
  buffer b: read f32
  buffer c: write f32
  let row = workgroup_y * 10 + local / 10
  let column = workgroup_x * 10 + local % 10
  var sum: f32 = 0.0
  for k in 0..n { sum = fma(a[row * n + k], b[k * n + column], sum) }
  c[row * n + column] = sum
}`);
  const a = Float32Array.from({ length: size * size }, (_, i) => (i % 7) - 3);
  const b = Float32Array.from({ length: size * size }, (_, i) => (i % 5) - 2);
  const c = new Float32Array(size * size);
  interpret(kernel!, { workgroups: [10, 10, 1], params: { n: size }, buffers: { a, b, c } });
  for (const [row, column] of [
    [0, 0],
    [3, 99],
    [99, 42],
  ] as const) {
    let expected = 0;
    for (let k = 0; k < size; k++) expected += a[row * size + k]! * b[k * size + column]!;
    expect(c[row * size + column]).toBe(expected);
  }
});
