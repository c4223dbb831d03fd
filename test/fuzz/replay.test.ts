// Every input that ever broke a reader stays mended; a fixed seed of new ones for each cheap reader; and the fuzzer finds what it is for.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { failuresFolder, fuzz } from "../../tools/fuzz/harness.ts";
import { inputOf, readerNamed, readers } from "../../tools/fuzz/readers.ts";
import { readers as badReaders } from "./bad-readers.ts";

const kept = existsSync(failuresFolder) ? readdirSync(failuresFolder).sort() : [];

describe("what failed once", () => {
  it("is there", () => expect(kept.length).toBeGreaterThan(0));

  it.each(kept)("%s", async (file) => {
    const reader = readerNamed(file.replace(/-[0-9a-f]{12}\.\w+$/, ""));
    expect(reader, "the name of a kept input begins with its reader").toBeDefined();
    const bytes = readFileSync(join(failuresFolder, file));
    // Throws where it fails still; accepted or refused, both are fine.
    expect(typeof (await reader!.check(bytes))).toBe("boolean");
  });
});

describe("2,000 inputs", () => {
  const dear = ["elaborate", "compile", "image"];
  it.each(readers.map((r) => r.name))("%s", async (reader) => {
    const count = dear.includes(reader) ? 300 : 2000;
    const result = await fuzz({ reader, count, seed: 2026 });
    expect(result.failures.map((f) => `input ${f.index}: ${f.message}`)).toEqual([]);
    expect(result.count).toBe(count);
    // Some must get through to what stands behind the first check.
    expect(result.accepted).toBeGreaterThan(count / 50);
  });
});

describe("the fuzzer", () => {
  const module = { url: new URL("bad-readers.ts", import.meta.url).href, readers: badReaders };
  const run = (reader: string) =>
    fuzz({ reader, count: 12, seed: 1, milliseconds: 1500, megabytes: 64, module });

  it("makes the same input for the same seed", async () => {
    for (const reader of readers)
      expect(await inputOf(reader, 7, 11), reader.name).toEqual(await inputOf(reader, 7, 11));
  });
  it("finds what throws, makes it small, and goes on", async () => {
    const { failures, failed, count } = await run("throws");
    expect(count).toBe(12);
    expect(failed).toBeGreaterThanOrEqual(3);
    expect(failures.map((f) => f.input)).toEqual(["!"]);
    expect(failures[0]!.message).toMatch("no exclamation mark");
  });
  it("finds what hangs, and goes on", async () => {
    const { failures, count } = await run("hangs");
    expect(count).toBe(12);
    expect(failures.map((f) => [f.index, f.message])).toEqual([[5, "takes more than 1500 ms"]]);
  });
  it("finds what fills memory, and goes on", async () => {
    const { failures, count } = await run("fills-memory");
    expect(count).toBe(12);
    expect(failures.map((f) => [f.index, f.message])).toEqual([[3, "fills memory"]]);
  });
});
