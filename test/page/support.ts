// Documents for the page's tests: one that no model file makes, as large as is wanted.

import type { EntryDoc, ExplainDocument, NodeDoc } from "../../src/explain/document.ts";

/** A chain with long jumps, without scopes; one pass that changes every tenth node and removes every hundredth. */
export function syntheticDocument(size: number): ExplainDocument {
  const type = "f32[B, 8]";
  const node = (i: number, op: string, inputs: readonly string[]): NodeDoc => ({
    id: `%${i}`,
    op,
    text: `%${i} = ${op} ${inputs.join(", ")} : ${type}`,
    inputs,
    results: [{ id: `%${i}`, type, bytes: 32, tokens: 1 }],
    scope: "",
    places: [i % 50],
    flops: 8,
  });
  const nodes = Array.from({ length: size }, (_, i) =>
    node(i, "add", [i === 0 ? "%x" : `%${i - 1}`, `%${Math.max(0, i - 7)}`]),
  );
  const cost = { nodes: size, prepared: 0, flops: 8 * size, bytes: 96 * size };
  const removed = nodes.filter((_, i) => i % 100 === 50).map((n) => n.id);
  const gone = new Set(removed);
  const set = nodes.flatMap((n, i) => {
    const reads = n.inputs.some((v) => gone.has(v));
    if (gone.has(n.id) || (i % 10 !== 0 && !reads)) return [];
    const inputs = n.inputs.map((v) => (gone.has(v) ? `%${Number(v.slice(1)) - 1}` : v));
    return [{ node: node(i, "mul", inputs), after: i === 0 ? "" : `%${i - 1}` }];
  });
  const entry: EntryDoc = {
    name: "main",
    dims: { B: 1 },
    assumed: ["B"],
    inputs: [{ id: "%x", type, bytes: 32, tokens: 1, name: "x", places: [0] }],
    weights: [],
    scopes: [],
    nodes,
    outputs: [{ name: "y", value: `%${size - 1}` }],
    cost,
    steps: [
      { pass: 0, removed, set, fired: [], refused: [], cost: { ...cost, nodes: size - removed.length } },
    ],
    dispatches: [],
    memory: { arenaBytes: 0, peakBytes: 0, peakAt: 0, lifetimes: [] },
  };
  const place = (i: number) => ({ source: 0, line: i + 1, column: 1, endLine: i + 1, endColumn: 2 });
  return {
    format: "tokenloom-explain",
    version: 1,
    compiler: "0",
    model: "synthetic",
    settings: {},
    target: { name: "baseline", flopsPerSecond: 1e11, bytesPerSecond: 5e10 },
    sources: [
      { name: "synthetic.model", text: Array.from({ length: 50 }, (_, i) => `line ${i + 1}\n`).join("") },
    ],
    places: Array.from({ length: 50 }, (_, i) => place(i)),
    passes: [{ name: "change", doc: "Changes every tenth node.", numerics: "exact" }],
    rules: [],
    kernels: [],
    constants: [],
    entries: [entry],
  };
}
