// Tuning from the command line: two workers and one log, a log replayed, and what is refused.

import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Installed } from "./support.ts";

const model = "examples/digits_poolformer.model";
const data = "examples/data/digits_test.safetensors";
const rows = ["--rows", "8", "--only", "head.fc.*", "--weights", "seed:0"];
const tuning = ["tune", model, ...rows, "--input", data, "--labels", data];

const installed = new Installed();
const path = (name: string): string => installed.path(name);

beforeAll(() => installed.build());
afterAll(() => installed.remove());

async function done(...args: readonly string[]): Promise<Record<string, unknown>> {
  const { code, out, err } = await installed.run([...args, "--json"]);
  expect(err).not.toContain("error[");
  expect(code).toBe(0);
  return JSON.parse(out) as Record<string, unknown>;
}

async function refused(args: readonly string[], code: string, words: string): Promise<void> {
  const { code: exit, err } = await installed.run(args);
  expect(err).toContain(`error[${code}]`);
  expect(err).toContain(words);
  expect(exit).toBe(1);
}

describe("tune", () => {
  it("is the same with two workers as with one, and from its log", async () => {
    const [alone, a, b, joined] = ["alone.log", "a.log", "b.log", "joined.log"].map(path);
    const report = await done(...tuning, "--steps", "1", "--log", alone!, "-o", path("alone.safetensors"));
    expect(report).toMatchObject({ weights: 2, steps: 1, directions: 4 });
    for (const [i, log] of [a, b].entries()) await done(...tuning, "--worker", `${i}/2`, "--log", log!);
    expect(await done("tune-merge", b!, a!, "--log", joined!)).toEqual({ directions: 4, steps: 1 });
    expect(readFileSync(joined!)).toEqual(readFileSync(alone!));
    await done("tune", model, ...rows, "--from", joined!, "--steps", "0", "-o", path("again.safetensors"));
    expect(readFileSync(path("again.safetensors"))).toEqual(readFileSync(path("alone.safetensors")));
  });

  it("says what is wrong", async () => {
    await refused([...tuning, "--only", "neck.*"], "tune-only", "neck.*");
    await refused([...tuning, "--loss", "logit"], "tune-output", "it has logits");
    await refused([...tuning, "--epsilon", "0"], "tune-number", "--epsilon 0");
    await refused([...tuning, "--worker", "2/2"], "tune-number", "0/2");
    await refused([...tuning, "--holdout", "360"], "tune-data", "360 rows");
    await refused(["tune", model, ...rows], "tune-data", "--labels");
    writeFileSync(path("not.log"), "hello");
    await refused([...tuning, "--from", path("not.log")], "tune-log", "not.log");
    await refused(["tune-merge", path("not.log"), "--log", path("x.log")], "tune-log", "not.log");
  });
});

describe("calibrate-router", () => {
  it("says what is wrong, and runs over data", async () => {
    const moe = ["calibrate-router", "examples/digits_moe.model", "--weights", "seed:0", "--input", data];
    await refused(
      ["calibrate-router", model, ...rows.slice(4), "--input", data],
      "no-router",
      "BiasedRouter",
    );
    await refused([...moe, "--rule", "nosign"], "calibrate-number", "--rule nosign");
    await refused([...moe, "--batches", "0"], "calibrate-number", "--batches 0");
    const out = path("biases.safetensors");
    const report = await done(...moe, "--config", "tiny", "--batches", "1", "--rows", "8", "-o", out);
    expect(report).toMatchObject({ rule: "sign", batches: 1 });
    expect((report["after"] as { routers: unknown[] }).routers.length).toBe(2);
    expect(readFileSync(out).length).toBeGreaterThan(100);
  });
});
