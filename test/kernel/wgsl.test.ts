// How WGSL is written: readable, few parentheses, nothing that a name or note could break. That Dawn accepts it and computes the
// same is the battery's matter; a few texts that only Dawn can judge are judged here.

import { describe, expect, test } from "vitest";
import { bindingLayout } from "../../src/codegen/wgsl/bindings.ts";
import { Names } from "../../src/codegen/wgsl/names.ts";
import { printWgsl } from "../../src/codegen/wgsl/print.ts";
import { parseKernel } from "../../src/ir/kernel-parse.ts";
import type { Kernel } from "../../src/ir/kernel.ts";
import { compileWgsl } from "./dawn.ts";

function kernelOf(text: string): Kernel {
  const { kernel, diagnostics } = parseKernel(text);
  expect(diagnostics.map((d) => d.message)).toEqual([]);
  return kernel!;
}

const wrapped = (body: string): Kernel =>
  kernelOf(`kernel @k workgroup(8, 1, 1) {
  param n: u32
  buffer a: read f32
  buffer i: read i32
  buffer x: read_write f32
  ${body}
}`);

/** The statements of a kernel, each trimmed. */
function statements(kernel: Kernel): string[] {
  const lines = printWgsl(kernel).split("\n");
  const start = lines.findIndex((l) => l.startsWith("fn main(") || l === ") {");
  return lines.slice(start + 1, lines.lastIndexOf("}")).map((l) => l.trim());
}

test("a whole module", () => {
  const kernel = kernelOf(`kernel @matmul_bias workgroup(8, 1, 1) subgroup(8) {
  // contraction by lanes, K by 1
  loc "examples/digits.model":4:3-4:20
  param K: u32
  live param n: u32
  param scale: f32
  buffer a: read vec4<f32>
  buffer mask: read bool
  buffer c: write vec4<f32>
  shared tile: f32[8]
  if workgroup_y * 8 >= n { return }
  var sum: vec4<f32> = vec4<f32>(0.0)
  for k in 0..K step 4 { sum = fma(vec4(broadcast(a[k], 0).x), a[k + lane], sum) }
  tile[local] = select(mask[local], sum.x, -inf)
  barrier
  c[workgroup_x * 8 + local] = sum * vec4(scale) + vec4(tile[7 - local])
}`);
  expect(printWgsl(kernel, { header: ["made by tokenloom"], buffersReadWrite: ["a"] })).toBe(
    `// made by tokenloom
// matmul_bias
// contraction by lanes, K by 1
// examples/digits.model:4:3

enable subgroups;

struct Params {
  K: u32,
  n: u32, // where in extents
  scale: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> extents: array<u32>;
@group(0) @binding(2) var<storage, read_write> a: array<vec4f>;
@group(0) @binding(3) var<storage, read> mask: array<u32>;
@group(0) @binding(4) var<storage, read_write> c: array<vec4f>;
var<workgroup> tile: array<f32, 8>;

@compute @workgroup_size(8, 1, 1)
fn main(
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(local_invocation_index) local_index: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let n = extents[params.n];
  var infinity_bits = 0x7f800000u;
  let infinity = bitcast<f32>(infinity_bits);
  if (workgroup_id.y * 8u >= n) {
    return;
  }
  var sum = vec4f(0.0);
  for (var k = 0u; k < params.K; k += 4u) {
    sum = fma(vec4f(subgroupBroadcast(a[k], 0u).x), a[k + lane], sum);
  }
  tile[local_index] = select(-infinity, sum.x, mask[local_index] != 0u);
  workgroupBarrier();
  c[workgroup_id.x * 8u + local_index] = sum * vec4f(params.scale) + vec4f(tile[7u - local_index]);
}
`,
  );
  expect(bindingLayout(kernel)).toEqual({
    params: 0,
    extents: 1,
    buffers: { a: 2, mask: 3, c: 4 },
    uniformBytes: 16,
    uniformOffsets: { K: 0, n: 4, scale: 8 },
  });
});

test("bindings close ranks where there are no parameters", () => {
  const kernel = kernelOf("kernel @k workgroup(1, 1, 1) { buffer a: read f32 buffer b: write f32 }");
  expect(bindingLayout(kernel)).toEqual({ buffers: { a: 0, b: 1 }, uniformBytes: 0, uniformOffsets: {} });
});

