// The command line from outside: exit codes, what is printed where, data that parses, and messages for what users get wrong.

import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { renderJson } from "../../src/index.ts";
import { tensor } from "../../src/ir/tensor.ts";
import { writeSafetensors } from "../../src/runtime/safetensors.ts";
import { readTensors, rowsOf } from "../models/support.ts";
import type { Fault } from "../../src/cli/fault.ts";
import type { PassMeasure } from "../../src/cli/measure.ts";
import { pipeline } from "../../src/passes/pipeline.ts";
import { Installed, type Ran } from "./support.ts";

const digits = "examples/digits_poolformer.model";
const weights = "examples/data/digits_poolformer.safetensors";
const images = "examples/data/digits_test.safetensors";

const installed = new Installed();
const run = (...args: readonly string[]): Promise<Ran> => installed.run(args);

beforeAll(() => installed.build());
afterAll(() => installed.remove());

/** The input is wrong: exit code 1, said on stderr, with this code, and no stack. */
async function expectRefused(
  args: readonly string[],
  code: string,
  ...words: readonly string[]
): Promise<void> {
  const { code: exit, out, err } = await run(...args);
  expect(err + out).toContain(`error[${code}]`);
  for (const w of words) expect(err).toContain(w);
  expect(err).not.toMatch(/^\s+at /m);
  expect(out).toBe("");
  expect(exit).toBe(1);
}

describe("reading models", () => {
  it("checks a good file", async () => {
    const { code, out, err } = await run("check", digits, "--stats");
    expect(err).toBe("");
    expect(out).toContain("images: f32[B, C=1, H=8, W=8]");
    expect(out).toContain("103,626 parameters");
    expect(code).toBe(0);
  });

  it("shows a wrong file with its line, and as data", async () => {
    const bad = "test/errors/shape-mismatch-in-call.model";
    const text = await run("check", bad);
    expect(text.code).toBe(1);
    expect(text.err).toContain(`--> ${bad}:`);
    const data = await run("check", bad, "--json");
    expect(data.code).toBe(1);
    const json = JSON.parse(data.out) as { ok: boolean; diagnostics: ReturnType<typeof renderJson> };
    expect(json.ok).toBe(false);
    expect(json.diagnostics).not.toHaveLength(0);
  });

  it.skipIf(process.platform === "win32")("never waits for a pipe, given or imported", async () => {
    const pipe = installed.path("pipe.model");
    execFileSync("mkfifo", [pipe]);
    await expectRefused(["check", pipe], "file-kind", "is not a regular file");
    const importing = installed.path("importing.model");
    writeFileSync(importing, 'import { A } from "./pipe"\nmodel m() (x: f32[B]) -> f32[B] { return x }\n');
    await expectRefused(["check", importing], "import-not-found", "is not a regular file");
  });

  it("refuses what is not there, and what is misspelt", async () => {
    await expectRefused(["check", "no/such.model"], "file-missing", "there is no file no/such.model");
    await expectRefused(["check", "examples"], "file-kind");
    await expectRefused(["check", digits, "--set", "dims"], "set-spec");
    await expectRefused(["check", digits, "--set", "clases=3"], "unknown-parameter", "classes");
    await expectRefused(["ir", digits, "--target", "gpu"], "unknown-target", "lavapipe");
    await expectRefused(["ir", digits, "--stage", "spirv"], "unknown-stage", "wgsl");
    await expectRefused(["ir", digits, "--without", "pool-mixr"], "unknown-pass", "pool-mixer");
  });

  it.each([[[]], [["frobnicate"]], [["check"]], [["check", digits, "--frobnicate"]]])(
    "refuses the command %o and points to the help",
    async (args) => {
      const { code, out, err } = await run(...args);
      expect(code).toBe(1);
      expect(out).toBe("");
      expect(err).toContain("--help");
    },
  );

  it("has help for every command", async () => {
    const { code, out } = await run("--help");
    expect(code).toBe(0);
    const commands = [
      "check",
      "fmt",
      "ir",
      "compile",
      "run",
      "verify",
      "bench",
      "weights",
      "doctor",
      "cache",
    ];
    for (const c of commands) expect(out).toMatch(new RegExp(`^  ${c}\\b`, "m"));
    const version = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
    expect((await run("--version")).out.trim()).toBe(version.version);
  });

  it("lists the weights of a model, as data too", async () => {
    const { out } = await run("weights", digits);
    expect(out).toMatch(/^stem\.conv\.weight +f32\[32, 1, 3, 3\]$/m);
    const list = JSON.parse((await run("weights", digits, "--json")).out) as { key: string }[];
    expect(list.map((w) => w.key)).toContain("head.fc.bias");
  });

  it("formats: says so, does so, and once is enough", async () => {
    const file = installed.path("untidy.model");
    writeFileSync(file, "model m(x:f32[B,4])->f32[B,4]{return x*2}\n");
    const before = await run("fmt", "--check", file);
    expect(before.code).toBe(1);
    expect(before.out).toContain("tokenloom fmt");
    expect((await run("fmt", file)).code).toBe(0);
    expect(readFileSync(file, "utf8")).toContain("model m");
    const after = await run("fmt", "--check", file);
    expect([after.code, after.out]).toEqual([0, ""]);
    expect((await run("fmt", "--check", digits, "examples/poolformer.model")).code).toBe(0);
  });
});

