// The graphs of docs/ir.md are graphs, and printed as the document shows them.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parseGraphs } from "../../src/ir/parse.ts";
import { printModule } from "../../src/ir/print.ts";
import { verifyGraph } from "../../src/ir/verify.ts";
import { lookupOp } from "../../src/ops/index.ts";

const document = readFileSync(new URL("../../docs/ir.md", import.meta.url), "utf8");
const samples = [...document.matchAll(/```ir\n([\s\S]*?)```/g)].map((m) => m[1]!);
const nameOf = (text: string) => /@(\w+)/.exec(text)![1]!;

test("there are samples", () => expect(samples.map(nameOf)).toEqual(["tiny", "group", "state", "short"]));

test.each(samples.map((text) => [nameOf(text), text]))("%s", (name, text) => {
  const { module, diagnostics } = parseGraphs(text, "docs/ir.md", lookupOp);
  expect(diagnostics).toEqual([]);
  expect(verifyGraph(module!.graphs[0]!)).toEqual([]);
  if (name !== "short") expect(printModule(module!)).toContain(text.replace(/^source.*\n/, ""));
});

test("every code that the reader can give is listed", () => {
  const sources = ["parse", "parse-graph", "parse-reader", "parse-types"].map((f) =>
    readFileSync(new URL(`../../src/ir/${f}.ts`, import.meta.url), "utf8"),
  );
  const codes = new Set(sources.join("\n").match(/(?<=")ir-[a-z-]+(?=")/g));
  for (const code of codes) expect(document).toContain(`\`${code}\``);
});
