// What commands print with --json, against the published schema; explain and annotate have their own (explain.test.ts).

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { Ajv } from "ajv";
import { Command } from "commander";
import { afterAll, beforeAll, expect, it } from "vitest";
import { addCommands } from "../../src/cli/commands.ts";
import { Installed, schemaName } from "./support.ts";

const installed = new Installed();
const digits = "examples/digits_poolformer.model";
const schema = JSON.parse(readFileSync("docs/cli.schema.json", "utf8")) as { $defs: Record<string, object> };
const ajv = new Ajv({ strict: false, allowUnionTypes: true });
ajv.addSchema(schema, "cli");

beforeAll(() => installed.build());
afterAll(() => installed.remove());

/** The output as data, after it was found to be what the schema says of this command. */
async function said<T>(name: string, code: number, ...args: readonly string[]): Promise<T> {
  const ran = await installed.run([...args, "--json"]);
  expect(ran.code, ran.err).toBe(code);
  const value = JSON.parse(ran.out) as T;
  const valid = ajv.getSchema(`cli#/$defs/${name}`)!;
  expect(valid(value), ajv.errorsText(valid.errors)).toBe(true);
  return value;
}

interface Fmt {
  readonly files: readonly {
    readonly file: string;
    readonly ok: boolean;
    readonly canonical: boolean;
    readonly written: boolean;
    readonly text?: string;
    readonly diagnostics: readonly { readonly code: string; readonly line: number }[];
  }[];
}

it("fmt says of each file what it was, and writes the others where one does not parse", async () => {
  const [good, rough, bad] = ["good", "rough", "bad"].map((n) => installed.path(`${n}.model`)) as [string, string, string]; // prettier-ignore
  const plain = "model m (x: f32[2]) -> f32[2] {\n  return x\n}\n";
  writeFileSync(good, plain);
  writeFileSync(rough, "model m(x:f32[2])->f32[2]{return x}");
  writeFileSync(bad, "model m (x: f32[2]) -> f32[2] {\n  return x +\n}\n");
  const checked = await said<Fmt>("fmt", 1, "fmt", good, rough, "--check");
  expect(checked.files.map((f) => [f.canonical, f.written])).toEqual([
    [true, false],
    [false, false],
  ]);
  const printed = await said<Fmt>("fmt", 0, "fmt", rough, "--stdout");
  expect(printed.files[0]).toMatchObject({ text: plain, written: false });
  const { files } = await said<Fmt>("fmt", 1, "fmt", bad, good, rough);
  expect(files.map((f) => [f.file, f.ok, f.written])).toEqual([
    [bad, false, false],
    [good, true, false],
    [rough, true, true],
  ]);
  expect(files[0]!.diagnostics[0]).toMatchObject({ line: 3 });
  expect(readFileSync(rough, "utf8")).toBe(plain);
});

it("check says what is wrong, with its place", async () => {
  expect(await said("check", 0, "check", digits)).toMatchObject({ ok: true, diagnostics: [] });
  const path = installed.path("wrong.model");
  writeFileSync(path, "model m (x: f32[2]) -> f32[3] { return x }\n");
  const { ok, diagnostics } = await said<{ ok: boolean; diagnostics: unknown[] }>("check", 1, "check", path);
  expect(ok).toBe(false);
  expect(diagnostics).toMatchObject([{ code: "shape-mismatch", line: 1 }]);
});

it("ir and weights", async () => {
  const dumps = ["ir", digits, "--after-all", "--diff"];
  const ir = await said<{ dumps: { name: string; text: string }[] }>("ir", 0, ...dumps);
  expect(ir.dumps.find((d) => d.name.includes("pool-mixer"))!.text).toContain("%");
  const weights = await said<{ key: string }[]>("weights", 0, "weights", digits);
  expect(weights.map((w) => w.key)).toContain("stem.conv.weight");
});

