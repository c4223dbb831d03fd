// `doctor` and `cache`: what this machine has, and the one folder where tokenloom keeps files.

import { existsSync, rmSync } from "node:fs";
import type { Command } from "commander";
import { cacheFolder } from "../runtime/embedded-node.ts";
import { print, showJson } from "./common.ts";

export function machineCommands(program: Command): void {
  program
    .command("doctor")
    .description("adapters, drivers, features, limits, and what to install for more speed")
    .option("--json", "print data instead of text")
    .action(async (flags: { readonly json?: boolean }) => {
      const { doctor, showDoctor } = await import("../runtime/doctor-node.ts");
      const report = await doctor();
      if (flags.json) showJson(report);
      else print(showDoctor(report));
    });
  const cache = program.command("cache").description("the folder where tokenloom keeps files");
  cache
    .command("path", { isDefault: true })
    .description("print where it is")
    .action(() => print(cacheFolder()));
  cache
    .command("clear")
    .description("delete it")
    .action(() => {
      const folder = cacheFolder();
      const there = existsSync(folder);
      rmSync(folder, { recursive: true, force: true });
      print(there ? `${folder} deleted` : `${folder} was empty`);
    });
}
