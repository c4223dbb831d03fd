// The package as npm would publish it, unpacked into an empty project with its declared dependencies and nothing else: used from plain
// JavaScript, from TypeScript, and as a command.

import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "..");
const project = mkdtempSync(join(tmpdir(), "tokenloom-package-"));
const installed = join(project, "node_modules/tokenloom");

interface PackageFile {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly bin: Readonly<Record<string, string>>;
}

/** Output of a command; both streams are in the error where it fails. */
function run(command: string, args: readonly string[], cwd: string): string {
  try {
    return execFileSync(command, args, { cwd, encoding: "utf8", stdio: "pipe", maxBuffer: 2 ** 26 });
  } catch (e) {
    const { stdout, stderr } = e as { stdout?: string; stderr?: string };
    throw new Error(`${command} ${args.join(" ")}\n${stdout ?? ""}\n${stderr ?? ""}`, { cause: e });
  }
}

function write(name: string, text: string): void {
  writeFileSync(join(project, name), text);
}

let packed: readonly string[];

beforeAll(() => {
  run("npm", ["run", "build"], root);
  // Built just now; `prepare` would do it again.
  const args = ["pack", "--ignore-scripts", "--json", "--pack-destination", project];
  const [made] = JSON.parse(run("npm", args, root)) as [
    { filename: string; files: readonly { path: string }[] },
  ];
  packed = made.files.map((f) => f.path);
  mkdirSync(installed, { recursive: true });
  run("tar", ["-xzf", join(project, made.filename), "--strip-components=1", "-C", installed], project);
  const { dependencies } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8")) as PackageFile;
  for (const name of Object.keys(dependencies)) {
    const link = join(project, "node_modules", name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(root, "node_modules", name), link);
  }
  write("package.json", JSON.stringify({ name: "consumer", private: true, type: "module" }));
});

afterAll(() => rmSync(project, { recursive: true, force: true }));

