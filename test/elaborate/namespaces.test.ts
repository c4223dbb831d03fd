// Weights of several checkpoints in one model, and several models of one file in one module.

import { describe, expect, it } from "vitest";
import { preparedValues } from "../../src/ir/graph.ts";
import { parseGraphs } from "../../src/ir/parse.ts";
import { printModule } from "../../src/ir/print.ts";
import { lookupOp } from "../../src/ops/index.ts";
import { format } from "../../src/parser/format.ts";
import { parse } from "../../src/parser/parse.ts";
import { elaborateText, graphOf, showDiagnostic } from "./support.ts";

const net = `block Net(dim: int) (x: f32[B, 8]) -> f32[B, 3] {
  x = x |> linear(out = dim) @fc1
  output hidden = x
  return x |> linear(out = 3) @fc2
}
`;
const model = (body: string): string => `${net}model m (x: f32[B, 8]) -> f32[B, 3] {\n${body}\n}\n`;
const keysOf = (body: string): readonly string[] =>
  graphOf(elaborateText(model(body)))
    .weights.map((w) => w.key.replace(/\.(weight|bias)$/, ""))
    .filter(unique);
const unique = <T>(x: T, i: number, all: readonly T[]): boolean => all.indexOf(x) === i;

describe("from NAME", () => {
  it.each([
    ["return Net(x, dim = 4) from small", ["small:fc1", "small:fc2"]],
    ["return Net(x, dim = 4) @a.b from small", ["small:a.b.fc1", "small:a.b.fc2"]],
    ["return linear(x, out = 3) from small", ["small:weight", "small:bias"]],
    ["y = x\nrepeat 2 @o { y = linear(x, out = 3) @y shared from small }\nreturn y", ["small:y"]],
    [
      "y = x\nrepeat 2 @l from small { y = linear(y, out = 8) }\nreturn linear(y, out = 3) @head",
      ["small:l.0", "small:l.1", "head"],
    ],
    [
      "weight w: f32[3] from small\nweight v: f32[3] @gate.v from small\nreturn Net(x, dim = 2) @n + w + v",
      ["small:w", "small:gate.v", "n.fc1", "n.fc2"],
    ],
  ])("%s", (body, keys) => {
    expect(keysOf(body)).toEqual(keys);
  });

  it("begins at the root of that checkpoint, wherever the call is", () => {
    const nested = `block Pair (x: f32[B, 8]) -> f32[B, 3] {
  return (Net(x, dim = 4) from inner) + (Net(x, dim = 4) @own)
}
${model("return Pair(x) @pair from outer")}`;
    expect(graphOf(elaborateText(nested)).weights.map((w) => w.key)).toEqual(
      ["inner:fc1", "inner:fc2", "outer:pair.own.fc1", "outer:pair.own.fc2"].flatMap((k) => [
        `${k}.weight`,
        `${k}.bias`,
      ]),
    );
  });

  it("gives outputs and states names without it", () => {
    const g = graphOf(elaborateText(model("return Net(x, dim = 4) @enc from small")));
    expect(g.outputs.map((o) => o.name)).toEqual(["output", "small.enc.hidden"]);
  });

  it("is kept by the formatter and by the graph's text", () => {
    const text = model("  return Net(x, dim = 4) @enc   shared from   small");
    const parsed = parse(text, "x.model");
    expect(format(parsed.ast, parsed.file)).toContain("return Net(x, dim = 4) @enc shared from small\n");
    const { module } = elaborateText(text);
    const read = parseGraphs(printModule(module!), "x.ir", lookupOp);
    expect(read.diagnostics).toEqual([]);
    expect(read.module).toEqual(module);
    expect(preparedValues(read.module!.graphs[0]!).has("$small:enc.fc1.weight")).toBe(true);
  });

  it("leaves `from` a name", () => {
    const text = model("from, y = (linear(x, out = 8) @a, x)\nreturn linear(from + y, out = 3) @b");
    expect(elaborateText(text).diagnostics).toEqual([]);
  });
});

describe("several models of a file", () => {
  const two = `${net}
model encode(dim: int = 4) (x: f32[B, 8]) -> f32[B, 3] { return Net(x, dim = dim) @net }
model rerank(dim: int = 4, top: int = 2) (x: f32[B, 8], y: f32[B, 8]) -> f32[B, 3] {
  return (Net(x, dim = dim) @net) + (Net(y, dim = dim) @net shared) * top
}
config big of rerank (dim = 6)
`.replace("  output hidden = x\n", "");

  it("become graphs of one module, in the order asked for", () => {
    const { module } = elaborateText(two, { models: ["rerank", "encode"] });
    expect(module!.graphs.map((g) => g.name)).toEqual(["rerank", "encode"]);
  });

  it("get each what it knows of --set and --config", () => {
    const both = elaborateText(two, { models: ["encode", "rerank"], set: { top: "3" } });
    expect(both.diagnostics.map(showDiagnostic)).toEqual([]);
    const text = elaborateText(two, { models: ["encode", "rerank"], set: { dim: "6" }, config: "big" });
    expect(text.module!.graphs.map((g) => g.weights[0]!.type.shape[0]!.key)).toEqual(["6", "6"]);
  });

  it.each([
    [{ set: { topp: "3" } }, "unknown-parameter", "top"],
    [{ config: "bigg" }, "unknown-config", "big"],
    [{ config: "big" }, "shared-weight-type", undefined],
    [{ models: ["encode", "encode"] }, "duplicate-model", undefined],
    [{ models: ["encode", "rerunk"] }, "unknown-model", "rerank"],
  ])("%j is refused: %s", (options, code, help) => {
    const { diagnostics, module } = elaborateText(two, { models: ["encode", "rerank"], ...options });
    expect(diagnostics.map((d) => d.code)).toEqual(
      code === "shared-weight-type" ? diagnostics.map(() => code) : [code],
    );
    expect(diagnostics.length).toBeGreaterThan(0);
    if (help !== undefined) expect(diagnostics[0]!.help).toContain(help);
    expect(module).toBeUndefined();
  });
});
