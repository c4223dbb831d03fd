// npm run update: makes everything anew that is made from something else, then says what to read. Documents come from the records;
// goldens of passes, stages and counts are rewritten by their own tests under UPDATE=1.

import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { errorsMarkdown } from "./docs-errors.ts";
import { opsMarkdown } from "./docs-ops.ts";
import { passesMarkdown } from "./docs-passes.ts";
import { stdMarkdown } from "./docs-std.ts";

/** Every generated document, and what makes it. */
export const generated: Readonly<Record<string, () => string>> = {
  "docs/ops.md": opsMarkdown,
  "docs/passes.md": passesMarkdown,
  "docs/std.md": stdMarkdown,
  "docs/errors.md": errorsMarkdown,
};

/** Folders whose tests rewrite their own files. */
const goldens = ["test/passes", "test/stages", "test/counts"];

function update(): number {
  for (const [path, make] of Object.entries(generated)) {
    const text = make();
    const changed = text !== readOr(path, "");
    if (changed) writeFileSync(path, text);
    process.stdout.write(`${changed ? "written  " : "unchanged"} ${path}\n`);
  }
  const vitest = ["node_modules/vitest/vitest.mjs", "run", ...goldens];
  const { status } = spawnSync(process.execPath, vitest, {
    stdio: "inherit",
    env: { ...process.env, UPDATE: "1" },
  });
  process.stdout.write("Read the difference: git diff docs test\n");
  return status ?? 1;
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return otherwise;
  }
}

if (process.argv[1]?.endsWith("update.ts")) process.exitCode = update();
