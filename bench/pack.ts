// `npm run bench:pack [FOLDER]`: a folder that measures this compiler and its peers on a bare Linux x64 machine with a GPU driver and no
// network. What is in it is in bench/README.md.

import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { build, type Plugin } from "esbuild";

const root = join(import.meta.dirname, "..");
const folder = process.argv[2] ?? join(import.meta.dirname, "pack-out");
const app = join(folder, "app");

/** The Vulkan loader, and what NVIDIA's driver for Vulkan is linked with and servers may lack. */
const libraries = [
  "libvulkan.so.1",
  "libGLdispatch.so.0",
  "libGLX.so.0",
  "libEGL.so.1",
  "libX11.so.6",
  "libXext.so.6",
  "libxcb.so.1",
  "libXau.so.6",
  "libXdmcp.so.6",
  "libbsd.so.0",
  "libmd.so.0",
];

/** Only for editors and photographs, or only to install: nothing of the pack loads them. */
const unneeded = [
  "sharp",
  "vscode-languageserver",
  "vscode-languageserver-textdocument",
  "adm-zip",
  "global-agent",
];

function fail(message: string): never {
  console.error(`error: ${message}`);
  process.exit(1);
}

function copy(from: string, to = from): void {
  mkdirSync(dirname(join(app, to)), { recursive: true });
  cpSync(join(root, from), join(app, to), { recursive: true, dereference: true });
}

/** A package and what it depends on; of those with binaries, only this system's. */
function copyPackage(name: string, done: Set<string>): void {
  if (done.has(name) || unneeded.includes(name)) return;
  done.add(name);
  const at = join("node_modules", name);
  const elsewhere = (path: string): boolean =>
    /(^|[\\/])(darwin|win32|linux-arm64|darwin-universal|win32-[a-z0-9]+|arm64)([\\/]|$)/.test(path) ||
    /\.(map|d\.ts|d\.mts|d\.cts)$/.test(path);
  cpSync(join(root, at), join(app, at), {
    recursive: true,
    filter: (path) => !elsewhere(relative(join(root, at), path)),
  });
  const { dependencies = {} } = JSON.parse(readFileSync(join(root, at, "package.json"), "utf8")) as {
    readonly dependencies?: Readonly<Record<string, string>>;
  };
  for (const other of Object.keys(dependencies)) copyPackage(other, done);
}

/** The benchmark uses the compiler that is built, not another copy of it. */
const fromDist: Plugin = {
  name: "dist",
  setup(builder) {
    builder.onResolve({ filter: /\/src\/.*\.ts$/ }, ({ path }) => ({
      path: path.replace(/^.*\/src\//, "../dist/").replace(/\.ts$/, ".js"),
      external: true,
    }));
  },
};

function libraryPaths(): ReadonlyMap<string, string> {
  const listed = execFileSync("ldconfig", ["-p"], {
    encoding: "utf8",
    env: { PATH: "/sbin:/usr/sbin:/usr/bin:/bin" },
  });
  return new Map(
    [...listed.matchAll(/^\s*(\S+) \(libc6,x86-64[^)]*\) => (\S+)$/gm)].map(([, name, path]) => [
      name!,
      path!,
    ]),
  );
}

if (process.platform !== "linux" || process.arch !== "x64")
  fail("the pack is made on Linux x64, for Linux x64");
if (!existsSync(join(root, "dist/cli.js"))) fail("there is no dist: npm run build makes it");
if (existsSync(folder)) {
  if (!existsSync(join(folder, "run.sh"))) fail(`${folder} exists and is no pack`);
  rmSync(folder, { recursive: true });
}
mkdirSync(join(folder, "bin"), { recursive: true });
mkdirSync(join(folder, "lib"));
copyFileSync(process.execPath, join(folder, "bin/node"));
chmodSync(join(folder, "bin/node"), 0o755);
const found = libraryPaths();
if (!found.has(libraries[0]!)) fail(`this machine has no ${libraries[0]}: apt-get install libvulkan1`);
for (const name of libraries) {
  const path = found.get(name);
  if (path === undefined) console.error(`${name} is not on this machine, and not in the pack`);
  else copyFileSync(path, join(folder, "lib", name));
}

for (const path of [
  "dist",
  "std",
  "package.json",
  "LICENSE",
  "THIRD-PARTY-NOTICES.md",
  "bench/kernels.model",
])
  copy(path);
copy("examples/poolformer.model");
copy("bench/peers/torch", "bench/torch");
const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly dependencies: Readonly<Record<string, string>>;
};
const packages = new Set<string>();
for (const name of [...Object.keys(dependencies), "onnxruntime-node"]) copyPackage(name, packages);
await build({
  entryPoints: [
    ...["survey", "ceilings", "upload", "sweep", "table"].map((name) => `pack/${name}.ts`),
    ...["child.ts", "compiled.ts"],
  ].map((f) => join(import.meta.dirname, f)),
  outdir: join(app, "bench"),
  entryNames: "[name]",
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  packages: "external",
  plugins: [fromDist],
  logLevel: "warning",
});
copyFileSync(join(import.meta.dirname, "pack/run.sh"), join(folder, "run.sh"));
chmodSync(join(folder, "run.sh"), 0o755);
writeFileSync(
  join(folder, "README.md"),
  "Run `./run.sh OUT` on a Linux x64 machine with a GPU driver: results are written into the folder OUT.\n",
);
const size = execFileSync("du", ["-sh", folder], { encoding: "utf8" }).split("\t")[0];
console.log(
  `${folder}: ${size}; pack it with: tar -C ${dirname(folder)} -cJf pack.tar.xz ${basename(folder)}`,
);
