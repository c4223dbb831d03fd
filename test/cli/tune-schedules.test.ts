// Schedules measured, kept, used, shipped with a folder, and refused where they are of another adapter or damaged; on the command line.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Installed, type Ran } from "./support.ts";

const installed = new Installed();
const folder = mkdtempSync(join(tmpdir(), "tokenloom-tuned-"));
const at = (name: string): string => join(folder, name);
const run = (...args: readonly string[]): Promise<Ran> =>
  installed.run(args, { TOKENLOOM_CACHE: at("cache") });

interface Report {
  readonly kept: string | null;
  readonly kernels: readonly {
    readonly kernel: string;
    readonly structure: string;
    readonly sizes: Readonly<Record<string, number>>;
    readonly tuned: string;
    readonly candidates: readonly { readonly text: string; readonly milliseconds: number }[];
  }[];
}

let report: Report;

beforeAll(async () => {
  await installed.build();
  writeFileSync(
    at("m.model"),
    "model m (x: f32[B, 64]) -> f32[B, 32] { return gelu(x |> linear(out = 32) @fc) }\n",
  );
  const tuning = ["tune-schedules", at("m.model"), "--dim", "B=49", "--candidates", "2", "--rounds", "3"];
  const { out, code, err } = await run(...tuning, "--json");
  expect(code, err).toBe(0);
  report = JSON.parse(out) as Report;
}, 120_000);

afterAll(() => {
  installed.remove();
  rmSync(folder, { recursive: true, force: true });
});

const plan = (name: string) =>
  JSON.parse(readFileSync(at(`${name}/plan.json`), "utf8")) as {
    target: { adapter: string; subgroupSize: number };
    entries: { dispatches: { schedule: string; why: string }[] }[];
  };
const compile = (name: string, ...more: readonly string[]): Promise<Ran> =>
  run("compile", at("m.model"), "--weights", "seed:0", "--dim", "B=49", "-o", at(name), "--force", ...more);

/** A table with a schedule that no ranking has. */
function tableFor(adapter: string): string {
  const schedule = "register:threads=8x8,tile=3x1,width=4,step=4,split=1,epilogue=direct";
  const { kernel, structure, sizes } = report.kernels[0]!;
  const tried = [{ schedule, predictedMilliseconds: 1, milliseconds: 1, shaderMilliseconds: 1 }];
  const entries = [{ structure, kernel, sizes, schedule, firstRunWeight: 0, tried }];
  const path = at("other.json");
  writeFileSync(path, JSON.stringify({ format: "tokenloom-schedules", version: 1, adapter, entries }));
  return path;
}

describe("tune-schedules", () => {
  it("measures the untuned schedule and others, and takes one of them", () => {
    const [kernel] = report.kernels;
    expect(kernel!.sizes).toMatchObject({ rows: 49, columns: 32, reduction: 64 });
    expect(kernel!.candidates.length).toBeGreaterThanOrEqual(2);
    for (const c of kernel!.candidates) expect(c.milliseconds).toBeGreaterThan(0);
    expect(kernel!.candidates.map((c) => c.text)).toContain(kernel!.tuned);
  });

  it("ships with a folder what it was compiled with, and says so in the log", async () => {
    await compile("plain", "--tuned", "none");
    const { adapter } = plan("plain").target;
    const made = await compile("tuned", "--tuned", tableFor(adapter));
    expect(made.code, made.err).toBe(0);
    const [dispatch] = plan("tuned").entries[0]!.dispatches;
    expect(dispatch!.schedule).toContain("tile=3x1");
    expect(dispatch!.why).toMatch(/^tuned, from .*other.json, measured at 49 rows/);
    // The folder is a source as the file was.
    await compile("again", "--tuned", at("tuned"));
    expect(plan("again").entries[0]!.dispatches[0]!.schedule).toContain("tile=3x1");
  });

  it("says which are of another adapter, and does not use them", async () => {
    const made = await compile("elsewhere", "--tuned", tableFor("another adapter"));
    expect(made.code).toBe(0);
    expect(made.err).toContain("tuned on another adapter");
    expect(plan("elsewhere").entries[0]!.dispatches[0]!.schedule).not.toContain("tile=3x1");
  });

  it("refuses a file that is damaged, or is not there", async () => {
    writeFileSync(
      at("bad.json"),
      '{"format": "tokenloom-schedules", "version": 1, "adapter": "x", "entries": [1]}',
    );
    const bad = await compile("bad", "--tuned", at("bad.json"));
    expect(bad.code).toBe(1);
    expect(bad.err).toContain("entry 0 is no record");
    const none = await compile("none", "--tuned", at("missing"));
    expect(none.code).toBe(1);
    expect(none.err).toContain("holds no tuned schedules");
  });

  it("refuses numbers out of range", async () => {
    const tuning = ["tune-schedules", at("m.model"), "--dim", "B=49"];
    for (const flag of ["--candidates=0", "--rounds=x", "--budget=-1"]) {
      const { code, err } = await run(...tuning, flag);
      expect(code).toBe(1);
      expect(err).toContain("tune-schedules");
    }
    expect((await run(...tuning, "--first-run-weight=-1")).err).toContain("first-run-weight");
  });
});
