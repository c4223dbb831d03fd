// An example says which paper it follows before anything else.

import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { exampleCases } from "./examples.ts";

/** An identifier of arXiv, or the year of what is not there. */
const paper = /arXiv \d{4}\.\d{4,5}|[(, ](19|20)\d{2}\)/;

it.each([...new Set(exampleCases.map((c) => c.path))])("%s names a paper in its first lines", (path) => {
  const lines = readFileSync(path, "utf8").split("\n").slice(0, 3);
  const comment = lines.filter((l) => l.startsWith("//")).join(" ");
  expect(comment).toMatch(paper);
});