it("compile: the folder that it wrote; with --to, the text that explain reads", async () => {
  const folder = installed.path("compiled");
  const args = ["compile", digits, "--weights", "seed:0", "--target", "baseline,swiftshader", "-o", folder];
  const made = await said<{ output: string; files: string[]; variants: unknown[] }>("compile", 0, ...args);
  expect(made.output).toBe(folder);
  expect(made.variants).toHaveLength(2);
  for (const file of made.files) expect(existsSync(`${folder}/${file}`)).toBe(true);

  const text = installed.path("digits.ir");
  const to = await said<{ output: string; passes: string[]; nodes: number[] }>("compileTo", 0, "compile", digits, "--target", "swiftshader", "--to", "pool-mixer", "-o", text); // prettier-ignore
  expect(to.passes.at(-1)).toBe("pool-mixer");
  expect(to.nodes).toHaveLength(1);
  const { out, code } = await installed.run(["explain", text, "--line", "11"]);
  expect(code).toBe(0);
  // The model's own line, and the target that the text was made for.
  expect(out).toContain(`${digits}:11`);
  const kernel = await installed.run(["explain", text, "--kernel", "0"]);
  expect(kernel.out).toContain("figures of swiftshader");
});

it("export, verify", async () => {
  const onnx = ["export", digits, "--weights", "seed:0", "-o", installed.path("d.onnx")];
  expect((await said<{ bytes: number }>("export", 0, ...onnx)).bytes).toBeGreaterThan(1000);
  const verify = ["verify", digits, "--weights", "seed:0", "--dim", "B=1", "--passes"];
  expect(await said("verify", 0, ...verify)).toMatchObject({ ok: true });
});

it("run, bench, doctor: numbers of a session and of this machine", async () => {
  const one = [
    digits,
    "--weights",
    "seed:0",
    "--input",
    "images=seed:0",
    "--dim",
    "B=1",
    "--device",
    "embedded",
  ];
  const ran = await said<{ outputs: Record<string, { shape: number[]; data: number[] }> }>("run", 0, "run", ...one); // prettier-ignore
  const [output] = Object.values(ran.outputs);
  expect(output!.data).toHaveLength(output!.shape.reduce((a, b) => a * b));
  const bench = await said<{ median: number; first: { run: number } }>("bench", 0, "bench", ...one, "--runs", "2"); // prettier-ignore
  expect(bench.median).toBeGreaterThan(0);
  const { adapters } = await said<{ adapters: { name: string }[] }>("doctor", 0, "doctor");
  expect(adapters.map((a) => a.name).join()).toContain("SwiftShader");
});

it("reduce-report: a row for each setting", async () => {
  const vit = ["reduce-report", "examples/digits_vit.model", "--weights", "seed:0", "--dim", "B=1"];
  const sweep = ["--sweep", "tome:r=0..1", "--runs", "1", "--input", "images=seed:0"];
  const { rows } = await said<{ rows: { reduce: string }[] }>("reduceReport", 0, ...vit, ...sweep);
  expect(rows.map((r) => r.reduce)).toEqual(["none", "tome:r=0", "tome:r=1"]);
});

it("quantize-report: a row for each setting, behind the model as it is", async () => {
  const vit = ["quantize-report", "examples/digits_vit.model", "--weights", "seed:0", "--dim", "B=1"];
  const settings = ["--settings", "int8", "int4:group=16", "--runs", "1", "--input", "images=seed:0"];
  const { rows } = await said<{ rows: { setting: string; bytes: number; largest: number }[] }>(
    "quantizeReport",
    0,
    ...vit,
    ...settings,
  );
  expect(rows.map((r) => r.setting)).toEqual(["none", "int8", "int4:group=16"]);
  const [none, int8, int4] = rows as [(typeof rows)[0], (typeof rows)[0], (typeof rows)[0]];
  expect(none.largest).toBe(0);
  expect(none.bytes / int8.bytes).toBeGreaterThan(2);
  expect(int8.bytes / int4.bytes).toBeGreaterThan(1.2);
  expect(int4.largest).toBeGreaterThan(int8.largest);
});

it("every command that has --json has a schema", async () => {
  const program = new Command();
  await addCommands(program);
  const commands = program.commands.filter((c) => c.options.some((o) => o.long === "--json"));
  expect(commands.length).toBeGreaterThan(20);
  const own = ["explain", "annotate"];
  const missing = commands
    .map((c) => c.name())
    .filter((n) => !own.includes(n) && !(schemaName(n) in schema.$defs));
  expect(missing).toEqual([]);
});

it("the schema refuses what no command prints", () => {
  const valid = ajv.getSchema("cli#/$defs/fmt")!;
  expect(valid({ format: "tokenloom-fmt", version: 1, files: [{ file: "a" }] })).toBe(false);
  expect(valid({ format: "tokenloom-ir", version: 1, files: [] })).toBe(false);
});
