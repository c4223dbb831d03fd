// The table of codes is complete, and holds no code that is never reported.

import { readdirSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { elaborationCodes } from "../../src/elaborate/codes.ts";

it("lists exactly the codes that this layer reports", () => {
  const folder = "src/elaborate";
  const used = new Set<string>();
  for (const f of readdirSync(folder)) {
    if (f === "codes.ts") continue;
    const text = readFileSync(`${folder}/${f}`, "utf8");
    for (const m of text.matchAll(/\b(?:fail|stop|error|reject)\(\s*(?:\w+,\s*)?"([a-z-]+)"/g))
      used.add(m[1]!);
    for (const m of text.matchAll(/\bcode: "([a-z-]+)"/g)) used.add(m[1]!);
    for (const m of text.matchAll(/\? "([a-z-]+)" : "([a-z-]+)", `/g)) (used.add(m[1]!), used.add(m[2]!));
  }
  expect([...used].sort()).toEqual(Object.keys(elaborationCodes).sort());
});
