// What the pack measures exists: models, peers and networks, at full size.

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { graphOf } from "../../bench/models.ts";
import { packCases } from "../../bench/pack/cases.ts";
import { packPeers, peers } from "../../bench/peers/index.ts";
import { evaluateDim } from "../../src/ir/dim.ts";

const networks = readFileSync("bench/peers/torch/networks.py", "utf8");

describe("cases of the pack", () => {
  it.each(packCases)("$name: its sizes are known, its peers and its network are there", (c) => {
    const graph = graphOf(c.model);
    for (const { type } of graph.inputs)
      for (const d of type.shape) expect(evaluateDim(d, c.model.dims)).toBeGreaterThan(0);
    const known = [...peers, ...packPeers].map((p) => p.name);
    expect(c.peers.filter((p) => !known.includes(p))).toEqual([]);
    expect(networks).toContain(`def ${c.network}(w, inputs, settings):`);
  });

  it("have names of their own", () => {
    expect(new Set(packCases.map((c) => c.name)).size).toBe(packCases.length);
  });
});
