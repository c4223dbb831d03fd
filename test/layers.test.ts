// Which folder may import from which: read from the imports themselves. The table is ARCHITECTURE.md's.

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "..");
const src = join(root, "src");

/** Layer -> layers it may import besides itself. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  support: [],
  ir: ["support"],
  ops: ["ir", "support"],
  parser: ["support"],
  elaborate: ["parser/ast", "ops", "ir", "support"],
  passes: ["ops", "ir", "support"],
  codegen: ["ir", "support"],
  runtime: ["ir", "support"],
  onnx: ["ir", "support"],
  viewers: ["ir", "support"],
  tune: ["ir", "support"],
  routing: ["ops", "ir", "support"],
  adapters: ["ir", "support"],
  lsp: ["elaborate", "parser", "ops", "ir", "support"],
  explain: ["passes", "runtime/memory", "ir", "support"],
  // Runs in a browser, from one file: what of the compiler it can read, it reads from the document.
  page: ["explain"],
  // The public interface sees everything but the command line.
  index: [
    "support",
    "ir",
    "ops",
    "parser",
    "elaborate",
    "passes",
    "codegen",
    "runtime",
    "onnx",
    "viewers",
    "explain",
  ],
  cli: [
    "index",
    "support",
    "ir",
    "ops",
    "parser",
    "elaborate",
    "passes",
    "codegen",
    "runtime",
    "onnx",
    "viewers",
    "lsp",
    "explain",
    "tune",
    "routing",
    "adapters",
  ],
};

/** External packages and the only places that may import them. */
const packages: Readonly<Record<string, RegExp>> = {
  "@dagrejs": /^page\/layout/,
  chevrotain: /^parser\//,
  webgpu: /^runtime\/device-node/,
  sharp: /^runtime\/images-node/,
  commander: /^cli/,
  picocolors: /^(cli|support\/)/,
  protobufjs: /^onnx\//,
  "vscode-languageserver": /^(lsp\/server|cli\/lsp)/,
  "vscode-languageserver-textdocument": /^lsp\/server/,
  fflate: /^cli\/(capsule|zip)/,
};

function files(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((e) =>
    e.isDirectory() ? files(join(folder, e.name)) : e.name.endsWith(".ts") ? [join(folder, e.name)] : [],
  );
}

function importsOf(text: string): string[] {
  const found = [
    ...text.matchAll(/^(?:import|export)\b[^;"]*?\bfrom\s+"([^"]+)";/gm),
    ...text.matchAll(/^import\s+"([^"]+)";/gm),
    ...text.matchAll(/\bimport\("([^"]+)"\)/g),
  ];
  return found.map((m) => m[1]!);
}

const layerOf = (path: string): string => path.split("/")[0]!.replace(/\.ts$/, "");

describe("layers", () => {
  for (const file of files(src)) {
    const here = relative(src, file);
    it(here, () => {
      const layer = layerOf(here);
      expect(Object.keys(allowed)).toContain(layer);
      for (const from of importsOf(readFileSync(file, "utf8"))) {
        if (from.startsWith(".")) {
          const target = relative(src, resolve(dirname(file), from));
          const other = layerOf(target);
          const ok = other === layer || allowed[layer]!.some((a) => a === other || target.startsWith(a));
          expect(ok, `${here} imports ${target}`).toBe(true);
        } else if (from.startsWith("node:")) {
          const mayTouchNode = layer === "cli" || /-node\.ts$/.test(here) || here.startsWith("cli");
          expect(mayTouchNode, `${here} imports ${from}`).toBe(true);
        } else {
          const name = from.split("/")[0]!;
          const where = packages[name];
          expect(where !== undefined && where.test(here), `${here} imports ${from}`).toBe(true);
        }
      }
    });
  }
});
