// How many dispatches and kernels a model comes to, in a table that is kept (counts.md; `UPDATE=1` writes it anew, read the diff), and
// that every dispatch stays within what any adapter allows.

import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Compiled } from "../../src/index.ts";
import { evaluateDim } from "../../src/ir/dim.ts";
import { parseDim } from "../../src/ir/dim-parse.ts";
import { elementCount } from "../../src/ir/tensor.ts";
import { baseline, builtinTargets, type Target } from "../../src/ir/target.ts";
import { bytesOf } from "../../src/ir/types.ts";
import { dimReader, planMemory } from "../../src/runtime/memory.ts";
import { compileExample } from "../models/support.ts";

const table = "test/counts/counts.md";

const models = [
  ["digits_poolformer", undefined, {}],
  ["poolformer", "s12", { head: "timm" }],
  ["poolformer", "s12", { head: "original" }],
  ["poolformer", "s24", { head: "timm" }],
  ["poolformer", "s36", { head: "timm" }],
  ["poolformer", "m36", { head: "timm" }],
  ["poolformer", "m48", { head: "timm" }],
] as const;

type Model = (typeof models)[number];

const dims = { B: 1, H: 224, W: 224 };

const known = new Map<string, Compiled>();

function compiledFor([name, config, set]: Model, target: Target): Compiled {
  const key = JSON.stringify([name, config, set, target.name]);
  let compiled = known.get(key);
  if (!compiled)
    known.set(
      key,
      (compiled = compileExample(name, { set, target, ...(config !== undefined && { config }) })),
    );
  return compiled;
}

const title = ([name, config, set]: Model): string =>
  [name, config, ...Object.values(set)].filter(Boolean).join(" ");

describe("counts", { timeout: 300_000 }, () => {
  it("are those of the table", () => {
    const rows = models.map((m) => {
      const plans = builtinTargets.map((t) => compiledFor(m, t).plan);
      const entry = plans[0]!.entries[0]!;
      const memory = planMemory(entry, dimReader(entry, dims));
      const mebibytes = (n: number): string => (n / 2 ** 20).toFixed(2);
      const counts = plans.map((p) => `${p.entries[0]!.dispatches.length}, ${p.kernels.length}`);
      return `| ${[title(m), ...counts, mebibytes(memory.peakLive), mebibytes(memory.bytes)].join(" | ")} |`;
    });
    const columns = [
      "model",
      ...builtinTargets.map((t) => `${t.name}: dispatches, kernels`),
      "alive at most, MiB",
      "arena, MiB",
    ];
    const text = [
      "# Dispatches, kernels and memory",
      "",
      "Written by `counts.test.ts` with `UPDATE=1`. Memory is that of one image of 224x224 (of 8x8 for the digits).",
      "",
      `| ${columns.join(" | ")} |`,
      `|${columns.map(() => "---").join("|")}|`,
      ...rows,
      "",
    ].join("\n");
    if (process.env["UPDATE"]) writeFileSync(table, text);
    expect(text).toBe(readFileSync(table, "utf8"));
  });

  it("keeps S12 within 70 dispatches, and deeper models at five for each block more", () => {
    const dispatches = (config: string): number => {
      const model = models.find((m) => m[1] === config)!;
      return compiledFor(model, baseline).plan.entries[0]!.dispatches.length;
    };
    const s12 = dispatches("s12");
    expect(s12).toBeLessThanOrEqual(70);
    expect(dispatches("s24") - s12).toBe(12 * 5);
    expect(dispatches("s36") - s12).toBe(24 * 5);
  });
});

describe("limits of any adapter", { timeout: 300_000 }, () => {
  const { limits } = baseline;

  it.each(models.map((m) => [title(m), m] as const))("hold for %s", (_, m) => {
    const { plan, kernels } = compiledFor(m, baseline);
    const entry = plan.entries[0]!;
    for (const k of kernels) {
      expect(k.buffers.length, k.name).toBeLessThanOrEqual(limits.maxStorageBuffersPerShaderStage);
      const [x, y, z] = k.workgroupSize;
      expect(x * y * z, k.name).toBeLessThanOrEqual(limits.maxComputeInvocationsPerWorkgroup);
      const shared = k.shared.reduce((n, s) => n + s.length * s.type.width * 4, 0);
      expect(shared, k.name).toBeLessThanOrEqual(limits.maxComputeWorkgroupStorageSize);
      expect(k.subgroupSize, k.name).toBe(0);
    }
    for (const b of [1, 64]) {
      const size = (text: string): number => evaluateDim(parseDim(text)!, { ...dims, B: b });
      for (const d of entry.dispatches)
        for (const count of d.grid.map(size)) {
          expect(count, kernels[d.kernel]!.name).toBeGreaterThan(0);
          expect(count, kernels[d.kernel]!.name).toBeLessThanOrEqual(limits.maxComputeWorkgroupsPerDimension);
        }
      // Buffers of a large batch need not fit everywhere; one image must.
      if (b > 1) continue;
      for (const v of [...entry.values, ...entry.inputs]) {
        const bytes = elementCount(v.shape.map(size)) * bytesOf[v.dtype];
        expect(bytes, v.id).toBeLessThanOrEqual(limits.maxStorageBufferBindingSize);
      }
      for (const c of plan.constants)
        expect(c.bytes, c.id).toBeLessThanOrEqual(limits.maxStorageBufferBindingSize);
    }
  });
});
