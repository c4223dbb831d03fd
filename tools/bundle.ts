// The command line and the library as few files instead of a thousand: reading and linking the modules of the compiler, of chevrotain
// and of lodash was most of the time that a command took to begin, and `import("tokenloom")`. Each bundle is beside the licences of the
// packages in it. Packages with native code, with data files of their own or of rare use stay outside. Types are as tsc makes them.

import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { build, type BuildOptions, type Metafile, type Plugin } from "esbuild";

const outside = [
  "webgpu",
  "sharp",
  "protobufjs",
  "vscode-languageserver",
  "vscode-languageserver-textdocument",
];

/** Our modules only define things: one of which nothing is used is left out, and with it the packages that it would load. */
const withoutEffects: Plugin = {
  name: "without effects",
  setup(builder) {
    builder.onResolve({ filter: /^\.\.?\/.*\.ts$/ }, ({ path, importer }) => ({
      path: resolve(dirname(importer), path),
      sideEffects: false,
    }));
  },
};

/** Bundles `src/cli.ts` into `dist/bin`, and makes `dist/cli.js` run that. */
export async function writeCli(dist: string): Promise<void> {
  await bundle(join(dist, "bin"), "The command line", {
    entryPoints: ["src/cli.ts"],
    platform: "node",
    target: "node20",
    plugins: [withoutEffects],
    // commander is CommonJS and asks for Node's modules.
    banner: {
      js: 'import { createRequire as requireFrom } from "node:module";\nconst require = requireFrom(import.meta.url);',
    },
  });
  writeFileSync(join(dist, "cli.js"), '#!/usr/bin/env node\nimport "./bin/cli.js";\n', { mode: 0o755 });
}

interface Export {
  readonly types: string;
  readonly default: string;
}

/**
 * Bundles what package.json exports into `dist/lib`, in one build: a class that two entry points show is one class. Usable in a browser,
 * as the modules are.
 */
export async function writeLibrary(dist: string): Promise<void> {
  const { exports } = JSON.parse(readFileSync("package.json", "utf8")) as {
    readonly exports: Readonly<Record<string, Export | string>>;
  };
  const code = Object.values(exports).filter((e) => typeof e !== "string");
  await bundle(join(dist, "lib"), "The library", {
    entryPoints: Object.fromEntries(code.map((e) => [basename(e.default, ".js"), sourceOf(e.types)])),
    platform: "neutral",
    mainFields: ["module", "main"],
    target: "es2022",
  });
}

/** `./dist/runtime/index.d.ts` is made of src/runtime/index.ts. */
const sourceOf = (types: string): string => types.replace(/^\.\/dist\//, "src/").replace(/\.d\.ts$/, ".ts");

async function bundle(folder: string, what: string, options: BuildOptions): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  const { metafile } = await build({
    ...options,
    bundle: true,
    // What is loaded when asked for (the language server, doctor), and what entry points share, stays a file of its own.
    splitting: true,
    format: "esm",
    outdir: folder,
    external: outside.flatMap((name) => [name, `${name}/*`]),
    metafile: true,
    logLevel: "warning",
  });
  writeFileSync(join(folder, "LICENSES.txt"), licences(what, packagesOf(metafile)));
}

function packagesOf(metafile: Metafile): readonly string[] {
  const named = Object.values(metafile.outputs)
    .flatMap((o) => Object.keys(o.inputs))
    .map((path) => /^.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]);
  return [...new Set(named)].filter((name) => name !== undefined).sort();
}

/** The licence of each package as it came, which is what most of them ask for; without one, what its package file says. */
function licences(what: string, packages: readonly string[]): string {
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
  return `${what} has code of these packages in it.\n\n${parts.join(`\n\n${"-".repeat(80)}\n\n`)}\n`;
}

if (process.argv[1]?.endsWith("bundle.ts")) {
  await writeCli("dist");
  await writeLibrary("dist");
}
