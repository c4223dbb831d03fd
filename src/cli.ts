#!/usr/bin/env node
// The command line. Exit codes: 0 done, 1 the user's input is wrong, 2 our fault, with a report file.

import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command, CommanderError } from "commander";
import { addCommands } from "./cli/commands.ts";
import { show } from "./cli/common.ts";
import { Bug } from "./support/bug.ts";
import { error, InputError } from "./support/diagnostic.ts";
import { version } from "./support/version.ts";

const program = new Command("tokenloom")
  .description(
    "A small language and an optimizing compiler for token mixers, pooling heads and routed experts, on WebGPU",
  )
  .version(version)
  .showHelpAfterError("(tokenloom --help, or tokenloom COMMAND --help)")
  .exitOverride();

await addCommands(program, process.argv[2]);

// A reader that has seen enough, such as `head`, closes the pipe: there is nobody left to tell.
process.stdout.on("error", (e: NodeJS.ErrnoException) => {
  if (e.code !== "EPIPE") throw e;
  process.exit(process.exitCode ?? 0);
});

try {
  await program.parseAsync();
} catch (e) {
  if (e instanceof CommanderError) process.exitCode = e.exitCode === 0 ? 0 : 1;
  else if (e instanceof InputError) {
    show(e.diagnostics);
    process.exitCode = 1;
  } else if (isFileProblem(e)) {
    show([error("file-write", `${e.path ?? "a file"} cannot be written: ${e.message}`)]);
    process.exitCode = 1;
  } else {
    process.exitCode = 2;
    process.stderr.write(`tokenloom failed, and it is not your fault: ${(e as Error).message}\n`);
    const file = join(tmpdir(), `tokenloom-report-${process.pid}.txt`);
    try {
      writeFileSync(file, reportText(e));
      process.stderr.write(`a report is in ${file}\n`);
    } catch {
      process.stderr.write(reportText(e));
    }
  }
}

/** The user named a place that cannot be written: not our fault. */
function isFileProblem(e: unknown): e is NodeJS.ErrnoException {
  const code = e instanceof Error ? (e as NodeJS.ErrnoException).code : undefined;
  return (
    code !== undefined &&
    ["EACCES", "EEXIST", "EISDIR", "ENOENT", "ENOSPC", "ENOTDIR", "EPERM", "EROFS"].includes(code)
  );
}

function reportText(e: unknown): string {
  const lines = [
    `tokenloom ${version}, node ${process.version}, ${process.platform} ${process.arch}`,
    `arguments: ${process.argv.slice(2).join(" ")}`,
  ];
  for (let at: unknown = e; at instanceof Error; at = at.cause) {
    lines.push("", at.stack ?? at.message);
    if (at instanceof Bug)
      for (const [name, text] of Object.entries(at.facts)) lines.push("", `--- ${name}`, text);
  }
  return `${lines.join("\n")}\n`;
}
