// `lsp`: the language server over stdin and stdout, with the files of this machine.

import { readdirSync, realpathSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Command } from "commander";
import { version } from "../support/version.ts";
import type { LspHost } from "../lsp/workspace.ts";
import { packageRoot } from "./common.ts";
import { readModel, resolverFor } from "./model-file.ts";

export function lspCommand(program: Command): void {
  program
    .command("lsp")
    .description("a language server for editors, over stdin and stdout (docs/editor.md)")
    .option("--stdio", "over stdin and stdout: what it does anyway; editors say it")
    .action(async () => {
      // Loaded when asked for: no other command has a use for it.
      const { createConnection, StreamMessageReader, StreamMessageWriter } =
        await import("vscode-languageserver/node");
      const { serve } = await import("../lsp/server.ts");
      const connection = createConnection(
        new StreamMessageReader(process.stdin),
        new StreamMessageWriter(process.stdout),
      );
      serve(connection, host, version);
    });
}

const std = join(packageRoot, "std");
/** Files of one folder that are looked at for a name that is changed. */
const mostNeighbours = 500;

const host: LspHost = {
  nameOf(uri) {
    if (!uri.startsWith("file:")) return uri;
    const path = real(fileURLToPath(uri));
    return path.startsWith(std + sep)
      ? `std/${relative(std, path).split(sep).join("/")}`
      : relative(process.cwd(), path);
  },
  uriOf(name) {
    if (/^[a-z]{2,}:/i.test(name)) return name;
    return pathToFileURL(name.startsWith("std/") ? join(packageRoot, name) : resolve(name)).href;
  },
  read(name) {
    try {
      return readModel(name.startsWith("std/") ? join(packageRoot, name) : name).text;
    } catch {
      return undefined;
    }
  },
  resolverFor,
  importable(name) {
    const own = modelFiles(dirname(resolve(name))).map((f) => `./${f.replace(/\.model$/, "")}`);
    return [
      ...modelFiles(std).map((f) => `std/${f.replace(/\.model$/, "")}`),
      ...own.filter((p) => p !== `./${baseOf(name)}`),
    ];
  },
  neighbours(name) {
    const folder = dirname(resolve(name));
    return modelFiles(folder).map((f) => relative(process.cwd(), join(folder, f)));
  },
  isFixed: (name) => name.startsWith("std/"),
};

function baseOf(name: string): string {
  return name.replace(/^.*[/\\]/, "").replace(/\.model$/, "");
}

function modelFiles(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
      .filter((f) => f.endsWith(".model"))
      .sort()
      .slice(0, mostNeighbours);
  } catch {
    return [];
  }
}

/** As imports name it; a file that is not on disk yet is where it will be. */
function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
