// Several entry points in one plan, and weights of several checkpoints, from the command line.

import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Plan } from "../../src/ir/plan.ts";
import type { Tensor } from "../../src/ir/tensor.ts";
import { writeSafetensors } from "../../src/runtime/safetensors.ts";
import { seededTensor } from "../../src/runtime/seeded.ts";
import { Installed, type Ran } from "./support.ts";

const model = "test/cli/cascade.model";
const all = ["--model", "quick,thorough,cascade"];
const x = ["--input", "x=seed:x", "--dim", "B=1", "T=3"];

const installed = new Installed();
const run = (...args: readonly string[]): Promise<Ran> => installed.run(args);

beforeAll(() => installed.build());
afterAll(() => installed.remove());

interface RunJson {
  readonly entry: string;
  readonly outputs: Readonly<Record<string, { readonly data: readonly number[] }>>;
}

async function outputs(...args: readonly string[]): Promise<RunJson> {
  const { code, out, err } = await run("run", ...args, "--json");
  expect(err).not.toContain("error[");
  expect(code).toBe(0);
  return JSON.parse(out) as RunJson;
}

async function refused(args: readonly string[], code: string, ...words: readonly string[]): Promise<void> {
  const { code: exit, err } = await run(...args);
  expect(err).toContain(`error[${code}]`);
  for (const w of words) expect(err).toContain(w);
  expect(exit).toBe(1);
}

describe("several entry points", () => {
  it("run from one folder, as each does alone", async () => {
    const folder = installed.path("three");
    expect((await run("compile", model, ...all, "--weights", "seed:0", "-o", folder)).code).toBe(0);
    const plan = JSON.parse(readFileSync(`${folder}/plan.json`, "utf8")) as Plan;
    expect(plan.entries.map((e) => e.name)).toEqual(["quick", "thorough", "cascade"]);
    // What the cascade reads is there once, with the norms that are folded into it.
    const alone = ["quick", "thorough"].flatMap((name) =>
      plan.constants.filter((c) => c.id.startsWith(name)),
    );
    expect(plan.constants.filter((c) => c.id.startsWith("cascade"))).toEqual([]);
    expect(alone.length).toBeGreaterThan(0);
    for (const name of ["quick", "cascade"]) {
      const own = await outputs(model, "--model", name, "--weights", "seed:0", ...x);
      const shared = await outputs(folder, "--entry", name, ...x);
      expect(shared.entry).toBe(name);
      expect(shared.outputs).toEqual(own.outputs);
    }
    expect((await outputs(folder, ...x)).entry).toBe("quick");
    await refused(["run", folder, "--entry", "cascad", ...x], "unknown-entry", "cascade");
  });

  it("are verified one by one, each with its own sizes", async () => {
    const { code, out } = await run("verify", model, ...all, "--dim", "B=1", "T=3", "N=2", "--json");
    const json = JSON.parse(out) as { ok: boolean; outputs: { entry: string; name: string }[] };
    expect(json.outputs.map((o) => `${o.entry} ${o.name}`)).toEqual([
      "quick y",
      "thorough y",
      "cascade y",
      "cascade score",
    ]);
    expect(json.ok).toBe(true);
    expect(code).toBe(0);
  });

  it("are measured one at a time", async () => {
    const { code, out } = await run(
      ...["bench", model, ...all, "--entry", "cascade", "--dim", "B=1", "T=3", "--runs", "1", "--json"],
    );
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ entry: "cascade", dispatches: 7 });
  });

  it("are refused where one is meant", async () => {
    await refused(["export", model, ...all], "which-entry", "--model");
    await refused(["verify", model, ...all, "--expected", "none"], "which-entry", "--entry");
    await refused(["check", model, "--model", "quick,quick"], "duplicate-model", "quick");
    await refused(["check", model, "--model", "quick,thoruogh"], "unknown-model", "thorough");
  });
});

