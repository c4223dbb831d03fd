// Wrong models: each `*.model` here says with `//~ code: part of the message` what is reported in the line, and nothing else may be.
//   `//~ code @12: text`   the diagnostic starts in column 12
//   `//~^ code: text`      it is one line above the mark (`^^`: two)
//   `//~? code: text`      it has no place in the file
// The first line may give options: `// options: --model a --config b --set key=value`.

import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { position } from "../../src/support/source.ts";
import { elaborateText, showDiagnostic, type TestOptions } from "../elaborate/support.ts";

interface Mark {
  readonly line: number | undefined;
  readonly code: string;
  readonly column: number | undefined;
  readonly text: string;
}

const markPattern = /\/\/~(\^*|\?) *([\w.-]+)(?: @(\d+))?(?:: *(.*?))? *$/;

function marksOf(text: string): Mark[] {
  return text.split("\n").flatMap((line, i) => {
    const found = markPattern.exec(line);
    if (!found) return [];
    const [, up = "", code = "", column, part = ""] = found;
    return {
      line: up === "?" ? undefined : i + 1 - up.length,
      code,
      column: column === undefined ? undefined : Number(column),
      text: part,
    };
  });
}

function optionsOf(text: string): TestOptions {
  const words = /^\/\/ options: (.*)$/m.exec(text)?.[1]?.split(" ") ?? [];
  const options: { model?: string; config?: string; set: Record<string, string> } = { set: {} };
  for (let i = 0; i + 1 < words.length; i += 2) {
    const value = words[i + 1]!;
    if (words[i] === "--set")
      options.set[value.slice(0, value.indexOf("="))] = value.slice(value.indexOf("=") + 1);
    else if (words[i] === "--model") options.model = value;
    else if (words[i] === "--config") options.config = value;
    else throw new Error(`no option ${words[i]}`);
  }
  return options;
}

const folder = "test/errors";
const files = readdirSync(folder).filter((f) => f.endsWith(".model"));

describe("wrong models", () => {
  it("are at least forty", () => expect(files.length).toBeGreaterThanOrEqual(40));

  it.each(files)("%s", (file) => {
    const name = `${folder}/${file}`;
    const text = readFileSync(name, "utf8");
    const marks = marksOf(text);
    const { module, diagnostics } = elaborateText(text, { name, ...optionsOf(text) });
    const left = [...diagnostics];
    const unmet: Mark[] = [];
    for (const mark of marks) {
      const at = left.findIndex((d) => {
        const place = d.span?.file.name === name ? position(d.span.file, d.span.start) : undefined;
        const right =
          place?.line === mark.line && (mark.column === undefined || place?.column === mark.column);
        return right && d.code === mark.code && d.message.includes(mark.text);
      });
      if (at < 0) unmet.push(mark);
      else left.splice(at, 1);
    }
    expect({ unmet, unexpected: left.map(showDiagnostic) }).toEqual({ unmet: [], unexpected: [] });
    expect(marks.length).toBeGreaterThan(0);
    expect(module).toBeUndefined();
  });
});