describe("dumps", () => {
  it("shows what each pass changed, the plan, kernels and WGSL", async () => {
    const diff = await run("ir", digits, "--config", "tiny", "--after-all", "--diff");
    expect(diff.code).toBe(0);
    expect(diff.out).toMatch(/^\/\/ \d\d pool-mixer \(reassociates\)/m);
    expect(diff.out).toMatch(/^- .* = group_norm/m);
    expect(diff.out).toMatch(/^\+ .* = rsqrt/m);
    expect(diff.out).toContain("nothing changed");
    const wgsl = await run("ir", digits, "--config", "tiny", "--stage", "wgsl");
    expect(wgsl.out).toContain("@compute @workgroup_size");
    const plan = await run("ir", digits, "--config", "tiny", "--stage", "plan");
    expect(JSON.parse(plan.out)).toMatchObject({ format: "tokenloom-plan", target: { name: "baseline" } });
  });

  it("stops after a pass, leaves one out, and reads its own text", async () => {
    const early = await run("ir", digits, "--config", "tiny", "--after", "none");
    expect(early.out).toContain("group_norm");
    const file = installed.path("digits.ir");
    writeFileSync(file, early.out);
    const again = await run("ir", file);
    expect(again.code).toBe(0);
    expect(again.out).toContain("kind=contraction");
    const without = await run("ir", digits, "--config", "tiny", "--without", "pool-mixer");
    expect(without.out).not.toBe((await run("ir", digits, "--config", "tiny")).out);
  });
});

