// The tree of a step and its places: what is seen, what is joined to what, and that boxes hold what is in them.

import { describe, expect, it } from "vitest";
import { Layouts } from "../../src/page/layout.ts";
import { Model } from "../../src/page/model.ts";
import { layoutOf, sceneOf, type Scene } from "../../src/page/scene.ts";
import { isBox, treeOf, type Box, type Tree, type TreeInput } from "../../src/page/tree.ts";
import { explainedFile, explainedText, firstToken, poolformer } from "../explain/support.ts";
import { syntheticDocument } from "./support.ts";

const { doc } = explainedFile(poolformer, { config: "tiny" }, { dims: { B: 2, H: 64, W: 64 } });
const model = new Model(doc, doc.entries[0]!);

function tree(step: number, open: (b: Box) => boolean, more: Partial<TreeInput> = {}): Tree {
  const { nodes, outputs } = model.state(step);
  return treeOf({ entry: model.entry, nodes, outputs, gone: [], prepared: false, isOpen: open, ...more });
}

function sceneFor(t: Tree): Scene {
  return sceneOf(t.root, new Layouts().place(layoutOf(t.root)));
}

const all = (): boolean => true;
const none = (): boolean => false;

describe("the tree", () => {
  it("has blocks as the model wrote them, closed until they are opened", () => {
    const t = tree(0, none);
    const labels = t.root.children.map((c) => c.label);
    expect(labels.slice(0, 3)).toEqual(["image", "conv2d", "stages.0"]);
    expect(labels.at(-1)).toBe("logits");
    expect(t.anchor("%1")?.id).toBe("scope:stages.0");
    expect(t.items.has("%1")).toBe(false);
  });

  it("opens one block and joins through its walls", () => {
    const t = tree(0, (b) => b.id === "scope:stages.0");
    const stage = t.items.get("scope:stages.0") as Box;
    expect(stage.open).toBe(true);
    expect(stage.children.map((c) => c.id)).toEqual(["scope:stages.0.blocks.0"]);
    expect([...stage.ins.keys()]).toEqual(["%0"]);
    expect(stage.outs.size).toBe(1);
  });

  it("shows every operation of the graph where all is open, and every reading of a value once", () => {
    const t = tree(0, all);
    const run = model.state(0).nodes.filter((n) => !n.prepared);
    for (const n of run) expect(t.items.has(n.id)).toBe(true);
    const made = new Set(run.flatMap((n) => n.results.map((r) => r.id)).concat("%image"));
    const readings = run.reduce((k, n) => k + new Set(n.inputs.filter((v) => made.has(v))).size, 0);
    const boxes = [t.root, ...[...t.items.values()].filter(isBox)];
    const ends = boxes.flatMap((b) => [
      ...[...b.edges.values()].flatMap((e) => [...e.values.keys()].filter(() => !isBox(e.to))),
      ...[...b.ins.values()].flatMap((readers) => [...readers].filter((r) => !isBox(r))),
    ]);
    expect(ends.length).toBe(readings + model.state(0).outputs.length);
  });

  it("has one line of a value that very many read, and says the rest in words", () => {
    const file = "examples/mistral_embed.model";
    const deep = explainedFile(file, { config: "tiny", set: { depth: "9" } }, { dims: { B: 1, T: 8 } });
    const m = new Model(deep.doc, deep.doc.entries[0]!);
    const { nodes, outputs } = m.state(0);
    const t = treeOf({ entry: m.entry, nodes, outputs, gone: [], prepared: false, isOpen: none });
    const lines = [...t.root.edges.values()].filter((e) => e.values.has("%mask"));
    expect(lines.map((e) => e.to.label)).toEqual(["layers.0"]);
    const named = t.root.children.filter((c) => c.far?.some((f) => f.name === "mask"));
    const layers = Array.from({ length: 8 }, (_, i) => `layers.${i + 1}`);
    expect(named.map((c) => c.label)).toEqual(expect.arrayContaining(layers));
    const scene = sceneFor(t);
    expect(scene.w).toBeLessThan(scene.h);
  });

  it("shows weights and what is made of them only where asked for", () => {
    expect([...tree(0, all).items.values()].some((x) => x.kind === "weight")).toBe(false);
    const weights = [...tree(0, all, { prepared: true }).items.values()].filter((x) => x.kind === "weight");
    expect(weights.length).toBe(model.entry.weights.length);
  });

  it("draws fused groups as boxes, and joins what is in them to what they read", () => {
    const closed = tree(model.last, (b) => b.kind !== "group");
    const groups = [...closed.items.values()].filter((x) => x.kind === "group");
    // A sum in parts is one group and two dispatches.
    const second = model.entry.dispatches.filter((d) => d.schedule.includes("parts of a sum"));
    expect(groups.length).toBe(model.entry.dispatches.length - second.length);
    const open = tree(model.last, all);
    const body = groups[0]!.node!.body!.nodes;
    for (const n of body) expect(open.items.get(n.id)?.parent?.id).toBe(groups[0]!.id);
    expect(open.anchor(body[0]!.id)?.id).toBe(body[0]!.id);
    expect(closed.anchor(body[0]!.id)?.id).toBe(groups[0]!.id);
  });

  it("cuts long rows into runs that can be opened, ten thousand nodes too", () => {
    const long = syntheticDocument(10_000);
    const m = new Model(long, long.entries[0]!);
    const input = { entry: m.entry, nodes: m.state(0).nodes, outputs: m.state(0).outputs, gone: [], prepared: false }; // prettier-ignore
    const t = treeOf({ ...input, isOpen: none });
    expect(t.root.children.length).toBeLessThanOrEqual(120);
    expect(t.root.children.every((c) => c.kind === "run")).toBe(true);
    const open = treeOf({ ...input, isOpen: all });
    expect([...open.items.values()].filter((x) => x.kind === "node").length).toBe(10_000);
  });
});

