// Tuning from the command line: two workers and one log, a log replayed, a head fitted, layers ranked, and what is refused.

import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readTensors } from "../models/support.ts";
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

describe("fit-head", () => {
  const pixels = path("pixels.model");
  const fit = ["--weights", "seed:0", "--input", data, "--labels", data];

  beforeAll(() => {
    writeFileSync(
      pixels,
      `model pixels (images: f32[B, C = 1, H = 8, W = 8]) -> (logits: f32[B, 10]) {
  return images |> reshape(dims = [B, 64]) |> linear(out = 10) @head
}
`,
    );
  });

  it("fits a head to pixels that the model runs, and that is right where the definition is", async () => {
    const out = path("head.safetensors");
    const report = await done("fit-head", pixels, ...fit, "--holdout", "100", "-o", out);
    const { images, labels: classes } = await readTensors(data);
    const labels = Array.from(classes!.data);
    const right = quadratic(images!.data, labels, 260);
    const share = (from: number, to: number) => right.slice(from, to).filter(Boolean).length / (to - from);
    expect(report).toMatchObject({
      ...{ head: "head", rows: 260, heldOut: 100, classes: 10, features: 64, degenerate: 0 },
      accuracy: { fitted: share(0, 260), heldOut: share(260, 360) },
    });
    expect(report["constant"]).toBeGreaterThan(0);
    const ran = await done("run", pixels, "--weights", out, "--input", data);
    const { logits } = ran["outputs"] as { logits: { shape: number[]; data: number[] } };
    const same = right.map((r, i) => r === (largest(logits.data.slice(i * 10, i * 10 + 10)) === labels[i]));
    expect(same).not.toContain(false);
  });

  it("writes the whole checkpoint, or a head for features that a model gives", async () => {
    const trained = ["--weights", "examples/data/digits_poolformer.safetensors", ...fit.slice(2)];
    const whole = path("whole.safetensors");
    const report = await done("fit-head", model, ...trained, "--batch", "50", "--whole", "-o", whole);
    expect(report).toMatchObject({ head: "head.fc", features: 64, rows: 360 });
    const [before, after] = [await readTensors(trained[1]!), await readTensors(whole)];
    expect(Object.keys(after).sort()).toEqual(Object.keys(before).sort());
    for (const [key, t] of Object.entries(before))
      if (!key.startsWith("head.fc.")) expect(after[key]).toEqual(t);
    const probe = path("probe.safetensors");
    const flags = ["--features", "logits", "--head", "probe", "-o", probe];
    expect(await done("fit-head", pixels, ...fit, ...flags)).toMatchObject({ head: "probe", features: 10 });
    expect(Object.keys(await readTensors(probe)).sort()).toEqual(["probe.bias", "probe.weight"]);
  });

  it("says what is wrong", async () => {
    await refused(["fit-head", pixels, ...fit, "--head", "neck"], "fit-layer", "no linear layer neck");
    await refused(["fit-head", pixels, ...fit.slice(0, 4)], "fit-data", "--labels");
    await refused(["fit-head", pixels, ...fit, "--holdout", "355"], "fit-data", "no row of the 5");
    await refused(["fit-head", pixels, ...fit, "--epsilon", "0"], "fit-data", "--epsilon 0");
    const few = ["fit-head", pixels, ...fit, "--features", "images"];
    await refused(few, "fit-layer", "the model has no output images");
  });
});

describe("rank-layers", () => {
  const vit = "examples/digits_vit.model";

  it("ranks the layers of the digits as leaving them out does", async () => {
    const trained = ["--weights", "examples/data/digits_vit.safetensors", "--input", data];
    const report = await done("rank-layers", vit, ...trained, "--batch", "120");
    expect(report["rows"]).toBe(360);
    const layers = report["layers"] as { layer: number; influence: number; reduce: string }[];
    expect(layers.map((l) => l.layer)).toEqual([3, 2, 1, 0]);
    expect(layers[1]!.reduce).toBe("drop_layers:layers=[2,3]");
    const again = await done("rank-layers", vit, ...trained, "--reduce", layers[0]!.reduce);
    const [gone] = again["layers"] as typeof layers;
    expect(gone!.layer).toBe(3);
    expect(Math.abs(gone!.influence)).toBeLessThan(1e-5);
  });

  it("says what is wrong", async () => {
    await refused(["rank-layers", model, ...rows.slice(4), "--input", data], "rank-layers", "no attention");
    await refused(["rank-layers", vit, "--weights", "seed:0"], "rank-layers", "--input");
  });
});

const largest = (z: ArrayLike<number>): number => Array.from(z).indexOf(Math.max(...Array.from(z)));

/** Whether each row is right by scores with squares, as the definition has them; fitted to the first rows. */
function quadratic(x: ArrayLike<number>, labels: readonly number[], fitted: number): boolean[] {
  const row = (r: number) => Array.from({ length: 64 }, (_, j) => x[r * 64 + j]!);
  const of = Array.from({ length: 10 }, (_, k) =>
    labels.slice(0, fitted).flatMap((l, r) => (l === k ? [row(r)] : [])),
  );
  const mean = (v: readonly number[]) => v.reduce((a, b) => a + b, 0) / v.length;
  const moments = of.map((rows) =>
    row(0).map((_, j) => {
      const m = mean(rows.map((v) => v[j]!));
      return { m, s: mean(rows.map((v) => (v[j]! - m) ** 2)) + 1e-9 };
    }),
  );
  const variance = row(0).map((_, j) =>
    of.reduce((a, rows, k) => a + (rows.length / fitted) * moments[k]![j]!.s, 0),
  );
  return labels.map((label, r) => {
    const scores = of.map((rows, k) =>
      row(r).reduce(
        (sum, v, j) => sum - (v - moments[k]![j]!.m) ** 2 / variance[j]! / 2,
        Math.log(rows.length / fitted),
      ),
    );
    return largest(scores) === label;
  });
}