describe("running", () => {
  const one = installed.path("one.safetensors");

  beforeAll(async () => {
    const all = await readTensors(images);
    writeFileSync(one, writeSafetensors({ images: rowsOf(all["images"]!, 0, 2) }));
  });

  it("prints the accuracy of the digits and names the adapter", async () => {
    const { code, out } = await run(
      "run",
      digits,
      "--weights",
      weights,
      "--input",
      images,
      "--labels",
      images,
    );
    expect(code).toBe(0);
    expect(out).toContain("98.61");
    expect(out).toContain("adapter");
  });

  it("runs a compiled folder without the model file, with the same outputs", async () => {
    const folder = installed.path("compiled");
    const made = await run("compile", digits, "--weights", weights, "-o", folder);
    expect(made.code).toBe(0);
    expect(made.out).toContain("21 dispatches");
    await expectRefused(["compile", digits, "--weights", weights, "-o", folder], "output-exists", "--force");

    const direct = await run("run", digits, "--weights", weights, "--input", one, "--json");
    const output = installed.path("out.safetensors");
    const fromFolder = await run("run", folder, "--input", one, "--json", "--output", output);
    type Shown = { adapter: string; outputs: { logits: { shape: number[]; data: number[] } } };
    const [a, b] = [direct, fromFolder].map((r) => JSON.parse(r.out) as Shown);
    expect(a!.outputs.logits.shape).toEqual([2, 10]);
    expect(b!.outputs).toEqual(a!.outputs);
    expect(b!.adapter).toBe(a!.adapter);
    expect([...(await readTensors(output))["logits"]!.data]).toEqual(b!.outputs.logits.data);
  });

  it("runs a compiled folder in which kernels write how many rows there are", async () => {
    const moe = ["examples/moe_layers.model", "--config", "tiny", "--weights", "seed:0"];
    const input = ["--input", "x=seed:x", "--dim", "T=5", "--json"];
    const folder = installed.path("experts");
    expect((await run("compile", ...moe, "--experts", "sort", "-o", folder)).code).toBe(0);
    const [direct, fromFolder] = [
      await run("run", ...moe, "--experts", "sort", ...input),
      await run("run", folder, ...input),
    ];
    expect(fromFolder.code).toBe(0);
    type Shown = { outputs: { y: { shape: number[] } } };
    const [a, b] = [direct, fromFolder].map((r) => (JSON.parse(r.out) as Shown).outputs);
    expect(b).toEqual(a);
    expect(a!.y.shape[0]).toBe(5);
  });

  it("packs a variant for each target, and runs the one that suits the adapter", async () => {
    const folder = installed.path("variants");
    const targets = ["baseline", "lavapipe", "swiftshader"];
    const made = await run(
      ...["compile", digits, "--weights", weights, "-o", folder, "--target", targets.join(","), "--json"],
    );
    const facts = JSON.parse(made.out) as { target: string; variants: { target: string }[]; files: string[] };
    expect(facts.target).toBe("baseline");
    expect(facts.variants.map((v) => v.target)).toEqual(targets);
    expect(facts.files).toContain("variants/swiftshader/plan.json");

    const whole = await run("run", digits, "--weights", weights, "--input", one, "--json");
    type Shown = { variant: string; outputs: { logits: { data: number[] } } };
    const expected = (JSON.parse(whole.out) as Shown).outputs.logits.data;
    for (const device of ["auto", "embedded"]) {
      const { out, code } = await run("run", folder, "--input", one, "--json", "--device", device);
      expect(code).toBe(0);
      const { variant, outputs } = JSON.parse(out) as Shown;
      if (device === "embedded") expect(variant).toBe("swiftshader");
      else expect(targets).toContain(variant);
      for (const [i, v] of outputs.logits.data.entries())
        expect(Math.abs(v - expected[i]!)).toBeLessThan(1e-4);
    }
    await expectRefused(
      ["compile", digits, "--weights", weights, "-o", installed.path("x"), "--target", "baseline,baseline"],
      "target-twice",
      "baseline",
    );
  });

  describe("a folder that is not sound", () => {
    interface PlanJson {
      version: number;
      kernels: { wgsl: string }[];
      entries: { dispatches: { grid: string[]; buffers: string[] }[] }[];
    }
    let count = 0;

    /** A copy of the folder with a changed plan. */
    function changed(change: (plan: PlanJson) => void): string {
      const folder = installed.path(`changed-${count++}`);
      cpSync(installed.path("compiled"), folder, { recursive: true });
      const file = `${folder}/plan.json`;
      const plan = JSON.parse(readFileSync(file, "utf8")) as PlanJson;
      change(plan);
      writeFileSync(file, JSON.stringify(plan));
      return folder;
    }

    it("of another version is refused, and compiling again is advised", async () => {
      const folder = changed((p) => (p.version = 0));
      await expectRefused(
        ["run", folder, "--input", one],
        "plan-version",
        "version 0",
        "compile the model again",
      );
    });

    it("may not name files outside of it", async () => {
      for (const wgsl of [
        "../secret.wgsl",
        "kernels/../../secret.wgsl",
        "/etc/passwd",
        "kernels/none.wgsl",
      ]) {
        const folder = changed((p) => (p.kernels[0]!.wgsl = wgsl));
        writeFileSync(installed.path("secret.wgsl"), "@compute @workgroup_size(1) fn main() {}");
        await expectRefused(["run", folder, "--input", one], "plan-content", "no shader");
      }
    });

    it("with constants that are cut off is refused", async () => {
      const folder = changed(() => undefined);
      truncateSync(`${folder}/constants.bin`, 1000);
      await expectRefused(["run", folder, "--input", one], "plan-content", "cut off");
    });

    it("with values, grids or JSON that make no sense is refused", async () => {
      const values = changed((p) => (p.entries[0]!.dispatches[0]!.buffers[0] = "%none"));
      await expectRefused(["run", values, "--input", one], "plan-content");
      const live = changed((p) => (p.entries[0]!.dispatches[0]!.buffers[0] = "@extents"));
      await expectRefused(["run", live, "--input", one], "plan-content", "not there");
      const grid = changed((p) => (p.entries[0]!.dispatches[0]!.grid[0] = "((((("));
      await expectRefused(["run", grid, "--input", one], "plan-content");
      const text = changed(() => undefined);
      writeFileSync(`${text}/plan.json`, "{");
      await expectRefused(["run", text, "--input", one], "plan-syntax");
      const empty = installed.path("empty");
      mkdirSync(empty, { recursive: true });
      await expectRefused(["run", empty, "--input", one], "file-missing");
    });
  });

  it("refuses missing weights and inputs before it runs anything", async () => {
    await expectRefused(["run", digits, "--input", one], "weights-missing", "--weights");
    await expectRefused(["run", digits, "--weights", "seed:0"], "missing-input", "images");
    await expectRefused(["run", digits, "--weights", "none.safetensors", "--input", one], "file-missing");
    await expectRefused(
      ["run", digits, "--weights", images, "--input", one],
      "weights-missing",
      "stem.conv.weight",
    );
    const wrong = installed.path("wrong.safetensors");
    writeFileSync(wrong, writeSafetensors({ images: tensor("f32", [1, 1, 9, 9], new Float32Array(81)) }));
    await expectRefused(["run", digits, "--weights", "seed:0", "--input", wrong], "input-shape", "9");
    await expectRefused(["run", digits, "--weights", "seed:0", "--dim", "B=many"], "dim-spec");
    await expectRefused(
      ["run", digits, "--weights", "seed:0", "--device", "nonesuch"],
      "no-device",
      "nonesuch",
    );
  });

  it("measures", async () => {
    const { code, out } = await run(
      "bench",
      digits,
      "--config",
      "tiny",
      "--dim",
      "B=1",
      "--runs",
      "2",
      "--json",
    );
    expect(code).toBe(0);
    expect(JSON.parse(out)).toHaveProperty("adapter");
  });
});