describe("the scene", () => {
  it.each([
    ["as written, all open", 0, all],
    ["grouped, all open", model.last, all],
    ["grouped, all closed", model.last, none],
  ])("%s: boxes hold what is in them, and nothing lies on anything else", (_, step, open) => {
    const scene = sceneFor(tree(step, open));
    const inside = (box: Box | undefined) => scene.placed.filter((p) => p.item.parent === box);
    for (const p of scene.placed) {
      const box = scene.byId.get(p.item.parent?.id ?? "") ?? { x: 0, y: 0, w: scene.w, h: scene.h };
      expect(p.x).toBeGreaterThanOrEqual(box.x - 0.01);
      expect(p.y).toBeGreaterThanOrEqual(box.y - 0.01);
      expect(p.x + p.w).toBeLessThanOrEqual(box.x + box.w + 0.01);
      expect(p.y + p.h).toBeLessThanOrEqual(box.y + box.h + 0.01);
      for (const q of inside(p.item.parent)) {
        if (q === p) continue;
        const apart = p.x + p.w <= q.x + 0.01 || q.x + q.w <= p.x + 0.01 || p.y + p.h <= q.y + 0.01 || q.y + q.h <= p.y + 0.01; // prettier-ignore
        expect(apart, `${p.item.id} and ${q.item.id}`).toBe(true);
      }
    }
  });

  it("leads every line from its maker to its reader, through the ports of the walls", () => {
    const scene = sceneFor(tree(model.last, all));
    const on = (p: number, from: number, size: number): boolean => p >= from - 0.5 && p <= from + size + 0.5;
    for (const l of scene.lines) {
      const [x0, y0] = [l.points[0]!, l.points[1]!];
      const [x1, y1] = [l.points.at(-2)!, l.points.at(-1)!];
      const from = l.from && scene.byId.get(l.from.id);
      const to = l.to && scene.byId.get(l.to.id);
      if (from) expect(on(x0, from.x, from.w) && on(y0, from.y, from.h), l.value).toBe(true);
      if (to) expect(on(x1, to.x, to.w) && on(y1, to.y, to.h), l.value).toBe(true);
    }
    expect(scene.lines.length).toBeGreaterThan(20);
  });

  it("lays out equal blocks alike", () => {
    const t = tree(0, all);
    const place = (id: string) => sceneFor(t).byId.get(id)!;
    const [a, b] = [place("scope:stages.2.blocks.0"), place("scope:stages.2.blocks.1")];
    expect([a.w, a.h]).toEqual([b.w, b.h]);
  });
});

describe("the model of the page", () => {
  it("knows what a line lights up: nodes, kernels, dispatches, weights", () => {
    const line = doc.sources[0]!.text.split("\n").findIndex((l) => l.includes("@stem.conv")) + 1;
    const lit = model.litByLine({ source: 0, line }, 0);
    expect([...lit.nodes]).toEqual(["%0"]);
    expect([...lit.weights]).toEqual(["stem.conv.weight", "stem.conv.bias"]);
    expect([...lit.dispatches]).toEqual([0]);
    expect([...model.litByDispatches([0], 0).lines]).toContain(`0:${line}`);
  });

  it("knows which dispatch computes what became of a node, at every step", () => {
    const conv = model.nodes(0).get("%0")!;
    expect(model.dispatchesOf(0, conv.id)).toEqual([0]);
    for (let step = 0; step < model.last; step++)
      for (const n of model.state(step).nodes)
        if (!n.prepared)
          expect(model.dispatchesOf(step, n.id).length, `${n.text} at ${step}`).toBeGreaterThan(0);
  });

  it("shades what is computed for nothing", () => {
    const first = explainedText("first.model", firstToken, {}, { dims: { B: 2, T: 32 } }).doc;
    const m = new Model(first, first.entries[0]!);
    const share = (op: string): number =>
      m.liveShare(
        0,
        m.state(0).nodes.find((n) => n.op === op)!,
      );
    expect(share("linear")).toBeCloseTo(1 / 32);
    expect(share("gelu")).toBeCloseTo(1 / 32);
    expect(share("reshape")).toBe(1);
  });

  it("says shapes as people do", () => {
    expect(model.shapes.short("f32[B, C=64, H=floor((H + 1)/4), W=floor((W + 1)/4)]{0, 2, 3, 1}")).toBe(
      "2×64×16×16",
    );
    expect(model.shapes.short("i32[T, n]")).toBe("i32 T×n");
    expect(model.shapes.short("f32[]")).toBe("scalar");
  });
});
