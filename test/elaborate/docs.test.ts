// Every ```model block of docs/language.md is a model that elaborates, and what the text says of some is true.

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { elaborateText, showDiagnostic } from "./support.ts";

const text = readFileSync("docs/language.md", "utf8");
const snippets = [...text.matchAll(/^```model\n([\s\S]*?)^```$/gm)].map((m) => ({
  line: text.slice(0, m.index).split("\n").length + 1,
  code: m[1]!,
}));

describe("docs/language.md", () => {
  it("has snippets", () => expect(snippets.length).toBeGreaterThan(12));

  it.each(snippets)("line $line", ({ code }) => {
    const e = elaborateText(code);
    expect(e.diagnostics.map(showDiagnostic)).toEqual([]);
    expect(e.module).toBeDefined();
    for (const { name, configs } of e.models)
      for (const config of configs)
        expect(
          elaborateText(code, { model: name, config: config.name }).diagnostics.map(showDiagnostic),
        ).toEqual([]);
  });

  const graphWith = (part: string) => {
    const found = snippets.find((s) => s.code.includes(part));
    return elaborateText(found!.code).module!.graphs[0]!;
  };

  it("names weights as it says", () => {
    const keys = graphWith("@mlp.fc").weights.map((w) => w.key);
    for (const key of [
      "stages.0.blocks.0.norm.weight",
      "stages.0.blocks.0.mlp.fc.weight",
      "stages.1.blocks.1.norm.bias",
    ])
      expect(keys).toContain(key);
  });

  it("names outputs as it says", () => {
    const names = graphWith("output hidden[i]").outputs.map((o) => o.name);
    expect(names).toEqual(["sum", "difference", "hidden.0", "hidden.1"]);
  });
});