describe("verify", () => {
  const args = ["verify", digits, "--config", "tiny", "--dim", "B=2"];

  it("finds nothing wrong, pass by pass", async () => {
    const { code, out } = await run(...args, "--passes", "--json");
    const json = JSON.parse(out) as { ok: boolean; outputs: unknown[]; passes: PassMeasure[] };
    const allPassesRun = pipeline.filter((p) => p.level <= 1).map((p) => p.name);
    expect(json.ok).toBe(true);
    expect(json.outputs).toHaveLength(1);
    expect(json.passes.map((p) => p.pass)).toEqual(allPassesRun);
    const mixer = json.passes.find((p) => p.pass === "pool-mixer")!;
    expect(mixer).toMatchObject({ contract: "reassociates", allowed: 1e-10, changed: true, ok: true });
    expect(mixer.compared).toBeGreaterThan(10);
    expect(mixer.worst!.difference).toBeLessThan(1e-10);
    expect(code).toBe(0);
  });

  it("holds the outputs against a file, and says where they differ", async () => {
    const few = (path: string, name: string) =>
      readTensors(path).then((t) => ({ [name]: rowsOf(t[name]!, 0, 4) }));
    const input = installed.path("four.safetensors");
    writeFileSync(input, writeSafetensors(await few(images, "images")));
    const right = installed.path("right.safetensors");
    const expected = await few("test/fixtures/digits/digits_poolformer_expected.safetensors", "logits");
    writeFileSync(right, writeSafetensors(expected));
    const whole = ["verify", digits, "--weights", weights, "--input", input, "--expected"];
    expect((await run(...whole, right)).code).toBe(0);
    const { logits } = expected;
    logits!.data[17] = logits!.data[17]! + 0.01;
    const tampered = installed.path("tampered.safetensors");
    writeFileSync(tampered, writeSafetensors({ logits: logits! }));
    const { code, out } = await run(...whole, tampered);
    expect(code).toBe(1);
    expect(out).toMatch(/^BAD +logits .*1\.00e-2/m);
    expect(out).toMatch(/^ok +logits /m);
  });

  it("names a pass that is wrong", async () => {
    const { code, out } = await installed.run([...args, "--passes"], { PLANTED: "swap" });
    expect(code).toBe(1);
    expect(out.match(/^BAD +pass .*$/gm)).toEqual([
      expect.stringMatching(/pass planted: exact, relative difference [\d.]+e[+-]\d+, allowed none;/),
    ]);
    expect(out).toMatch(/^BAD +pass planted.*\n +most in %\d+ = \w+: [\d.]+e[+-]\d+, \S+\.model:\d+:\d+/m);
    expect(out).toMatch(
      /the first wrong step is pass planted, .*, first in %\d+ = sub .*digits_poolformer\.model:\d+/,
    );
  });

  it("names the rule that is wrong, which of its rewrites, and the lines", async () => {
    const { code, out } = await installed.run([...args, "--passes", "--json"], { PLANTED: "rule" });
    expect(code).toBe(1);
    const { fault, passes } = JSON.parse(out) as { fault: Fault; passes: readonly PassMeasure[] };
    const bad = passes.filter((p) => !p.ok);
    expect(bad).toMatchObject([{ pass: "planted", contract: "exact", allowed: 0, changed: true }]);
    // The rule is wrong in one block: the value that is off most was made there, or behind it.
    expect(bad[0]!.worst!.difference).toBeGreaterThan(1e-3);
    expect(bad[0]!.worst!.locations[0]!.file).toMatch(/\.model$/);
    expect(fault).toMatchObject({ pass: "planted", rule: "add-as-sub" });
    expect(fault.rewrite!.number).toBeGreaterThan(1);
    expect(fault.rewrite!.number).toBeLessThan(fault.rewrite!.of);
    expect(fault.after!.join()).toContain("= sub ");
    expect(fault.locations[0]!.file).toMatch(/\.model$/);
    expect(fault.text).toContain(`rewrite ${fault.rewrite!.number} of ${fault.rewrite!.of}`);
  });
});

describe("our own mistakes", () => {
  it("exit with 2 and leave a report", async () => {
    const { code, out, err } = await installed.run(["ir", digits, "--config", "tiny"], {
      PLANTED: "throw",
      TMPDIR: installed.folder,
    });
    expect(code).toBe(2);
    expect(out).toBe("");
    expect(err).toContain("not your fault");
    const file = /a report is in (\S+)/.exec(err)?.[1];
    expect(file).toBeDefined();
    const report = readFileSync(file!, "utf8");
    expect(report).toContain("pass planted: planted failure");
    expect(report).toContain("--- graph");
    expect(report).toContain(`arguments: ir ${digits}`);
  });
});
