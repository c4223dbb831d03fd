// Goldens of passes: `// pass: name`, a sentence, a graph, `// ----`, what fired and what was refused, and the graph that comes out
// (`// unchanged` where it is the same one). `UPDATE=1` or `npm run update` writes the second half anew; read the diff.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Graph } from "../../src/ir/graph.ts";
import { parseGraphs } from "../../src/ir/parse.ts";
import { printGraph } from "../../src/ir/print.ts";
import { baseline, type Target } from "../../src/ir/target.ts";
import { lookupOp } from "../../src/ops/index.ts";
import type { Pass } from "../../src/passes/pass.ts";
import { allPasses } from "../../src/passes/pipeline.ts";
import { applyPass } from "../../src/passes/run.ts";

export interface Golden {
  readonly path: string;
  readonly pass: Pass;
  readonly about: string;
  readonly text: string;
  readonly before: Graph;
  readonly after: Graph;
  /** Rules that fired, each once, in the order of first firing. */
  readonly fired: readonly string[];
  readonly expected: string;
  readonly actual: string;
}

const folder = "test/passes";
const divider = "// ----\n";

export function goldenPaths(): readonly string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((d) => d.isDirectory())
    .flatMap((d) =>
      readdirSync(join(folder, d.name))
        .filter((f) => f.endsWith(".ir"))
        .map((f) => join(folder, d.name, f)),
    )
    .sort();
}

export function readGraph(text: string, file: string): Graph {
  const { module, diagnostics } = parseGraphs(text, file, lookupOp);
  if (!module) throw new Error(diagnostics.map((d) => `${file}: ${d.code}: ${d.message}`).join("\n"));
  return module.graphs[0]!;
}

export function readGolden(path: string): Golden {
  const text = readFileSync(path, "utf8");
  const [first = "", expected = ""] = text.split(divider);
  const [passLine = "", about = ""] = first.split("\n");
  const name = passLine.replace("// pass: ", "");
  const pass = allPasses.find((p) => p.name === name);
  if (!pass) throw new Error(`${path}: no pass called ${name}`);
  const before = readGraph(first, path);
  const result = applyPass(pass, before, { target: targetOf(first), lookup: lookupOp });
  const fired = [...new Set(result.events.map((e) => e.rule))];
  const printed = printGraph(result.graph, { locations: false });
  const same = printed === printGraph(before, { locations: false });
  const actual = [
    ...fired.map((rule) => `// fired: ${rule}\n`),
    ...[...new Set(result.refusals.map((r) => `// refused: ${r.rule}: ${r.reason}\n`))],
    same ? "// unchanged\n" : printed,
  ].join("");
  return {
    path,
    pass,
    about: about.replace(/^\/\/ /, ""),
    text,
    before,
    after: result.graph,
    fired,
    expected,
    actual,
  };
}

/** `// limits: maxStorageBufferBindingSize=64`: of the target, in place of every adapter's. */
function targetOf(text: string): Target {
  const [, list = ""] = /^\/\/ limits: (.*)$/m.exec(text) ?? [];
  const limits = Object.fromEntries(
    list
      .split(" ")
      .filter(Boolean)
      .map((x) => [x.split("=")[0]!, Number(x.split("=")[1])]),
  );
  return { ...baseline, limits: { ...baseline.limits, ...limits } };
}

/** Writes the second half of every golden anew; returns the files that changed. */
export function updatePassGoldens(): readonly string[] {
  return goldenPaths().filter((path) => {
    const golden = readGolden(path);
    if (golden.actual === golden.expected) return false;
    writeFileSync(path, golden.text.split(divider)[0]! + divider + golden.actual);
    return true;
  });
}
