// Permanent links: whatever is looked at goes into the address and comes back from it.

import { describe, expect, it } from "vitest";
import { hashOf, nothing, viewOf, type Selection, type Tab, type View } from "../../src/page/state.ts";
import { explainedFile, poolformer } from "../explain/support.ts";

const { doc } = explainedFile(poolformer, { config: "tiny" }, { dims: { B: 2, H: 64, W: 64 } });

const mixer = doc.passes.findIndex((p) => p.name === "pool-mixer") + 1;

describe("links", () => {
  it.each<readonly [string, number, Tab, Selection]>([
    ["", 0, "graph", nothing],
    ["pass=pool-mixer", mixer, "graph", nothing],
    ["pass=pool-mixer&tab=changes&node=%253", mixer, "changes", { kind: "node", id: "%3" }],
    ["line=14", 0, "graph", { kind: "line", source: 0, line: 14 }],
    ["tab=kernels&kernel=2", 0, "kernels", { kind: "kernel", index: 2 }],
    ["tab=run&dispatch=3", 0, "run", { kind: "dispatch", index: 3 }],
    ["weight=stem.conv.weight", 0, "graph", { kind: "weight", key: "stem.conv.weight" }],
    ["scope=stages.0.blocks.0", 0, "graph", { kind: "scope", path: "stages.0.blocks.0" }],
    ["rule=mixer-of-norm", 0, "graph", { kind: "rule", name: "mixer-of-norm" }],
  ])("%s", (hash, step, tab, selection) => {
    const view: View = { entry: 0, step, tab, selection };
    expect(hashOf(doc, view)).toBe(hash);
    expect(viewOf(doc, `#${hash}`)).toEqual(view);
  });

  it("names lines of imported files by their file", () => {
    const source = doc.sources.findIndex((s) => s.name === "std/layers.model");
    const view: View = { entry: 0, step: 0, tab: "graph", selection: { kind: "line", source, line: 6 } };
    expect(hashOf(doc, view)).toBe("line=std/layers.model:6");
    expect(viewOf(doc, "#line=std/layers.model:6")).toEqual(view);
  });

  it.each(["#pass=nope", "#tab=nope", "#kernel=999999", "#dispatch=-1", "#line=x", "#line=nope.model:3", "#weight=nope", "#%%%", "#scope=nope"])(
    "takes %s for the beginning",
    (hash) => expect(viewOf(doc, hash)).toEqual({ entry: 0, step: 0, tab: "graph", selection: nothing }),
  ); // prettier-ignore
});
