// Inferred shapes and axis names, as a reader sees them.

import { expect, test } from "vitest";
import { dim } from "../../src/ir/dim.ts";
import { withDefaults, type Attrs } from "../../src/ir/graph.ts";
import { inferContext, inferTypes } from "../../src/ir/op.ts";
import { axisLetters, showType, tensorType } from "../../src/ir/types.ts";
import { lookupOp } from "../../src/ops/index.ts";

/** `B C=64 H W` as an f32 type. */
function type(text: string) {
  const parts = text.split(" ").filter((p) => p !== "");
  const names = parts.map((p) => (/^[A-Z]/.test(p) ? (axisLetters[p[0]!] ?? null) : null));
  const dims = parts.map((p) => p.split("=").at(-1)!).map((s) => dim(/^\d+$/.test(s) ? Number(s) : s));
  return tensorType("f32", dims, names);
}

function inferred(name: string, inputs: readonly string[], attrs: Attrs = {}): string {
  const op = lookupOp(name)!;
  const result = inferTypes(op, inputs.map(type), withDefaults(op, attrs));
  return "failure" in result ? `fails: ${result.failure.label}` : showType(result.types[0]!);
}

test.each([
  ["add", ["B C=64 H W", "64 1 1"], {}, "f32[B, C=64, H, W]"],
  ["mul", ["1 C=8", "B 1"], {}, "f32[B, C=8]"],
  ["mean", ["B C=64 H W"], { axes: [2, 3] }, "f32[B, C=64]"],
  ["mean", ["B C=64 H W"], { axes: [-2, -1], keepdims: true }, "f32[B, C=64, H=1, W=1]"],
  ["reshape", ["B C=64 H W"], { dims: [dim("B"), 64, -1] }, "f32[B, C=64, T=H*W]"],
  ["reshape", ["B T=49 C"], { dims: [dim("B"), 7, 7, dim("C")] }, "f32[B, H=7, W=7, C]"],
  ["reshape", ["8"], { dims: [8, 1, 1] }, "f32[8, 1, 1]"],
  ["transpose", ["B C=64 H W"], { perm: [0, 2, 3, 1] }, "f32[B, H, W, C=64]"],
  ["linear", ["B T C=64", "10 64"], {}, "f32[B, T, C=10]"],
  ["matmul", ["B T C", "C E=4"], {}, "f32[B, T, E=4]"],
  ["matmul", ["B T C", "B T C"], { transpose_b: true }, "f32[B, T, T]"],
  [
    "conv2d",
    ["B C=3 H W", "64 3 7 7"],
    { stride: [4, 4], pad: [2, 2] },
    "f32[B, C=64, H=floor((H + 1)/4), W=floor((W + 1)/4)]",
  ],
  ["conv2d", ["B 3 224 224", "64 3 7 7"], { stride: 4, pad: 2 }, "f32[B, C=64, H=56, W=56]"],
  ["avg_pool2d", ["B C H W"], { size: 3, stride: 1, pad: 1 }, "f32[B, C, H, W]"],
  ["avg_pool2d", ["B C H=7 W=8"], { size: 2, ceil_mode: true }, "f32[B, C, H=4, W=4]"],
  ["slice", ["B T C"], { axis: 1, start: 1 }, "f32[B, T=T - 1, C]"],
  ["slice", ["B T=8 C"], { axis: 1, start: -3, end: -1 }, "f32[B, T=2, C]"],
  ["concat", ["B T C", "B T=1 C"], { axis: 1 }, "f32[B, T=T + 1, C]"],
  ["pad", ["H W"], { before: [0, 1], after: [0, 1] }, "f32[H, W=W + 2]"],
  ["unsqueeze", ["C=64"], { axes: [0, -1] }, "f32[1, C=64, 1]"],
  ["less", ["B", "1"], {}, "bool[B]"],
] as const)("%s of %j %j is %s", (name, inputs, attrs, expected) => {
  expect(inferred(name, inputs, attrs as Attrs)).toBe(expected);
});

test("the stages of PoolFormer follow floor and ceil for every size", () => {
  // (H + 2*1 - 3)/2 + 1 = ceil(H/2)
  expect(inferred("conv2d", ["B C=64 H W", "128 64 3 3"], { stride: 2, pad: 1 })).toBe(
    "f32[B, C=128, H=floor((H + 1)/2), W=floor((W + 1)/2)]",
  );
});

test("weights are sized by the call", () => {
  const shapes = (name: string, x: string, attrs: Attrs) => {
    const op = lookupOp(name)!;
    const c = inferContext(op, [type(x)], { ...withDefaults(op, attrs), ...attrs });
    return Object.fromEntries(
      op.inputs
        .filter((i) => i.weight && (i.weight.when?.(attrs) ?? true))
        .map((i) => [
          i.name,
          i
            .weight!.shape(c)
            .map((d) => d.key)
            .join(" "),
        ]),
    );
  };
  expect(shapes("conv2d", "B C=3 H W", { out: 64, kernel: 7 })).toEqual({ weight: "64 3 7 7", bias: "64" });
  expect(shapes("linear", "B T C=512", { out: 1000, bias: false })).toEqual({ weight: "1000 512" });
  expect(shapes("group_norm", "B C=64 H W", { groups: 1 })).toEqual({ weight: "64", bias: "64" });
  expect(shapes("group_norm", "B C=64 H W", { groups: 1, bias: false })).toEqual({ weight: "64" });
  expect(shapes("layer_norm", "B C=64 H W", { axis: 1, affine: false })).toEqual({});
  expect(shapes("batch_norm", "B C=8", { affine: false })).toEqual({ running_mean: "8", running_var: "8" });
});
