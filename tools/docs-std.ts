// docs/std.md from the comments of the standard library: what each file is for, and each block with its signature.

import { readdirSync, readFileSync } from "node:fs";
import { parse } from "../src/parser/parse.ts";
import { locationOf, type Span } from "../src/support/source.ts";

const folder = "std";
const worked = "test/std";

/** The whole page. */
export function stdMarkdown(): string {
  const examples = new Set(readdirSync(worked));
  return [
    "# The standard library",
    "",
    "Generated from the comments in `std`; `npm run update` writes it anew. Import a block by the name of its file:",
    '`import { PoolMixer } from "std/layers"`. The worked examples are tests: each is computed by the reference, by onnxruntime and by the',
    "kernels.",
    "",
    ...readdirSync(folder)
      .filter((f) => f.endsWith(".model"))
      .flatMap((f) => page(f, examples)),
  ].join("\n");
}

function page(file: string, examples: ReadonlySet<string>): readonly string[] {
  const name = file.replace(/\.model$/, "");
  const text = readFileSync(`${folder}/${file}`, "utf8");
  const { ast } = parse(text, file);
  const own = ast.comments.filter((c) => c.ownLine);
  const above = (span: Span): string => {
    const lines: string[] = [];
    for (let line = locationOf(span).line - 1; ; line--) {
      const comment = own.find((c) => locationOf(c.span).line === line);
      if (!comment) return lines.join("\n");
      lines.unshift(comment.text.replace(/^\/\/ ?/, "").trimEnd());
    }
  };
  const head = /^(?:\/\/.*\n)*/
    .exec(text)![0]
    .replace(/^\/\/ ?/gm, "")
    .trimEnd();
  const examplesOf = examples.has(`${name}.md`)
    ? [`Worked examples: [${worked}/${name}.md](../${worked}/${name}.md).`, ""]
    : [];
  const blocks = ast.items.flatMap((item) => {
    if (item.kind !== "block") return [];
    const { start, end } = item.span;
    const code = text.slice(start, end);
    const signature = code.slice(0, code.indexOf("{")).trimEnd();
    return [`### ${item.name.text}`, "", "```", signature, "```", "", above(item.span), ""];
  });
  return [`## std/${name}`, "", head, "", ...examplesOf, ...blocks];
}
