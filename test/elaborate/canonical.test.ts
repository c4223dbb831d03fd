// The library, the examples and the snippets of the language page are in the form that `tokenloom fmt` gives.

import { readdirSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { format } from "../../src/parser/format.ts";
import { parse } from "../../src/parser/parse.ts";

const formatted = (text: string, name: string): string => {
  const { ast, file } = parse(text, name);
  return format(ast, file);
};

const files = ["std", "examples"].flatMap((folder) =>
  readdirSync(folder)
    .filter((f) => f.endsWith(".model"))
    .map((f) => `${folder}/${f}`),
);

it.each(files)("%s", (file) => {
  const text = readFileSync(file, "utf8");
  expect(formatted(text, file)).toBe(text);
});

it("docs/language.md", () => {
  const text = readFileSync("docs/language.md", "utf8");
  const canonical = text.replace(
    /^```model\n([\s\S]*?)^```$/gm,
    (_, code: string) => `\`\`\`model\n${formatted(code, "snippet")}\`\`\``,
  );
  expect(canonical).toBe(text);
});
