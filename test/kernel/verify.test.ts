// What the verifier complains about: rules of whole kernels, and types that only wrong code (not text) can build.

import { describe, expect, test } from "vitest";
import {
  F32,
  U32,
  add,
  builtin,
  constant,
  f32,
  kernelType,
  load,
  name,
  param,
  u32,
} from "../../src/ir/expr.ts";
import { parseKernel } from "../../src/ir/kernel-parse.ts";
import { verifyKernel } from "../../src/ir/kernel-verify.ts";
import type { Expr, Kernel, Statement } from "../../src/ir/kernel.ts";

const empty: Kernel = {
  name: "k",
  params: [{ name: "n", type: U32, live: false }],
  buffers: [
    { name: "a", type: F32, access: "read" },
    { name: "x", type: F32, access: "write" },
    { name: "y", type: F32, access: "read_write" },
  ],
  shared: [{ name: "tile", type: F32, length: 8 }],
  workgroupSize: [16, 1, 1],
  subgroupSize: 8,
  body: [],
  notes: [],
  locations: [],
};

const withBody = (...body: Statement[]): Kernel => ({ ...empty, body });
const letOf = (value: Expr): Kernel => withBody({ kind: "let", name: "v", value });

function textual(body: string, header = "workgroup(16, 1, 1) subgroup(8)"): readonly string[] {
  const text = `kernel @k ${header} {
  param n: u32
  buffer a: read f32
  buffer x: write f32
  buffer y: read_write f32
  shared tile: f32[8]
  ${body}
}`;
  const { kernel, diagnostics } = parseKernel(text);
  expect(diagnostics.map((d) => d.message)).toEqual([]);
  return verifyKernel(kernel!);
}

describe("declarations", () => {
  test.each<readonly [Partial<Kernel>, string]>([
    [{ workgroupSize: [0, 1, 1] }, "workgroup size 0, 1, 1 is not positive"],
    [{ workgroupSize: [64, 64, 1], subgroupSize: 0 }, "a workgroup has at most 1024 invocations, not 4096"],
    [{ subgroupSize: 3 }, "subgroup size 3 is not a power of two up to 128"],
    [{ subgroupSize: 32 }, "a workgroup of 16 invocations is no multiple of subgroups of 32"],
    [{ workgroupSize: [8, 2, 1] }, "a workgroup that uses subgroups has one dimension"],
    [{ name: "" }, "a kernel has no name"],
    [{ shared: [{ name: "a", type: F32, length: 4 }] }, "a is defined twice"],
    [{ shared: [{ name: "t", type: F32, length: 0 }] }, "workgroup array t has length 0"],
    [{ params: [{ name: "p", type: F32, live: true }] }, "live param p is f32, not u32"],
    [
      { params: [{ name: "p", type: kernelType("f16"), live: false }] },
      "param p is f16: a param is u32, i32 or f32",
    ],
  ])("%o", (change, complaint) => {
    expect(verifyKernel({ ...empty, ...change })).toContain(complaint);
  });

  test("the empty kernel is fine", () => {
    expect(verifyKernel(empty)).toEqual([]);
  });
});

