// Graphs for other viewers, at every stage: DOT as Graphviz reads it, Model Explorer's JSON against its schema, and both complete.

import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { Ajv } from "ajv";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lookupOp, toDot, toModelExplorer, type Graph } from "../../src/index.ts";
import { parseGraphs } from "../../src/ir/parse.ts";
import { flatten } from "../../src/viewers/flat.ts";
import { Installed } from "../cli/support.ts";
import { compileExample, compileText } from "../models/support.ts";

const hasGraphviz = spawnSync("dot", ["-V"]).status === 0;

interface DotJson {
  readonly objects: readonly {
    readonly name: string;
    readonly nodes?: readonly number[];
    readonly label?: string;
  }[];
  readonly edges?: readonly { readonly tail: number; readonly head: number }[];
}

/** What Graphviz makes of a text; `-Tdot_json` reads and checks without a layout. */
function read(dot: string): DotJson {
  return JSON.parse(execFileSync("dot", ["-Tdot_json"], { input: dot, encoding: "utf8" })) as DotJson;
}

const validate = new Ajv().compile(
  JSON.parse(readFileSync("test/viewers/model-explorer.schema.json", "utf8")) as object,
);

const stateful = `model counting (x: f32[B, 4]) -> (y: f32[B, 4], m: f32[4]) {
  state seen: f32[4] = 0
  weight table: f32[4] @t.able
  seen = seen + mean(x, axes = [B])
  if true { output tap[0] = x * table }
  return y = x - seen, m = seen
}
`;

const quoted = `source 0 "a \\"b\\\\.model"
graph @"od\\"d {\\n}"(%x: f32[B, 8] as "in\\"put \\\\ }") -> (y: f32[B, 8]) {
  dims B
  scope "a/b" = "for \\"x\\""
  %0 = relu %x : f32[B, 8] in "a/b" loc(0:1:1-2)
  return y = %0
}
`;

const stages: readonly (readonly [string, () => readonly Graph[]])[] = [
  [
    "every stage of a convolutional network",
    () => stagesOf(compileExample("poolformer", { config: "tiny" })),
  ],
  ["a model with states and taps", () => stagesOf(compileText(stateful))],
  ["names with quotes, braces and slashes", () => parseGraphs(quoted, "x.ir", lookupOp).module!.graphs],
];

function stagesOf(compiled: ReturnType<typeof compileText>): readonly Graph[] {
  const changed = compiled.steps[0]!.filter((s) => s.changed).map((s) => s.after);
  return [compiled.module.graphs[0]!, ...changed];
}

