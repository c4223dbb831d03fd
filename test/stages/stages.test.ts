// Two small models at every stage, in one readable file each: model text, graph, what each pass changed, groups, kernels, WGSL. Compiled
// for `baseline`. `UPDATE=1` writes all sections after the model anew; read the diff.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { printGraph, printKernel, type Compiled } from "../../src/index.ts";
import { diffGraphs, printDiff } from "../../src/ir/diff.ts";
import { compile } from "../../src/index.ts";
import { resolveStd } from "../models/support.ts";

const folder = "test/stages";

function sections(compiled: Compiled): readonly { readonly title: string; readonly text: string }[] {
  const steps = compiled.steps[0]!;
  const changed = steps.filter((s) => s.changed && s.pass.name !== "form-groups");
  const graph = (g: Parameters<typeof printGraph>[0]): string => printGraph(g, { locations: false });
  return [
    { title: "Graph", text: fence("", graph(compiled.module.graphs[0]!)) },
    ...changed.map((s) => ({
      title: `After ${s.pass.name}`,
      text: `${s.pass.doc}\n\n${fence("diff", printDiff(diffGraphs(s.before, s.after)))}`,
    })),
    { title: "Groups", text: fence("", graph(compiled.optimized.graphs[0]!)) },
    ...compiled.kernels.map((k) => ({ title: `Kernel ${k.name}`, text: fence("", printKernel(k)) })),
    ...compiled.plan.kernels.map((k) => ({ title: `WGSL of ${k.name}`, text: fence("wgsl", k.wgsl) })),
  ];
}

function fence(language: string, text: string): string {
  return `\`\`\`${language}\n${text.trimEnd()}\n\`\`\``;
}

/** Text before the first section that is made, and those sections. */
function read(path: string): {
  readonly head: string;
  readonly model: string;
  readonly made: ReadonlyMap<string, string>;
} {
  const [head, ...rest] = readFileSync(path, "utf8").split(/^(?=## )/m);
  const model = /^```model\n([^]*?)^```/m.exec(head!)?.[1];
  if (model === undefined) throw new Error(`${path} has no model`);
  const made = new Map<string, string>();
  for (const part of rest) {
    const end = part.indexOf("\n");
    made.set(part.slice(3, end), part.slice(end + 1).trim());
  }
  return { head: head!, model, made };
}

const paths = readdirSync(folder)
  .filter((f) => f.endsWith(".md"))
  .map((f) => join(folder, f));

describe.each(paths)("%s", (path) => {
  const { head, model } = read(path);
  const compiled = compile({ name: "tiny.model", text: model }, { resolve: resolveStd });
  const now = sections(compiled);
  if (process.env["UPDATE"])
    writeFileSync(path, `${head.trimEnd()}\n\n${now.map((s) => `## ${s.title}\n\n${s.text}\n`).join("\n")}`);
  const { made } = read(path);

  it("has these stages", () => {
    expect([...made.keys()]).toEqual(now.map((s) => s.title));
  });

  it.each(now)("$title", ({ title, text }) => {
    expect(text).toBe(made.get(title));
  });
});
