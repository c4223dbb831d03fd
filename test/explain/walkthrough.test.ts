// The five questions of docs/inspection.md: the answers on that page are those that the build gives. Times are left out: they are of
// one machine and one day.

import { readFileSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";
import { expect, it } from "vitest";
import { annotationText, lineText, nodeText, whyNotText } from "../../src/cli/explain-text.ts";
import { annotate, explainLine, whyNot } from "../../src/explain/answers.ts";
import { explainNode } from "../../src/explain/lineage.ts";
import { lavapipe } from "../../src/index.ts";
import { explainedFile, poolformer } from "./support.ts";

const { doc } = explainedFile(poolformer, { config: "s12", target: lavapipe }, { dims: { B: 1, H: 224, W: 224 } }); // prettier-ignore
const entry = doc.entries[0]!;
const section = readFileSync("docs/inspection.md", "utf8").split("## Five questions")[1]!.split("\n## ")[0]!;
const answers = [...section.matchAll(/\*\*([^*]+\?)\*\*([^\n]*)\n\n```\n([\s\S]*?)```/g)];

/** What the terminal says to the question with this in it. */
function answerTo(asked: string): string {
  const [, line] = /`--line (\d+)`/.exec(asked) ?? [];
  if (line !== undefined) return lineText(doc, entry, explainLine(doc, entry, { source: 0, line: Number(line) })); // prettier-ignore
  const [, rule, file, at] = /`--why-not ([a-z-]+)@(\S+):(\d+)`/.exec(asked) ?? [];
  if (rule !== undefined) {
    const source = doc.sources.findIndex((s) => s.name === file);
    const answer = whyNot(doc, entry, rule, { source, line: Number(at) });
    return whyNotText(answer, `${file}:${at}`);
  }
  const [, node] = /`--node (%\d+)`/.exec(asked) ?? [];
  if (node !== undefined) return nodeText(entry, explainNode(doc, entry, node)!);
  return annotationText(doc, entry, 0, annotate(doc, entry, 0));
}

it("asks four questions in the terminal, and one on the page", () => {
  expect(answers).toHaveLength(4);
  expect([...section.matchAll(/\*\*[^*]+\?\*\*/g)]).toHaveLength(5);
});

it.each(answers.map(([, question, asked, answer]) => [question!, asked!, answer!] as const))(
  "%s",
  (_, asked, answer) => {
    // Colours are on where CI is set, and on a terminal.
    const said = stripVTControlCharacters(answerTo(asked)).split("\n");
    const wanted = answer.split("\n").filter((l) => l !== "" && l !== "..." && !/^ {2}time /.test(l));
    expect(wanted.length).toBeGreaterThan(0);
    let from = 0;
    for (const line of wanted) {
      const start = line.replace(/ \.\.\.$/, " ");
      const found = said.findIndex(
        (l, i) => i >= from && (start === line ? l === line : l.startsWith(start)),
      );
      expect(found, `${line}\nis not in\n${said.join("\n")}`).toBeGreaterThanOrEqual(0);
      from = found + 1;
    }
  },
);
