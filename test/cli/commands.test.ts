// Commands, and what is loaded for them.

import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { addCommands, commandModules } from "../../src/cli/commands.ts";
import { version } from "../../src/support/version.ts";

const root = join(import.meta.dirname, "../..");

/** Modules that a module loads with it: imports of values, followed; `import()` is not. */
function loadedWith(file: string, seen = new Set<string>()): ReadonlySet<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  const text = readFileSync(join(root, file), "utf8");
  for (const [, what = "", path = ""] of text.matchAll(/^(?:import|export) ([^;"]*?)from "(\.[^"]+)";/gm)) {
    const names = what
      .replace(/[{}\s]+/g, " ")
      .trim()
      .split(",");
    if (what.startsWith("type ") || names.every((n) => /^( ?type |$)/.test(n))) continue;
    const target = relative(root, join(root, dirname(file), path));
    expect(existsSync(join(root, target))).toBe(true);
    loadedWith(target, seen);
  }
  return seen;
}

describe("commands", () => {
  it.each(commandModules)("$names are what their module adds", async ({ names, load }) => {
    const program = new Command();
    (await load())(program);
    expect(program.commands.map((c) => c.name())).toEqual(names);
  });

  it("are loaded alone by their name, and all where there is none or another", async () => {
    const names = async (name?: string): Promise<readonly string[]> => {
      const program = new Command();
      await addCommands(program, name);
      return program.commands.map((c) => c.name());
    };
    const all = commandModules.flatMap((m) => m.names);
    expect(new Set(all).size).toBe(all.length);
    expect(await names("run")).toEqual(["run"]);
    expect(await names("annotate")).toEqual(["explain", "annotate"]);
    for (const other of [undefined, "rnu", "--help", "help"]) expect(await names(other)).toEqual(all);
  });

  it.each(["src/cli.ts", "src/cli/run.ts", "src/cli/machine.ts"])("%s does without the compiler", (file) => {
    const loaded = [...loadedWith(file)];
    expect(loaded).toContain("src/support/diagnostic.ts");
    expect(
      loaded.filter((f) => /^src\/(index\.ts|parser|elaborate|passes\/pipeline|codegen\/lower|onnx)/.test(f)),
    ).toEqual([]);
  });

  it("a command that compiles has it", () => {
    expect(loadedWith("src/cli/compile.ts")).toContain("src/parser/parse.ts");
  });

  it("the version is that of the package", () => {
    const { version: packaged } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
      version: string;
    };
    expect(version).toBe(packaged);
  });
});