describe("expressions that no text has", () => {
  test.each<readonly [Kernel, string]>([
    [letOf(name("b", F32)), "let v: unknown name b"],
    [letOf(param("m")), "let v: unknown param m"],
    [letOf(load("b", u32(0), F32)), "let v: load from undeclared b"],
    [letOf(load("x", u32(0), F32)), "let v: load from x, which is write only"],
    [letOf(load("a", u32(0), kernelType("f32", 4))), "let v: a is f32, not vec4<f32>"],
    [letOf(name("n", U32)), "let v: unknown name n"],
    [letOf({ kind: "binary", op: "add", a: u32(1), b: f32(1), type: U32 }), "let v: add of u32 and f32"],
    [letOf({ kind: "binary", op: "lt", a: u32(1), b: u32(1), type: U32 }), "let v: lt gives bool, not u32"],
    [letOf({ kind: "unary", op: "exp", a: u32(1), type: U32 }), "let v: exp of u32"],
    [letOf({ kind: "unary", op: "neg", a: u32(1), type: U32 }), "let v: neg of u32"],
    [letOf(constant(1.5, U32)), "let v: 1.5 is not a u32"],
    [letOf(constant(1e39, F32)), "let v: 1e+39 is beyond f32"],
    [letOf({ kind: "vector", parts: [], type: kernelType("f32", 4) }), "let v: 0 parts for a vec4<f32>"],
    [
      letOf({ kind: "subgroup", op: "shuffle", a: f32(1), type: F32 }),
      "let v: subgroup shuffle without a lane",
    ],
    [
      letOf({ kind: "subgroup", op: "broadcast", a: f32(1), lane: u32(8), type: F32 }),
      "let v: subgroup broadcast: lane 8 of 8",
    ],
    [withBody({ kind: "set", name: "v", value: u32(1) }), "set v: unknown name"],
    [
      withBody({ kind: "store", to: "a", index: u32(0), value: f32(1) }),
      "store to a: the buffer is read only",
    ],
    [withBody({ kind: "store", to: "x", index: u32(0), value: u32(1) }), "store to x: u32 for a f32"],
    [withBody({ kind: "store", to: "tile", index: u32(8), value: f32(1) }), "element 8 of tile, which has 8"],
    [withBody({ kind: "return" }, { kind: "barrier" }), "statements after return are never run"],
    [withBody({ kind: "if", condition: u32(1), then: [], else: [] }), "if: the condition is u32"],
    [
      withBody({ kind: "for", name: "i", start: u32(0), end: u32(4), step: u32(0), body: [] }),
      "for i: step 0 is not positive",
    ],
  ])("%#: %s", (kernel, complaint) => {
    expect(verifyKernel(kernel)).toContain(complaint);
  });

  test("subgroup things need a subgroup size", () => {
    const kernel = { ...letOf(builtin("lane")), subgroupSize: 0 };
    expect(verifyKernel(kernel)).toEqual(["let v: lane in a kernel without a subgroup size"]);
  });

  test("expressions too deep or too large are refused without recursion", () => {
    let deep: Expr = u32(1);
    for (let i = 0; i < 100_000; i++) deep = { kind: "unary", op: "abs", a: deep, type: U32 };
    expect(verifyKernel(letOf(deep))).toEqual(["an expression is more than 400 operations deep"]);
    let wide: Expr = builtin("local");
    for (let i = 0; i < 60; i++) wide = add(wide, wide);
    expect(verifyKernel(letOf(wide))).toEqual(["an expression has more than 100000 operations: use let"]);
    let nested: Statement = { kind: "barrier" };
    for (let i = 0; i < 100_000; i++)
      nested = { kind: "if", condition: constant(true, kernelType("bool")), then: [nested], else: [] };
    expect(verifyKernel(withBody(nested))).toEqual(["blocks nest more than 200 deep"]);
  });
});

describe("uniform control flow", () => {
  const barrier = ["a barrier may be reached by only some invocations of a workgroup"];
  const lanes = ["a subgroup operation may be reached by only some lanes of a subgroup"];
  test.each<readonly [readonly string[], string]>([
    [[], "if n > 3 { barrier }"],
    [[], "if a[n] > 3.0 { barrier }"],
    [barrier, "if y[n] > 3.0 { barrier }"],
    [barrier, "if local > 3 { barrier }"],
    [barrier, "if subgroup == 1 { barrier }"],
    [barrier, "for i in 0..lane { barrier }"],
    [barrier, "for i in local..n { barrier }"],
    [barrier, "var s: u32 = 0\n for i in 0..n { if s > 0 { barrier }\n s = local }"],
    [barrier, "var s: u32 = 0\n if local == 0 { s = 1 }\n if s == 0 { barrier }"],
    [barrier, "if local == 0 { return }\n barrier"],
    [barrier, "for i in 0..n { barrier\n if local == i { return } }"],
    [[], "if n == 0 { return }\n barrier"],
    [[], "for i in 0..n { if workgroup_x > i { return }\n barrier }"],
    [[], "if local == 0 { y[0] = 1.0 }\n barrier"],
    [[], "if subgroup == 1 { y[local] = subgroup_add(1.0) }"],
    [[], "if subgroup_add(lane) == 3 { y[local] = subgroup_add(1.0) }"],
    [lanes, "if lane == 1 { y[local] = subgroup_add(1.0) }"],
    [lanes, "if shuffle(lane, lane) == 1 { y[local] = subgroup_add(1.0) }"],
    [lanes, "for i in 0..local { y[local] = subgroup_add(1.0) }"],
    [["let v: subgroup add on the right of && or ||"], "let v = n > 0 && subgroup_add(n) > 3"],
  ])("%j: %s", (complaints, body) => {
    expect(textual(body)).toEqual(complaints);
  });

  test("a long chain of conditions is analysed once", () => {
    let condition = "local < 1";
    for (let i = 0; i < 150; i++) condition = `n > ${i} && (${condition})`;
    expect(textual(`if ${condition} { y[0] = 1.0 }`)).toEqual([]);
  });
});