describe("the package", () => {
  it("holds what it needs and nothing of the tests", () => {
    for (const file of [
      "dist/index.d.ts",
      "dist/runtime/index.d.ts",
      "dist/lib/index.js",
      "dist/lib/runtime.js",
      "dist/lib/LICENSES.txt",
      "dist/cli.js",
      "dist/bin/cli.js",
      "dist/bin/LICENSES.txt",
      "dist/explain/page.html",
      "dist/explain/code.json",
      "std/metaformer.model",
      "examples/digits_poolformer.model",
      "LICENSE",
      "THIRD-PARTY-NOTICES.md",
      "package.json",
    ])
      expect(packed).toContain(file);
    expect(packed.filter((f) => /^(test|src|bench|tools|node_modules)\//.test(f))).toEqual([]);
    expect(packed.filter((f) => f.endsWith(".ts") && !f.endsWith(".d.ts"))).toEqual([]);
  });

  it("compiles and evaluates a model from plain JavaScript", () => {
    write(
      "use.mjs",
      `import { compile, evaluate, InputError, lavapipe, seededTensor } from "tokenloom";
import { createSession } from "tokenloom/runtime";
const text = "model double (x: f32[B, 3]) -> (y: f32[B, 2]) { return x |> linear(out = 2) @fc }";
const compiled = compile({ name: "double.model", text }, { target: lavapipe });
const graph = compiled.module.graphs[0];
const weights = (key) => seededTensor(key, key.endsWith("bias") ? [2] : [2, 3]);
const x = { dtype: "f32", shape: [1, 3], data: Float32Array.of(1, 2, 3) };
const { y } = evaluate(graph, weights, { x }).outputs;
const wanted = [0, 1].map((i) => [0, 1, 2].reduce((n, j) =>
  n + weights("fc.weight").data[i * 3 + j] * x.data[j], weights("fc.bias").data[i]));
let refused = "";
try { compile({ name: "bad.model", text: "model m (x: f32[2]) -> f32[3] { return x }" }); }
catch (e) { if (e instanceof InputError) refused = e.diagnostics[0].code; }
const none = { features: new Set(), limits: {} };
const failure = await createSession(none, compiled.plan, new Uint8Array()).catch((e) => e);
console.log(JSON.stringify({
  sameClass: failure instanceof InputError && failure.diagnostics[0].code,
  far: Math.max(...wanted.map((w, i) => Math.abs(w - y.data[i]))),
  dispatches: compiled.plan.entries[0].dispatches.length, refused,
}));`,
    );
    const said = JSON.parse(run(process.execPath, ["use.mjs"], project)) as Record<string, unknown>;
    expect(said).toMatchObject({ dispatches: 1, refused: "shape-mismatch", sameClass: "device-feature" });
    expect(said["far"]).toBeLessThan(1e-6);
  });

  it("has types that a strict program can use", () => {
    const program = (
      index: string,
    ) => `import { compile, load, type Compiled, type Session, type Tensor } from "tokenloom";
export async function logits(device: GPUDevice, weights: ReadonlyMap<string, Tensor>): Promise<number> {
  const compiled: Compiled = compile({ name: "m.model", text: "model m (x: f32[2]) -> f32[2] { return x }" });
  const session: Session = await load(compiled, (key) => weights.get(key)!, device);
  const outputs = await session.run({ x: { dtype: "f32", shape: [2], data: Float32Array.of(1, 2) } });
  return outputs[${index}]?.data[0] ?? 0;
}
`;
    // No skipLibCheck: our declarations must hold by themselves. TypeScript's own DOM types know GPUDevice.
    const options = {
      target: "ES2022",
      module: "NodeNext",
      lib: ["ES2023", "DOM"],
      types: [],
      strict: true,
      noEmit: true,
      noUncheckedIndexedAccess: true,
      exactOptionalPropertyTypes: true,
    };
    write("tsconfig.json", JSON.stringify({ compilerOptions: options, files: ["use.ts"] }));
    const tsc = [join(root, "node_modules/typescript/bin/tsc"), "-p", "tsconfig.json"];
    write("use.ts", program(`"y"`));
    run(process.execPath, tsc, project);
    write("use.ts", program(`{}`));
    expect(() => run(process.execPath, tsc, project)).toThrow(/use\.ts/);
  });

  it("has the command, which finds the standard library", () => {
    const { bin } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8")) as PackageFile;
    const command = join(installed, bin["tokenloom"]!);
    expect(existsSync(command)).toBe(true);
    expect(readFileSync(command, "utf8")).toMatch(/^#!\/usr\/bin\/env node\n/);
    const model = join(installed, "examples/poolformer.model");
    const out = run(process.execPath, [command, "check", model, "--config", "s12", "--stats"], project);
    expect(out).toContain("11,915,176 parameters");
    run(process.execPath, [command, "explain", model, "--config", "s12", "-o", "page.html"], project);
    expect(readFileSync(join(project, "page.html"), "utf8")).toMatch(/^<!doctype html>/i);
  });

  it("is one library: what two entry points share is there once, and the runtime brings no compiler", () => {
    const lib = join(installed, "dist/lib");
    const files = readdirSync(lib).filter((f) => f.endsWith(".js"));
    const texts = new Map(files.map((f) => [f, readFileSync(join(lib, f), "utf8")]));
    for (const once of [/^(?:var|let|class) InputError\b/m, /^(?:var|let|class) Session\b/m])
      expect([...texts.values()].filter((text) => once.test(text))).toHaveLength(1);
    const loaded = (file: string): readonly string[] => [
      file,
      ...[...texts.get(file)!.matchAll(/from "\.\/([^"]+)"/g)].flatMap(([, next]) => loaded(next!)),
    ];
    for (const file of loaded("runtime.js")) {
      expect(texts.get(file)).not.toMatch(/^\/\/ (src\/(parser|passes|codegen|ops)|node_modules)\//m);
      expect(texts.get(file)).not.toMatch(/^import .*"node:/m);
    }
  });

  it("names every package whose code is in the bundles", () => {
    for (const name of ["bin", "lib"]) {
      const folder = join(installed, "dist", name);
      const licences = readFileSync(join(folder, "LICENSES.txt"), "utf8");
      const inside = readdirSync(folder)
        .filter((f) => f.endsWith(".js"))
        .flatMap((f) => [
          ...readFileSync(join(folder, f), "utf8").matchAll(
            /^(?:\/\/| {2}") ?node_modules\/((?:@[^/]+\/)?[^/]+)\//gm,
          ),
        ])
        .map(([, found]) => found!);
      expect(inside).toContain("chevrotain");
      for (const found of new Set(inside)) expect(licences).toContain(`\n\n${found} `);
    }
  });
});
