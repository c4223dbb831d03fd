// Stopping and going on, passes by name, and single kernels, from the command line.

import { cpSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Installed, type Ran } from "./support.ts";

const digits = "examples/digits_poolformer.model";
const tiny = [digits, "--config", "tiny"];

const installed = new Installed();
const run = (...args: readonly string[]): Promise<Ran> => installed.run(args);
const path = (name: string): string => installed.path(name);

beforeAll(() => installed.build());
afterAll(() => installed.remove());

async function done(...args: readonly string[]): Promise<string> {
  const { code, out, err } = await run(...args);
  expect(err.replace(/^Warning: .*\n/gm, "")).toBe("");
  expect(code).toBe(0);
  return out;
}

async function refused(args: readonly string[], code: string, ...words: readonly string[]): Promise<void> {
  const { code: exit, out, err } = await run(...args);
  expect(err).toContain(`error[${code}]`);
  for (const w of words) expect(err).toContain(w);
  expect(out).toBe("");
  expect(exit).toBe(1);
}

function filesOf(folder: string): Readonly<Record<string, string>> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
  return Object.fromEntries(
    names.map((e) => {
      const file = join(e.parentPath, e.name);
      return [file.slice(folder.length), readFileSync(file, "base64")];
    }),
  );
}

describe("compile --to and --from", () => {
  it("give the folder that compiling in one go gives, without the model file", async () => {
    const whole = path("whole");
    await done("compile", ...tiny, "--weights", "seed:0", "--target", "baseline", "-o", whole);
    const first = path("first.ir");
    const said = await done("compile", ...tiny, "--to", "pool-mixer", "--target", "baseline", "-o", first);
    expect(said).toContain(`tokenloom compile --from ${first}`);
    const second = path("second.ir");
    await done("compile", "--from", first, "--to", "decompose", "-o", second);
    expect(readFileSync(second, "utf8")).toContain('"decompose"');
    const folder = path("from-text");
    await done("compile", "--from", second, "--weights", "seed:0", "-o", folder);
    expect(filesOf(folder)).toEqual(filesOf(whole));
    // Any command takes the text where it takes a model.
    const args = ["--weights", "seed:0", "--input", "images=seed:images", "--dim", "B=1", "--json"];
    const outputs = async (file: readonly string[]): Promise<unknown> =>
      (JSON.parse((await run("run", ...file, ...args)).out) as { outputs: unknown }).outputs;
    expect(await outputs([second])).toEqual(await outputs(tiny));
  });

  it("keep what was asked for beside passes: sizes, a way for experts, widths of weights", async () => {
    const asked = [
      "--experts",
      "gather",
      "--quantize",
      "int4:group=8",
      "--dim",
      "T=3",
      "--target",
      "baseline",
    ];
    const moe = ["examples/moe_layers.model", "--config", "tiny", ...asked];
    const whole = path("whole-experts");
    await done("compile", ...moe, "--weights", "seed:0", "-o", whole);
    expect(readFileSync(join(whole, "plan.json"), "utf8")).toContain('"i4"');
    for (const pass of ["canonicalize", "quantize-weights"]) {
      const text = path(`experts-${pass}.ir`);
      await done("compile", ...moe, "--to", pass, "-o", text);
      const folder = path(`experts-from-${pass}`);
      await done("compile", "--from", text, "--weights", "seed:0", "-o", folder);
      expect(filesOf(folder), pass).toEqual(filesOf(whole));
    }
    const text = path("experts-canonicalize.ir");
    writeFileSync(text, readFileSync(text, "utf8").replace('"gather"', '"gathered"'));
    await refused(["compile", "--from", text], "ir-compilation", "gathered", "gather, sort");
  });

  it("refuse what makes no sense", async () => {
    const text = path("at-decompose.ir");
    await done("compile", ...tiny, "--to", "decompose", "--target", "baseline", "-o", text);
    await refused(["compile", ...tiny, "--to", "decompose", "-o", text], "output-exists", "--force");
    await refused(["compile", ...tiny, "--to", "decompos"], "unknown-pass", "did you mean decompose?");
    await refused(["compile", digits, "--from", text], "compile-from");
    await refused(["compile", "--from", text, "--to", "canonicalize"], "pass-done", "stopped earlier");
    await refused(["compile", "--from", text, "--set", "classes=3"], "ir-settings", "--set");
  });
});

describe("passes by name", () => {
  it("run on text in the order given, and give text that can be gone on with", async () => {
    const text = path("source.ir");
    await done("compile", ...tiny, "--to", "none", "--target", "baseline", "-o", text);
    const opted = await done("opt", text, "--passes", "canonicalize,pool-mixer");
    expect(opted).toContain('"passes": ["canonicalize", "pool-mixer"]');
    expect(opted).toContain("= avg_pool2d %0");
    const file = path("opted.ir");
    await done("opt", text, "--passes", "canonicalize,pool-mixer", "-o", file);
    expect(readFileSync(file, "utf8")).toBe(opted);
    const diff = await done("opt", text, "--passes", "pool-mixer", "--diff");
    expect(diff).toMatch(/^\/\/ 01 pool-mixer \(reassociates\): .*x2$/m);
    expect(diff).toMatch(/^- .* = group_norm/m);
    expect(await done("ir", text, "--passes", "pool-mixer", "--diff", "--no-locations")).toBe(`${diff}\n`);
  });

  it("are refused where they are unknown, or the graph is not ready", async () => {
    await refused(["opt", digits, "--passes", "pool-mixr"], "unknown-pass", "pool-mixer");
    await refused(["opt", digits, "--passes", "form-groups"], "pass-needs", "decompose");
  });
});

describe("one kernel", () => {
  const folder = path("kernel");

  it("runs and is measured alone, on what it read in the model", async () => {
    const made = await done(
      "ir",
      ...tiny,
      "--stage",
      "kernel",
      "--extract",
      "3",
      "--dim",
      "B=2",
      "-o",
      folder,
    );
    const name = /kernel (\w+) as dispatch/.exec(made)![1]!;
    expect(readdirSync(join(folder, "kernels")).sort()).toEqual([`${name}.kernel`, `${name}.wgsl`]);
    const ran = JSON.parse(await done("run", folder, "--json")) as { differenceFromRecorded: number };
    expect(ran.differenceFromRecorded).toBe(0);
    const measured = JSON.parse(await done("bench", folder, "--runs", "2", "--json")) as object;
    expect(measured).toMatchObject({ entry: name, dispatches: 1, runs: 2 });
    // With another constant the outputs are not those recorded, and it says so.
    const changed = path("changed");
    cpSync(folder, changed, { recursive: true });
    const constants = readFileSync(join(changed, "constants.bin"));
    constants.writeFloatLE(1000, 0);
    writeFileSync(join(changed, "constants.bin"), constants);
    const other = JSON.parse(await done("run", changed, "--json")) as { differenceFromRecorded: number };
    expect(other.differenceFromRecorded).toBeGreaterThan(1e-3);
  });

  it("is refused where there is none, or it cannot be", async () => {
    const extract = (...more: readonly string[]): readonly string[] => [
      "ir",
      ...tiny,
      "--dim",
      "B=1",
      ...more,
    ];
    await refused(extract("--extract", "0"), "extract-stage", "--stage kernel");
    const kernels = ["--stage", "kernel", "--extract"];
    await refused(extract(...kernels, "conv2d_gel"), "unknown-kernel", "did you mean conv2d_gelu");
    await refused(["run", folder, "--weights", "seed:0"], "folder-flag", "--weights");
    await refused(["bench", folder, "--set", "a=1"], "folder-flag", "--set");
  });
});
