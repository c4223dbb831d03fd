// Writes docs/errors.md: a paragraph for every code of a diagnostic, from the tables of the layers and the constraints of the ops,
// with a message as it is shown where test/errors has a model that causes one.

import { readdirSync, readFileSync } from "node:fs";
import { cliCodes } from "../src/cli/codes.ts";
import { codegenCodes } from "../src/codegen/codes.ts";
import { elaborationCodes } from "../src/elaborate/codes.ts";
import { elaborateFile } from "../src/index.ts";
import { irCodes } from "../src/ir/codes.ts";
import { onnxCodes } from "../src/onnx/codes.ts";
import { allOps } from "../src/ops/index.ts";
import { parserCodes } from "../src/parser/codes.ts";
import { passCodes } from "../src/passes/codes.ts";
import { runtimeCodes } from "../src/runtime/codes.ts";
import { render } from "../src/support/render.ts";

interface Layer {
  readonly title: string;
  /** Used where a code of an earlier layer means something of its own here: `When running: ...`. */
  readonly when: string;
  readonly codes: Readonly<Record<string, string>>;
}

/** In the order in which a user meets them. */
export const layers: readonly Layer[] = [
  { title: "Reading a model file", when: "Reading a model file", codes: parserCodes },
  { title: "What a model says", when: "In a model", codes: elaborationCodes },
  { title: "Weights, inputs, files and devices", when: "Running", codes: runtimeCodes },
  { title: "The command line", when: "On the command line", codes: cliCodes },
  { title: "Choosing passes", when: "Choosing passes", codes: passCodes },
  { title: "Choosing schedules", when: "Choosing schedules", codes: codegenCodes },
  { title: "Graphs, kernels and sizes", when: "Evaluating a graph", codes: irCodes },
  { title: "Exporting to ONNX", when: "Exporting", codes: onnxCodes },
];

const header = `# Errors

<!-- Made from the tables src/*/codes.ts and the constraints of the ops by tools/docs-errors.ts: run \`npm run update\` after a change. -->

Every message carries a code, \`error[shape-mismatch]\`, that stays the same between versions. This page has a paragraph for each.
\`--json\` prints them as data. A warning does not end a command; an error ends it with exit code 1 after all of them are shown.
`;

/** Codes and their paragraphs by layer; a code that several layers use stands once, in the first, with a paragraph of each. */
function sections(): { readonly layer: Layer; readonly entries: readonly (readonly [string, string])[] }[] {
  const seen = new Set<string>();
  return layers.map((layer) => {
    const own = Object.keys(layer.codes).filter((code) => !seen.has(code));
    own.forEach((code) => seen.add(code));
    const entries = own.sort().map((code) => {
      const places = layers.filter((l) => Object.hasOwn(l.codes, code));
      const paragraphs = places.map((l) =>
        places.length === 1 ? l.codes[code]! : `*${l.when}*: ${l.codes[code]!}`,
      );
      return [code, paragraphs.join("\n\n")] as const;
    });
    return { layer, entries };
  });
}

export function errorsMarkdown(): string {
  const shown = examples();
  const parts = [header];
  const all = sections();
  parts.push(
    all
      .filter((s) => s.entries.length > 0)
      .map((s) => `**${s.layer.title}:** ${s.entries.map(([code]) => link(code)).join(" · ")}\n`)
      .join("\n"),
    `**Requirements of ops:** ${constrained.map((op) => `[\`${op.name}\`](#requirements-of-${op.name})`).join(" · ")}\n`,
  );
  for (const { layer, entries } of all) {
    if (entries.length === 0) continue;
    parts.push(`## ${layer.title}\n`);
    for (const [code, paragraph] of entries) parts.push(`### ${code}\n\n${paragraph}\n`, ...shown(code));
  }
  parts.push(
    "## Requirements of ops\n",
    "An op states what it requires as sentences with a name each. The code is the op and that name, the message the sentence; the label says" +
      " what was found, and the notes where it comes from. [ops.md](ops.md) has the ops themselves.\n",
  );
  for (const op of constrained) {
    const lines = Object.entries(op.constraints).map(([l, s]) => `- \`${op.name}.${l}\`: ${sentence(s)}`);
    const codes = Object.keys(op.constraints).map((l) => `${op.name}.${l}`);
    parts.push(
      `### Requirements of ${op.name}\n\n${lines.join("\n")}\n`,
      ...codes.flatMap((code) => shown(code)),
    );
  }
  return parts.join("\n");
}

const constrained = allOps.filter((op) => Object.keys(op.constraints).length > 0);

/** What an op's name is followed by in its message. */
function sentence(constraint: string): string {
  return `requires that ${constraint}.`;
}

/** Headings become anchors without dots. */
function link(code: string): string {
  return `[\`${code}\`](#${code.replaceAll(".", "")})`;
}

/** The message of the first small wrong model that has it, as a terminal shows it. */
function examples(): (code: string) => readonly string[] {
  const byCode = new Map<string, string>();
  const folder = "test/errors";
  for (const file of readdirSync(folder).sort()) {
    if (!file.endsWith(".model")) continue;
    const marked = readFileSync(`${folder}/${file}`, "utf8");
    const codes = [...marked.matchAll(/\/\/~[\^?]* *([\w.-]+)/g)].map((m) => m[1]!);
    if (codes.length !== 1 || byCode.has(codes[0]!) || /^\/\/ options:/m.test(marked)) continue;
    const text = marked.replace(/ *\/\/~.*$/gm, "");
    const resolve = (_: string, path: string) =>
      path.startsWith("std/")
        ? {
            name: path,
            text: readFileSync(path.endsWith(".model") ? path : `${path}.model`, "utf8"),
          }
        : { problem: "there is no such file" };
    const { diagnostics } = elaborateFile({ name: file, text }, { resolve });
    const found = diagnostics.find((d) => d.code === codes[0]);
    if (found) byCode.set(found.code, render([found], { color: false, width: 100 }).trimEnd());
  }
  return (code) => (byCode.has(code) ? ["```text", byCode.get(code)!, "```\n"] : []);
}
