// Each test that docs/experts.md names exists, in the file it names.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const document = readFileSync("docs/experts.md", "utf8");
const named = [...document.matchAll(/`(test\/[\w/.-]+\.(?:ts|md))`: (.+?) *\|$/gm)].map(
  (m) => [m[1]!, m[2]!] as const,
);

test("every item of the two tables has a test", () => {
  expect(named.length).toBe((document.match(/^\| .*`test\//gm) ?? []).length);
  const ids = [...document.matchAll(/^\| ([A-Z]\d) +\|/gm)].map((m) => m[1]);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.join(" ")).toBe(
    "R1 R2 R3 R4 R5 R6 R7 B1 B2 P1 P2 G1 G2 G3 G4 L1 L2 L3 M1 M2 Z1 Z2 Z3 C1 E1 E2 E3 E4",
  );
});

test.each(named)("%s has %s", (file, title) => {
  expect(readFileSync(file, "utf8")).toContain(title);
});
