// Capsules: packed here, run again from the zip alone, and refused where they are not what was packed.

import { readFileSync, writeFileSync } from "node:fs";
import { strFromU8, strToU8, unzipSync, zipSync, type Zippable } from "fflate";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readRecord, type CapsuleRecord } from "../../src/cli/capsule-format.ts";
import { readZip } from "../../src/cli/zip.ts";
import { InputError } from "../../src/index.ts";
import { Installed, type Ran } from "./support.ts";

const digits = "examples/digits_poolformer.model";
const installed = new Installed();
const zip = installed.path("bug.zip");
const small = installed.path("small.zip");

beforeAll(async () => {
  await installed.build();
  const args = [
    "capsule",
    digits,
    "--config",
    "tiny",
    "--set",
    "classes=3",
    "--without",
    "norm-into-linear",
    "--dim",
    "B=2",
  ];
  const { code, out } = await installed.run([...args, "-o", zip, "--with-weights", "--with-inputs"]);
  expect([code, out]).toEqual([0, expect.stringContaining("tokenloom replay")]);
  const weights = ["--weights", "examples/data/digits_poolformer.safetensors"];
  const ran = await installed.run(["capsule", digits, ...weights, "--dim", "B=1", "-o", small]);
  expect(ran.out).toContain("left out: the values of weights and inputs");
});

afterAll(() => installed.remove());

interface Replayed {
  readonly ok: boolean;
  readonly ran: string;
  readonly changed?: string;
  readonly recorded: readonly { readonly name: string; readonly hash: string }[];
  readonly outputs: readonly { readonly name: string; readonly hash?: string; readonly difference: number }[];
  readonly kernel?: string;
}

async function replay(...args: readonly string[]): Promise<Replayed> {
  // Another folder: nothing but the zip is needed.
  const { code, out } = await installed.run(["replay", ...args, "--json"]);
  const read = JSON.parse(out) as Replayed;
  expect(code).toBe(read.ok ? 0 : 1);
  return read;
}

describe("replay", () => {
  it("runs the capsule again, to the same bits on the same adapter", async () => {
    const again = await replay(zip);
    expect(again.ok).toBe(true);
    expect(again.changed).toBeUndefined();
    expect(again.outputs.map((o) => [o.name, o.hash])).toEqual(again.recorded.map((o) => [o.name, o.hash]));
  });

  it("runs on the CPU, whole or one kernel", async () => {
    const cpu = await replay(zip, "--cpu");
    expect(cpu.ran).toContain("kernel interpreter");
    expect(cpu.ok).toBe(true);
    const one = await replay(zip, "--kernel", "3", "--cpu");
    expect(one).toMatchObject({ ok: true, outputs: [{ difference: 0 }] });
    expect(one.kernel).toMatch(/^\w+$/);
    expect((await replay(zip, "--kernel", one.kernel!)).ok).toBe(true);
  });

  it("says which stage is another one now", async () => {
    const { code, out } = await installed.run(["replay", zip, "--cpu"], { PLANTED: "swap" });
    expect(out).toMatch(/the first stage that is another now: ir\/0-digits_poolformer\/\d\d-planted\.ir/);
    expect(out).toMatch(/^BAD +logits/m);
    expect(code).toBe(1);
  });

  it("asks for values that were left out", async () => {
    const refused = await installed.run(["replay", small, "--cpu"]);
    expect(refused.err).toContain("error[capsule-values]");
    expect(refused.err).toContain("--with-weights");
    expect(refused.code).toBe(1);
  });
});