describe("expressions", () => {
  test.each<readonly [string, string]>([
    ["a[0] - (a[1] - a[2]) * a[3]", "a[0u] - (a[1u] - a[2u]) * a[3u]"],
    ["-(-a[0]) - -a[1]", "-(-a[0u]) - -a[1u]"],
    ["n & 3 & local | n << 2 + local", "(params.n & 3u & local_index) | (params.n << (2u + local_index))"],
    [
      "n < 3 && n > 1 || n == 0 || local == 2",
      "(params.n < 3u && params.n > 1u) || params.n == 0u || local_index == 2u",
    ],
    ["n & 1 == 1", "(params.n & 1u) == 1u"],
    ["i[0] << i[1]", "i[0u] << u32(i[1u])"],
    ["select(n < local, 1.0, 2.0)", "select(2.0, 1.0, (params.n < local_index))"],
    ["min(n, local) % (n % 2)", "min(params.n, local_index) % (params.n % 2u)"],
    ["vec4<bool>(true) && vec4(a[0]) < vec4(a[1])", "vec4<bool>(true) & (vec4f(a[0u]) < vec4f(a[1u]))"],
    ["rsqrt(a[n]) + f32(!(n == 2))", "inverseSqrt(a[params.n]) + f32(!(params.n == 2u))"],
    ["vec4(a[0]).x + vec2(a[0], 1.0)[n]", "vec4f(a[0u]).x + vec2f(a[0u], 1.0)[params.n]"],
    ["1.0 / 3.0 + a[0]", "0.33333334 + a[0u]"],
    ["a[0] * 0.1 - -1e-7", "a[0u] * 0.1 - -1e-7"],
    ["4294967295 + 2 + n", "1u + params.n"],
  ])("%s", (kernelText, wgsl) => {
    const kernel = wrapped(`let v = ${kernelText}`);
    expect(statements(kernel)).toEqual([`let v = ${wgsl};`]);
  });

  test("loop bounds are read once", () => {
    const lines = statements(
      wrapped(`var end: u32 = n
  for k in 0..end step u32(i[0]) + 1 { end = k }
  for k in 0..end + n * 2 { x[k] = 1.0 }`),
    );
    expect(lines.filter((l) => /^let|^for/.test(l))).toEqual([
      "let k_end = end;",
      "let k_step = u32(i[0u]) + 1u;",
      "for (var k = 0u; k < k_end; k += k_step) {",
      "for (var k = 0u; k < end + params.n * 2u; k += 1u) {",
    ]);
  });
});

describe("what comes from a model cannot break the text", () => {
  test("notes, names and files", async () => {
    const kernel: Kernel = {
      ...wrapped("x[local] = a[local]"),
      name: "k\nfn evil() {}",
      notes: ["a\u2028b", "c\r\nd */"],
      locations: [{ file: "x\ny.model", line: 1, column: 1, endLine: 1, endColumn: 2 }],
    };
    const text = printWgsl(kernel);
    expect(text.split(/[\n\r\u2028]/).slice(0, 8)).toEqual([
      ...["// k", "// fn evil() {}", "// a", "// b", "// c", "// d */", "// x", "// y.model:1:1"],
    ]);
    expect((await compileWgsl(text)).errors).toEqual([]);
  });

  test("names are safe, stable and never the same", () => {
    const names = new Names();
    const given = ["x", "x y", "x_y", "_", "__a", "1", "for", "vec4f", "params", "λ", "μ", "", "x"].map((n) =>
      names.of(n),
    );
    expect(given[0]).toBe("x");
    expect(given.at(-1)).toBe("x");
    expect(new Set(given).size).toBe(given.length - 1);
    for (const name of given) expect(name).toMatch(/^[A-Za-z](_?[A-Za-z0-9])*_?$/);
  });

  test("words that WGSL keeps for itself, as Dawn sees them", async () => {
    const words = (
      "alias break case const const_assert continue continuing default diagnostic discard else enable false fn for if let loop " +
      "override requires return struct switch true var while abstract active as asm async attribute await become class " +
      "compile concept debugger delete do enum export extends extern fallthrough final from get goto impl import inline " +
      "interface layout macro match meta mod module move mut namespace new nil null of operator package pass patch private " +
      "public readonly ref register require resource self set shared static super target template this throw trait try type " +
      "typedef union unless using varying virtual volatile wgsl where with yield f32 vec4f array select min params main"
    ).split(" ");
    const kernel = kernelOf(`kernel @words workgroup(1, 1, 1) {
  buffer x: write u32
${words.map((w, i) => `  let \`${w}\` = ${i}\n  x[${i}] = min(\`${w}\`, 3)`).join("\n")}
}`);
    expect((await compileWgsl(printWgsl(kernel))).errors).toEqual([]);
  });
});