describe("weights of several checkpoints", () => {
  const checkpoint = async (
    namespace: string,
    change: (t: Record<string, Tensor>) => void,
  ): Promise<string> => {
    const listed = JSON.parse((await run("weights", model, "--json")).out) as {
      key: string;
      namespace: string;
      shape: string[];
    }[];
    const own = listed.filter((w) => w.namespace === namespace);
    const tensors = Object.fromEntries(
      own.map((w) => [w.key.slice(w.key.indexOf(":") + 1), seededTensor(w.key, w.shape.map(Number))]),
    );
    change(tensors);
    const path = installed.path(`${namespace || "rest"}.safetensors`);
    writeFileSync(path, writeSafetensors(tensors));
    return path;
  };
  const asItIs = (): void => undefined;

  it("are listed with the models that use them", async () => {
    const { out } = await run("weights", model, ...all, "--json");
    const listed = JSON.parse(out) as { key: string; models: string[] }[];
    expect(new Set(listed.map((w) => w.key)).size).toBe(listed.length);
    expect(listed.find((w) => w.key === "small:fc1.weight")!.models).toEqual(["quick", "cascade"]);
    expect((await run("weights", model)).out).toContain("small=FILE.safetensors large=FILE.safetensors");
  });

  it("are read by the names inside each", async () => {
    const seeded = await outputs(model, "--weights", "seed:0", ...x);
    const small = await checkpoint("small", asItIs);
    const large = await checkpoint("large", asItIs);
    const rest = await checkpoint("", asItIs);
    const read = await outputs(model, "--weights", `small=${small}`, `large=${large}`, rest, ...x);
    expect(read.outputs).toEqual(seeded.outputs);
    const half = await outputs(model, "--weights", `small=${small}`, "seed:0", ...x);
    expect(half.outputs).toEqual(seeded.outputs);
    const other = await outputs(model, "--weights", "small=seed:1", "seed:0", ...x);
    expect(other.outputs).not.toEqual(seeded.outputs);
  });

  it("are refused with the name that is wrong", async () => {
    const large = await checkpoint("large", asItIs);
    const small = await checkpoint("small", (t) => {
      t["fc1.wieght"] = t["fc1.weight"]!;
      delete t["fc1.weight"];
    });
    const go = (...specs: readonly string[]) => ["run", model, "--weights", ...specs, ...x];
    await refused(go(`small=${small}`, "seed:0"), "weights-missing", `small=${small}`, "is it fc1.wieght?");
    await refused(go(`small=${small}`), "weights-missing", "no checkpoint is given for large");
    await refused(go(`lage=${large}`, "seed:0"), "weights-namespace", "is it large?");
    await refused(go("small=seed:1", `small=${small}`), "weights-spec", "small");
    await refused(go(`small=${small}`, `small=${small}`, "seed:0"), "weights-shard-duplicate", "small");
    // The names are equal, the sizes are not.
    await refused(go(`small=${large}`, "seed:0"), "weights-shape", "fc1.weight");
  });
});

describe("run --state", () => {
  const counting = `model counting (x: f32[B]) -> (total: f32[]) {
  state total: f32[] = 1
  total = total + sum(x, axes = [0])
  return total = total
}
`;

  it("begins with the file where it is there, and writes it", async () => {
    const [file, states] = [installed.path("counting.model"), installed.path("states.safetensors")];
    writeFileSync(file, counting);
    const totals: number[] = [];
    for (let i = 0; i < 3; i++) {
      const { out, code } = await installed.run([
        ...["run", file, "--weights", "seed:0", "--input", "x=2", "--dim", "B=3"],
        ...["--state", states, "--json"],
      ]);
      expect(code).toBe(0);
      totals.push((JSON.parse(out) as { outputs: { total: { data: number[] } } }).outputs.total.data[0]!);
    }
    expect(totals).toEqual([7, 13, 19]);
  });

  it("is refused where there is none, and where the file is of another model", async () => {
    const { err, code } = await installed.run([
      ...["run", "examples/digits_poolformer.model", "--weights", "seed:0", "--dim", "B=1"],
      ...["--input", "images=zeros", "--state", installed.path("none.safetensors")],
    ]);
    expect(err).toContain("error[no-state]");
    expect(code).toBe(1);
    const other = await installed.run([
      ...["run", installed.path("counting.model"), "--weights", "seed:0", "--input", "x=2", "--dim", "B=3"],
      ...["--state", "examples/data/digits_linear.safetensors"],
    ]);
    expect(other.err).toContain("error[");
    expect(other.err).toContain("total");
    expect(other.code).toBe(1);
  });
});
