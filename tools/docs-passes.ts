// docs/passes.md from the pass records and one golden of each: what happens to a model, in order.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { RuleDoc } from "../src/ir/rewrite-types.ts";
import { namedChanges, type Level, type Pass } from "../src/passes/pass.ts";
import { pipeline } from "../src/passes/pipeline.ts";
import { properties } from "../src/passes/properties.ts";

const levels: Readonly<Record<Level, string>> = {
  0: "always",
  1: "by default",
  2: "where compile time does not matter",
  3: "only where asked for",
};

const goldens = "test/passes";
const again = "-again";

/** The whole page. */
export function passesMarkdown(): string {
  return [
    "# Passes",
    "",
    "Generated from `src/passes` and the goldens in `test/passes`; `npm run update` writes it anew.",
    "",
    "A pass can be left out with `--without NAME`, and `--stop-after NAME` makes it the last. What a pass did, and what it refused to do",
    "and why, is printed by `tokenloom ir FILE --after NAME` and `--after-all --diff`.",
    "",
    "**Numerics.** `exact`: bit-equal in the f64 reference. `reassociates`: equal in real arithmetic on the domain stated, and within 1e-10",
    "relative in f64 there. `approximates`: changes the function, only where asked for. Tests hold every pass to its contract.",
    "",
    "## The pipeline",
    "",
    "| # | pass | what it does | numerics | runs |",
    "| --- | --- | --- | --- | --- |",
    ...pipeline.map((p, i) => row(p, i)),
    "",
    "## Properties",
    "",
    "What passes need and give. Once given, a property is checked after every later pass.",
    "",
    "| property | meaning | given by | needed by |",
    "| --- | --- | --- | --- |",
    ...properties.map(
      (p) => `| ${p.name} | ${p.doc} | ${users("gives", p.name)} | ${users("needs", p.name)} |`,
    ),
    "",
    ...pipeline.filter((p) => !p.name.endsWith(again)).flatMap(section),
  ].join("\n");
}

function row(p: Pass, i: number): string {
  const first = p.name.endsWith(again) ? p.name.slice(0, -again.length) : p.name;
  return `| ${i + 1} | [${p.name}](#${first}) | ${cell(p.doc)} | ${p.numerics} | ${levels[p.level]} |`;
}

function users(kind: "needs" | "gives", name: string): string {
  return pipeline
    .filter((p) => (p[kind] as readonly string[]).includes(name))
    .map((p) => p.name)
    .join(", ");
}

function section(p: Pass): string[] {
  const domain = p.domain === undefined ? "" : ` on ${p.domain}`;
  return [
    `## ${p.name}`,
    "",
    p.doc,
    "",
    `- numerics: ${p.numerics}${p.roundsOnly ? ", by rounding alone" : ""}${domain}`,
    `- runs: ${levels[p.level]}`,
    ...(p.needs.length > 0 ? [`- needs: ${p.needs.join(", ")}`] : []),
    ...(p.gives.length > 0 ? [`- gives: ${p.gives.join(", ")}`] : []),
    "",
    ...namedChanges(p).flatMap(change),
    ...example(p),
    ...refusals(p),
  ];
}

function change(r: RuleDoc): string[] {
  return [`**${r.name}**: ${r.doc}`, "", "```text", r.equation, "```", ""];
}

interface Golden {
  readonly name: string;
  readonly about: string;
  readonly before: string;
  readonly after: string;
  readonly refused: readonly string[];
}

function goldensOf(p: Pass): readonly Golden[] {
  const folder = join(goldens, p.name);
  return readdirSync(folder)
    .filter((f) => f.endsWith(".ir"))
    .sort()
    .map((file) => {
      const text = readFileSync(join(folder, file), "utf8");
      const [first = "", after = ""] = text.split("// ----\n");
      const [, about = "", ...before] = first.trimEnd().split("\n");
      const lines = after.trimEnd().split("\n");
      return {
        name: file.slice(0, -3),
        about: about.replace(/^\/\/ /, ""),
        before: before.join("\n"),
        after: lines.filter((l) => !l.startsWith("//")).join("\n"),
        refused: lines
          .filter((l) => l.startsWith("// refused: "))
          .map((l) => l.replace(/^\/\/ refused: [\w-]+: /, "")),
      };
    });
}

/** The shortest golden where the pass does something. */
function example(p: Pass): string[] {
  const working = goldensOf(p).filter((g) => !g.name.startsWith("not-") && g.after !== "");
  const [best] = working.sort((a, b) => a.before.length + a.after.length - b.before.length - b.after.length);
  if (!best) return [];
  return [best.about, "", "```text", best.before, "```", "", "becomes", "", "```text", best.after, "```", ""];
}

/** What it leaves alone, from the goldens that say why. */
function refusals(p: Pass): string[] {
  const left = goldensOf(p).filter((g) => g.name.startsWith("not-"));
  return [
    "It leaves alone:",
    "",
    ...left.map(
      (g) => `- ${g.about}${g.refused.length > 0 ? ` (${[...new Set(g.refused)].join("; ")})` : ""}`,
    ),
    "",
  ];
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}
