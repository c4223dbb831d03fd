// How much work is left after the lossless passes, against the counts that follow from the identities by hand (M10, H1, A1-A3, N1-N3,
// P1-P3). Multiply-adds are polynomials in the sizes, so one equality holds them for all sizes.

import { describe, expect, it } from "vitest";
import { parseDim } from "../../src/ir/dim-parse.ts";
import { evaluateDim } from "../../src/ir/dim.ts";
import type { Graph } from "../../src/ir/graph.ts";
import { baseline } from "../../src/ir/target.ts";
import { graphStats } from "../../src/ir/stats.ts";
import { lookupOp } from "../../src/ops/index.ts";
import { runPasses } from "../../src/passes/run.ts";
import { elaborateFile, graphOf } from "../elaborate/support.ts";

const file = "examples/token_reduction.model";
const optimized = (graph: Graph): Graph => runPasses(graph, { target: baseline, lookup: lookupOp }).graph;
const macs = (graph: Graph): string => graphStats(graph).macs.key;
const written = (text: string): string => parseDim(text)!.key;
/** Multiply-adds before and after. */
function counts(path: string, options: Parameters<typeof elaborateFile>[1]) {
  const graph = graphOf(elaborateFile(path, options));
  return { before: macs(graph), after: macs(optimized(graph)) };
}

describe("multiply-adds after the lossless passes", { timeout: 120_000 }, () => {
  it("PoolFormer-S12: the last down projection runs once for 49 positions", () => {
    const graph = graphOf(
      elaborateFile("examples/poolformer.model", { config: "s12", set: { head: "timm" } }),
    );
    const dims = { B: 1, H: 224, W: 224 };
    const [before, after] = [graph, optimized(graph)].map((g) => evaluateDim(graphStats(g).macs, dims)) as [
      number,
      number,
    ];
    expect((before / 1e9).toFixed(4)).toBe("1.8123");
    expect(before - after).toBe(48 * 4 * 512 * 512);
  });

  it("an encoder of which the last token counts: one query, one row of the MLP, no projection of keys and values", () => {
    const [d, h, layers] = [768, 12, 12];
    const { before, after } = counts(file, { model: "last_token" });
    expect(before).toBe(written(`${12 * d * d * layers}*B*T + ${2 * d * layers}*B*T*T`));
    // The last layer: q and its fold, o and its fold, MLP of one token; scores and sums at the full width for each head.
    const others = `${12 * d * d * (layers - 1)}*B*T + ${2 * d * (layers - 1)}*B*T*T`;
    expect(after).toBe(written(`${others} + ${2 * h * d}*B*T + ${12 * d * d}*B`));
  });

  it("a MAP head: 2 N C^2 becomes 2 N h C + 2 C^2", () => {
    const [c, h] = [1152, 16];
    const { before, after } = counts(file, { model: "map_head" });
    // The query of the latent is a constant. One projection and the MLP are of one token.
    expect(before).toBe(written(`${2 * c * c + 2 * c}*B*T + ${9 * c * c}*B`));
    expect(after).toBe(written(`${2 * h * c}*B*T + ${10 * c * c}*B`));
    const of = (text: string) => evaluateDim(parseDim(text)!, { B: 1, T: 729 });
    expect((of(`${2 * c * c}*T`) / 1e9).toFixed(2)).toBe("1.93");
    expect((of(`${2 * h * c}*T + ${2 * c * c}`) / 1e9).toFixed(2)).toBe("0.03");
  });

  it("NV-Embed: 302 M multiply-adds a token become 33.5 M, and the last layer runs once", () => {
    const [d, r, h, inner] = [4096, 512, 8, 4096];
    const { before, after } = counts(file, { model: "nv_embed" });
    const attention = 2 * d * h * inner + 2 * h * r * inner;
    expect((attention / 1e6).toFixed(0)).toBe("302");
    expect(before).toBe(written(`${attention + 12 * d * d}*B*T`));
    const folded = 2 * d * h * r;
    expect((folded / 1e6).toFixed(1)).toBe("33.6");
    expect(after).toBe(written(`${folded + 8 * d * d}*B*T + ${4 * d * d}*B`));
  });

  it("PoNet: two of five products over all tokens go", () => {
    const [d, h, tokens] = [768, 12, 512];
    const { before, after } = counts(file, { model: "ponet" });
    expect(before).toBe(written(`${tokens * (5 * d * d + 2 * d)}*B`));
    // Three projections, the global aggregation at full width for each head, and q, its fold and that of the values once.
    expect(after).toBe(written(`${tokens * (3 * d * d + 2 * h * d) + 3 * d * d}*B`));
  });
});