describe.each(stages)("%s", (_, graphsOf) => {
  const graphs = graphsOf();

  it("loses no node, edge, input or output", () => {
    for (const g of graphs) {
      const flat = flatten(g);
      const ids = flat.map((n) => n.id);
      expect(new Set(ids).size).toBe(ids.length);
      const ops = (nodes: Graph["nodes"]): string[] =>
        nodes.flatMap((n) => (n.body ? ops(n.body.nodes) : [n.op.name]));
      expect(flat.filter((n) => n.kind === "node").map((n) => n.label)).toEqual(ops(g.nodes));
      expect(flat.filter((n) => n.kind === "output").length).toBe(g.outputs.length + g.states.length);
      for (const n of flat) {
        for (const e of n.edges) expect(ids).toContain(e.from);
        if (n.kind === "output") expect(n.edges.length).toBe(1);
      }
      const wanted = g.nodes
        .flatMap((n) => (n.body ? n.body.nodes : [n]))
        .flatMap((n) => n.inputs.filter((x) => x !== ""));
      const nodeEdges = flat.filter((n) => n.kind === "node").flatMap((n) => n.edges);
      expect(nodeEdges.length).toBe(wanted.length);
    }
  });

  it("is what Model Explorer takes", () => {
    const collection = toModelExplorer(
      "test",
      graphs.map((graph, i) => ({ name: `${graph.name} ${i}`, graph })),
    );
    expect(validate(JSON.parse(JSON.stringify(collection))), JSON.stringify(validate.errors?.[0])).toBe(true);
    for (const g of collection.graphs) {
      const byId = new Map(g.nodes.map((n) => [n.id, n]));
      for (const n of g.nodes) {
        expect(n.namespace === "" || n.namespace.split("/").every((s) => s !== "")).toBe(true);
        if (n.namespace !== "") expect(Object.keys(g.groupNodeAttributes)).toContain(n.namespace);
        for (const e of n.incomingEdges) {
          const ports = byId.get(e.sourceNodeId)!.outputsMetadata.map((p) => p.id);
          expect(ports).toContain(e.sourceNodeOutputId);
          expect(n.inputsMetadata.map((p) => p.id)).toContain(e.targetNodeInputId);
        }
      }
    }
  });

  it.skipIf(!hasGraphviz)("is what Graphviz reads", () => {
    for (const g of graphs) {
      const flat = flatten(g);
      const drawn = read(toDot(g));
      const kept = flat.filter((n) => n.kind !== "weight");
      const labels = drawn.objects.filter((o) => !o.name.startsWith("cluster_")).map((o) => o.label!);
      const titles = kept.map((n) => (n.kind === "node" ? `${n.id} ${n.label}` : `${n.kind} ${n.label}`));
      const titleOf = (label: string): string => label.split("\\l")[0]!.replaceAll("\\\\", "\\");
      expect(labels.map(titleOf).sort()).toEqual(titles.sort());
      const weights = new Set(flat.filter((n) => n.kind === "weight").map((n) => n.id));
      const edges = kept.flatMap((n) => n.edges.filter((e) => !weights.has(e.from)));
      expect((drawn.edges ?? []).length).toBe(edges.length);
      const clusters = drawn.objects.filter((o) => o.name.startsWith("cluster_"));
      const boxes = new Set(
        kept.flatMap((n) =>
          n.boxes.map((_, i) =>
            n.boxes
              .slice(0, i + 1)
              .map((b) => b.name)
              .join("\n"),
          ),
        ),
      );
      expect(clusters.length).toBe(boxes.size);
    }
  });
});

describe("the command", () => {
  const installed = new Installed();
  beforeAll(() => installed.build());
  afterAll(() => installed.remove());
  const tiny = ["export", "examples/digits_poolformer.model", "--config", "tiny", "-o"];

  it("writes what the ending says, at the stage asked for", async () => {
    const at = (name: string): string => installed.path(name);
    const go = async (name: string, ...more: readonly string[]): Promise<string> => {
      const { code, err } = await installed.run([...tiny, at(name), ...more]);
      expect(err).toBe("");
      expect(code).toBe(0);
      return readFileSync(at(name), "utf8");
    };
    expect(await go("a.dot")).toContain("group_norm");
    const mixed = await go("b.dot", "--after", "pool-mixer");
    expect(mixed).toContain("rsqrt");
    expect(await go("c.dot", "--stage", "kernel")).toContain("conv2d_gelu");
    const all = JSON.parse(await go("d.json", "--after-all")) as { label: string; graphs: { id: string }[] };
    expect(all.label).toBe("d");
    expect(all.graphs.map((g) => g.id)).toContain("digits_poolformer after pool-mixer");
    rmSync(at("a.dot"));
    for (const [args, code] of [
      [["e.svg"], "export-format"],
      [["a.dot", "--after", "pool-mixr"], "unknown-pass"],
      [["a.dot", "--weights", "seed:0"], "export-flag"],
      [["a.dot", "--stage", "wgsl"], "unknown-stage"],
      [["a.onnx", "--after", "pool-mixer"], "export-flag"],
    ] as const) {
      const [name, ...more] = args;
      const { code: exit, err } = await installed.run([...tiny, at(name), ...more]);
      expect(err).toContain(`error[${code}]`);
      expect(exit).toBe(1);
    }
  });
});