describe("what is packed", () => {
  const files = (): Record<string, Uint8Array> => unzipSync(readFileSync(zip));
  const record = (): CapsuleRecord => JSON.parse(strFromU8(files()["capsule.json"]!)) as CapsuleRecord;

  it("is all that the run depended on", () => {
    const names = Object.keys(files());
    for (const part of [
      /^model\/0-digits_poolformer\.model$/,
      /^model\/\d-layers\.model$/,
      /\/00-source\.ir$/,
      /pool-mixer\.ir$/,
      /form-groups\.ir$/,
      /\.kernel$/,
      /\.wgsl$/,
      /^plan\.json$/,
      /^source\.ir$/,
      /^weights\.safetensors$/,
      /^inputs\.safetensors$/,
    ])
      expect(
        names.some((n) => part.test(n)),
        String(part),
      ).toBe(true);
    const r = record();
    expect(r.options).toMatchObject({ config: "tiny", set: { classes: "3" }, without: ["norm-into-linear"] });
    expect(r.adapter.toggles.on.length).toBeGreaterThan(0);
    expect(r.results).toMatchObject([{ name: "logits", shape: [2, 3] }]);
    expect(r.weights).toEqual(["seed:0"]);
    expect(strFromU8(files()["plan.json"]!)).toContain('"schedule"');
    // Only what was asked for: neither values nor folders of this machine.
    const other = unzipSync(readFileSync(small));
    expect(Object.keys(other).some((n) => n.endsWith(".safetensors"))).toBe(false);
    const text = strFromU8(other["capsule.json"]!);
    expect((JSON.parse(text) as CapsuleRecord).weights).toEqual(["digits_poolformer.safetensors"]);
    expect(text).not.toContain(process.cwd());
  });

  it("is refused where it is not what it was", () => {
    const read = (change: (all: Record<string, Uint8Array>) => void): (() => CapsuleRecord) => {
      const all = files();
      change(all);
      return () => readRecord(readZip(zipSync(all), "x.zip"), "x.zip");
    };
    const changed = (change: (r: Record<string, unknown>) => void) =>
      read((all) => {
        const r = { ...record() } as Record<string, unknown>;
        change(r);
        all["capsule.json"] = strToU8(JSON.stringify(r));
      });
    expect(read(() => undefined)().root).toBe(digits);
    expect(read((all) => (all["plan.json"] = strToU8("{}")))).toThrow(/plan\.json is not what was packed/);
    expect(read((all) => delete all["source.ir"])).toThrow(/source\.ir is missing/);
    expect(read((all) => delete all["capsule.json"])).toThrow(/no capsule\.json/);
    expect(read((all) => (all["capsule.json"] = strToU8("{")))).toThrow(/not JSON/);
    expect(changed((r) => (r["version"] = 99))).toThrow(/version 99/);
    for (const name of ["sources", "options", "dims", "target", "adapter", "results", "files", "tolerance"])
      expect(
        changed((r) => (r[name] = null)),
        name,
      ).toThrow(new RegExp(`its ${name} cannot be read`));
  });
});

describe("a zip that is not trusted", () => {
  const refused = (bytes: Uint8Array, why: RegExp): void => {
    expect(() => readZip(bytes, "x.zip")).toThrow(InputError);
    expect(() => readZip(bytes, "x.zip")).toThrow(why);
  };
  const named = (name: string): Uint8Array => zipSync({ [name]: strToU8("x") } as Zippable);

  it.each([
    "../up",
    "a/../../b",
    "/abs",
    "C:/x",
    "a\\b",
    "a//b",
    "..",
    ".hidden",
    "a/./b",
    "nul\u0000",
    "a/",
  ])("does not take the name %j", (name) => refused(named(name), /leads elsewhere|damaged/));

  it("does not unpack what is too much", () => {
    refused(zipSync({ bomb: new Uint8Array(2 ** 26) }, { level: 9 }), /times its size/);
    const many = Object.fromEntries(Array.from({ length: 5001 }, (_, i) => [`f${i}`, new Uint8Array(0)]));
    refused(zipSync(many), /more than 5000 files/);
    // A size that is claimed smaller than it is is never exceeded.
    const honest = zipSync({ a: new Uint8Array(5000).fill(65) }, { level: 9 });
    const lying = honest.slice();
    const view = new DataView(lying.buffer);
    for (let i = 0; i + 4 <= lying.length; i++)
      if (view.getUint32(i, true) === 5000) view.setUint32(i, 10, true);
    let size = 0;
    try {
      size = readZip(lying, "x.zip").get("a")!.length;
    } catch (e) {
      expect(e).toBeInstanceOf(InputError);
    }
    expect(size).toBeLessThanOrEqual(10);
  });

  it("never fails in another way, wherever it is cut or changed", () => {
    const whole = zipSync({ "a.txt": strToU8("some text"), "b/c.txt": strToU8("more text") });
    const tried = (bytes: Uint8Array): void => {
      try {
        readZip(bytes, "x.zip");
      } catch (e) {
        expect(e).toBeInstanceOf(InputError);
      }
    };
    for (let cut = 0; cut < whole.length; cut++) tried(whole.subarray(0, cut));
    for (let i = 0; i < whole.length; i++)
      for (const value of [0, 1, 127, 255]) {
        const changed = whole.slice();
        changed[i] = value;
        tried(changed);
      }
  });

  it("is refused by the command with a code", async () => {
    const bad = installed.path("bad.zip");
    writeFileSync(bad, "no zip at all");
    const ran: Ran = await installed.run(["replay", bad]);
    expect(ran.err).toContain("error[capsule-zip]");
    expect(ran.code).toBe(1);
  });
});
