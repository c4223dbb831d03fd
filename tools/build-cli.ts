// The command line as few files instead of a thousand: reading and linking the modules of the compiler, of chevrotain and of lodash was
// most of the time that a command took to begin. `dist/cli.js` stays the name; what it runs is in dist/bin, beside the licences of the
// packages in it. Packages with native code, with data files of their own or of rare use stay outside.

import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build, type Metafile } from "esbuild";

const outside = [
  "webgpu",
  "sharp",
  "protobufjs",
  "vscode-languageserver",
  "vscode-languageserver-textdocument",
];

/** Bundles `src/cli.ts` into `dist/bin`, and makes `dist/cli.js` run that. */
export async function writeCli(dist: string): Promise<void> {
  const bin = join(dist, "bin");
  rmSync(bin, { recursive: true, force: true });
  const { metafile } = await build({
    entryPoints: ["src/cli.ts"],
    bundle: true,
    // What a command loads when asked for (the language server, doctor) stays a file of its own.
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20",
    outdir: bin,
    external: outside.flatMap((name) => [name, `${name}/*`]),
    // commander is CommonJS and asks for Node's modules.
    banner: {
      js: 'import { createRequire as requireFrom } from "node:module";\nconst require = requireFrom(import.meta.url);',
    },
    metafile: true,
    logLevel: "warning",
  });
  writeFileSync(join(bin, "LICENSES.txt"), licences(packagesOf(metafile)));
  writeFileSync(join(dist, "cli.js"), '#!/usr/bin/env node\nimport "./bin/cli.js";\n', { mode: 0o755 });
}

function packagesOf(metafile: Metafile): readonly string[] {
  const named = Object.values(metafile.outputs)
    .flatMap((o) => Object.keys(o.inputs))
    .map((path) => /^.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]);
  return [...new Set(named)].filter((name) => name !== undefined).sort();
}

/** The licence of each package as it came, which is what most of them ask for; without one, what its package file says. */
function licences(packages: readonly string[]): string {
  const parts = packages.map((name) => {
    const folder = join("node_modules", name);
    const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
      readonly version: string;
      readonly license: string;
    };
    const files = readdirSync(folder).filter((f) => /^(licen[cs]e|notice)/i.test(f));
    const texts = files.sort().map((f) => readFileSync(join(folder, f), "utf8").trim());
    return [`${name} ${version}: ${license}`, ...texts].join("\n\n");
  });
  return `The command line has code of these packages in it.\n\n${parts.join(`\n\n${"-".repeat(80)}\n\n`)}\n`;
}

if (process.argv[1]?.endsWith("build-cli.ts")) await writeCli("dist");
