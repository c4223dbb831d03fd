// The kernel text: how it looks, what the parser says about wrong text and where, and that no text can hurt it.

import { describe, expect, test } from "vitest";
import { constant, f32, kernelType } from "../../src/ir/expr.ts";
import { maxKernelText, parseKernel } from "../../src/ir/kernel-parse.ts";
import { printExpr, printKernel } from "../../src/ir/kernel-print.ts";
import type { Expr, Kernel } from "../../src/ir/kernel.ts";
import { position } from "../../src/support/source.ts";
import { battery, kernelText } from "./battery.ts";
import { randomFrom } from "./random-kernel.ts";

/** As it is printed, so that a change of the text form shows here. */
const canonical = `kernel @conv2d_gelu workgroup(8, 1, 1) subgroup(8) {
  // subgroup schedule 16x8, K step 4
  //
  note "two\\nlines"
  loc "examples/poolformer.model":14:7-14:40
  param K: u32
  live param n: u32
  buffer a: read vec4<f32>
  buffer c: write vec4<f32>
  shared tile: f32[256]
  let m0 = workgroup_y * 16
  if m0 >= n {
    return
  }
  var s0: vec4<f32> = vec4<f32>(0.0)
  for k in 0..K step 4 {
    let x = a[k % 2 * 8 + lane]
    s0 = fma(vec4(broadcast(x, 0).x), x, s0)
  }
  tile[lane] = s0.x + s0[lane % 4]
  barrier
  if m0 < 10 && !(lane == 3) || m0 & 1 == 1 {
    c[lane] = s0 * vec4(tile[7 - lane])
  } else if lane == 4 {
    c[0] = -s0
  } else {
    c[lane] = vec4(1.0, -2.0, -(3.0), 4e-7)
  }
}
`;

const wrapped = (body: string): string => `kernel @k workgroup(8, 1, 1) subgroup(8) {
  param n: u32
  buffer a: read f32
  buffer x: write vec4<f32>
  ${body}
}`;

describe("kernel text", () => {
  test("is canonical", () => {
    const { kernel, diagnostics } = parseKernel(canonical, "k.kernel");
    expect(diagnostics).toEqual([]);
    expect(kernel!.notes).toEqual(["subgroup schedule 16x8, K step 4", "", "two\nlines"]);
    expect(printKernel(kernel!)).toBe(canonical);
  });

  test("parentheses are few and keep the tree", () => {
    for (const text of [
      "a[0] - (a[1] - a[2]) - a[3]",
      "(a[0] + a[1]) * a[2] / (a[3] * a[4])",
      "-(a[0] + a[1]) * -a[2]",
      "min(a[0] + 1.0, a[1]) % 2.0",
      "select(n < 3 && (n > 1 || n == 0) && !(n != 2), a[0], -(1.0))",
      "f32((n & 3 | n ^ 1) << 2 + n) + f32(n & 3 == 1)",
      "vec4(a[0], a[1], -0.0, 1e+21)[n * 2]",
      "f32(bitcast<u32>(a[n]) >> 1) + f32((n < 3) == (n > 4))",
    ]) {
      const { kernel, diagnostics } = parseKernel(wrapped(`let e = ${text}`));
      expect(diagnostics.map((d) => d.message)).toEqual([]);
      const statement = kernel!.body[0]!;
      const printed = statement.kind === "let" ? printExpr(statement.value) : "";
      expect(printed).toBe(text);
    }
  });

  test("literals keep type and value", () => {
    const values = [
      0,
      -0,
      1,
      0.1,
      Math.fround(0.1),
      1e-7,
      1e21,
      5e-324,
      3.4e38,
      1 / 3,
      -2.5,
      Infinity,
      -Infinity,
      NaN,
    ];
    const e: Expr[] = values.map((v) => f32(v));
    for (const width of [1, 4] as const) {
      e.push(constant(-7, kernelType("i32", width)), constant(4294967295, kernelType("u32", width)));
      e.push(constant(0.5, kernelType("f16", width)), constant(-Infinity, kernelType("f16", width)));
      e.push(constant(true, kernelType("bool", width)), constant(NaN, kernelType("f32", width)));
      e.push(constant(-0.25, kernelType("f32", width)));
    }
    const kernel: Kernel = {
      ...{ name: "odd name", params: [], buffers: [], shared: [], workgroupSize: [1, 1, 1], subgroupSize: 0 },
      body: e.map((value, i) => ({ kind: "let", name: `v\`"\\${i}`, value })),
      ...{ notes: ["// x", "  y ", "\t", ""], locations: [] },
    };
    expect(parseKernel(printKernel(kernel))).toStrictEqual({ kernel, diagnostics: [] });
  });
});

describe("wrong kernel text", () => {
  // The mark ^ is not part of the text: it is where the message points.
  const cases: readonly (readonly [code: string, message: string, body: string])[] = [
    ["kernel-syntax", "expected =", "let y ^4"],
    ["kernel-syntax", "expected a name", "let ^for = 4"],
    ["kernel-syntax", "expected an expression", "let y = 4 + ^* 3"],
    ["kernel-syntax", "comparisons cannot be chained", "let y = n < 3 ^< 4"],
    ["kernel-syntax", "components are x, y, z and w", "let y = vec4(1.0).^q"],
    ["kernel-syntax", "an i32 literal has no fraction", "let y = ^1.5i"],
    ["kernel-syntax", "half is not a type", "var y: half ^= 1.0"],
    ["kernel-syntax", "expected a statement", "^@"],
    ["kernel-unknown-name", "m is not defined", "let y = ^m + 1"],
    ["kernel-unknown-name", "there is no function erf", "let y = erf^(a[0])"],
    ["kernel-redefined", "n is already defined", "^let n = 4"],
    ["kernel-type", "add of u32 and i32", "let y = ^n + 1i"],
    ["kernel-type", "-1 is not a u32", "let y = ^-1"],
    ["kernel-type", "4294967296 is not a u32", "let y = ^4294967296"],
    ["kernel-type", "mod by zero", "let y = ^n % 0"],
    ["kernel-type", "shift by 32", "let y = ^n << 32"],
    ["kernel-type", "component 2 of vec2<f32>", "let y = ^vec2(1.0).z"],
    ["kernel-type", "3 parts for a vec4<f32>", "let y = ^vec4(1.0, 2.0, 3.0)"],
    ["kernel-type", "vec4 takes 1 or 4 parts", "let y = ^vec4()"],
    ["kernel-type", "select takes 3 arguments, not 2", "let y = select^(true, n)"],
    ["kernel-type", "expected vec4<f32>, this is f32", "^x[0] = a[0]"],
    ["kernel-type", "expected bool, this is u32", "^if n { return }"],
    ["kernel-type", "n cannot be assigned", "^n = 4"],
    ["kernel-type", "n is not a buffer or workgroup array", "^n[0] = 4"],
    ["kernel-type", "lane of broadcast is not a constant", "let y = ^broadcast(a[0], n)"],
    ["kernel-type", "index of a is f32", "let y = ^a[1.0]"],
    [
      "kernel-too-deep",
      "blocks and brackets nest at most 200 deep",
      `let y = ${"(".repeat(201)}^1${")".repeat(201)}`,
    ],
  ];

  test.each(cases)("%s: %s", (code, message, marked) => {
    const text = wrapped(marked);
    const at = text.indexOf("^");
    const { kernel, diagnostics } = parseKernel(text.replace("^", ""), "wrong.kernel");
    expect(kernel).toBeUndefined();
    expect(diagnostics[0]).toMatchObject({ code, message });
    const { file, start } = diagnostics[0]!.span!;
    expect(position(file, start)).toEqual(position(file, at));
  });

  test("several mistakes are reported in one run, each once", () => {
    const { diagnostics } = parseKernel(
      wrapped("let y = m\n  let z = y + 1\n  let = 3\n  x[0] = 4\n  if z == p { y = 1 }"),
    );
    expect(diagnostics.map((d) => d.message)).toEqual([
      "m is not defined",
      "expected a name",
      "expected vec4<f32>, this is u32",
      "p is not defined",
    ]);
  });

  test("stops at fifty messages", () => {
    expect(parseKernel(wrapped("let = 1\n".repeat(1000))).diagnostics).toHaveLength(50);
  });
});

describe("hostile kernel text", () => {
  const first = (text: string): string | undefined => parseKernel(text).diagnostics[0]?.code;

  test("is limited in size and depth", () => {
    expect(first(" ".repeat(maxKernelText + 1))).toBe("kernel-too-large");
    expect(first(wrapped(`let y = ${"1 + ".repeat(300_000)}1`))).toBe("kernel-too-deep");
    expect(first(wrapped(`let y = n${".x".repeat(100_000)}`))).toBe("kernel-type");
    expect(first(wrapped(`let y = ${"-".repeat(100_000)}n`))).toBe("kernel-too-deep");
    expect(first(wrapped(`let y = ${"min(".repeat(100_000)}`))).toBe("kernel-too-deep");
    expect(first(wrapped("if true { ".repeat(100_000)))).toBe("kernel-too-deep");
    expect(first(wrapped(`if true { } ${"else if true { }".repeat(100_000)}`))).toBe("kernel-too-deep");
  });

  test("long tokens", () => {
    const long = "x".repeat(1_000_000);
    expect(parseKernel(wrapped(`let ${long} = 1`)).diagnostics).toEqual([]);
    expect(first(`kernel @k workgroup(1, 1, 1) { note "${long}" }`)).toBeUndefined();
    expect(first(`kernel @k workgroup(1, 1, 1) { note "${long}`)).toBe("kernel-syntax");
    expect(first(wrapped(`let y = 1${"0".repeat(1_000_000)}.0`))).toBe("kernel-syntax");
    expect(first(`kernel @k workgroup(${"9".repeat(1_000_000)}, 1, 1) { }`)).toBe("kernel-syntax");
  });

  test("mutations of good kernels never throw, and what is accepted round-trips", () => {
    const random = randomFrom(20261124);
    const below = (n: number): number => Math.floor(random() * n);
    const texts = [canonical, ...battery.map((c) => kernelText(c, 8))];
    const pieces = texts.join(" ").split(/\b/);
    let accepted = 0;
    for (let i = 0; i < 3000; i++) {
      let text = texts[below(texts.length)]!;
      for (let j = below(3); j >= 0; j--) {
        const at = below(text.length);
        const insert = below(2) ? pieces[below(pieces.length)]! : "";
        text = text.slice(0, at) + insert + text.slice(at + below(6));
      }
      const { kernel, diagnostics } = parseKernel(text);
      expect(kernel === undefined).toBe(diagnostics.length > 0);
      if (!kernel) continue;
      accepted++;
      expect(parseKernel(printKernel(kernel)), text).toStrictEqual({ kernel, diagnostics: [] });
    }
    expect(accepted).toBeGreaterThan(20);
  });
});
