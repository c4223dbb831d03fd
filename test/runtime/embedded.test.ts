// The embedded driver on a machine that has nothing: processes of their own, with an empty cache and no Vulkan driver to be found.

import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { plainFiles } from "../../src/runtime/tar.ts";

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), "tokenloom-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const child = join(import.meta.dirname, "embedded.child.mts");

interface Printed {
  readonly y?: readonly number[];
  readonly source?: string;
  readonly loaded?: readonly string[];
  readonly failure?: readonly string[];
}

/** A process that sees no driver of the system. */
async function start(
  environment: Record<string, string>,
  ...args: string[]
): Promise<{ out: string; err: string }> {
  const { stdout, stderr } = await run(process.execPath, ["--import", "tsx", child, ...args], {
    cwd: join(import.meta.dirname, "../.."),
    env: {
      PATH: process.env["PATH"] ?? "",
      HOME: folder,
      VK_DRIVER_FILES: "/nowhere/none.json",
      VK_ICD_FILENAMES: "/nowhere/none.json",
      ...environment,
    },
  });
  return { out: stdout, err: stderr };
}

const result = (out: string): Printed => JSON.parse(out) as Printed;

describe.runIf(process.platform === "linux" && process.arch === "x64")("the embedded driver", () => {
  it("is unpacked once by several processes at once, and runs on nothing but itself", async () => {
    const cache = join(folder, "shared");
    const all = await Promise.all([1, 2, 3].map(() => start({ TOKENLOOM_CACHE: cache })));
    for (const { out, err } of all) {
      const printed = result(out);
      expect(printed).toMatchObject({ y: [3, 6, 9, 12], source: "embedded" });
      const [unpacked] = readdirSync(cache);
      expect(printed.loaded!.toSorted()).toEqual(
        ["dawn.node", "libvk_swiftshader.so", "libvulkan.so.1"].map((f) => join(cache, unpacked!, f)),
      );
      expect(err).toBe("");
    }
    expect(readdirSync(cache)).toHaveLength(1);
  }, 60_000);

  it("keeps to the cache folders of the environment", async () => {
    const { out } = await start({ XDG_CACHE_HOME: join(folder, "xdg"), TOKENLOOM_DEVICE: "embedded" });
    expect(result(out).source).toBe("embedded");
    expect(readdirSync(join(folder, "xdg"))).toEqual(["tokenloom"]);
  }, 60_000);

  it("goes to the temporary folder where the cache cannot be written", async () => {
    const file = join(folder, "a-file");
    writeFileSync(file, "");
    const { out } = await start({ TOKENLOOM_CACHE: join(file, "cache"), TMPDIR: folder });
    expect(result(out)).toMatchObject({ y: [3, 6, 9, 12], source: "embedded" });
    expect(readdirSync(folder)).toContain(`tokenloom-${process.getuid!()}`);
  }, 60_000);

  it("is repaired when a file of it was deleted", async () => {
    const cache = join(folder, "broken");
    await start({ TOKENLOOM_CACHE: cache });
    const [unpacked] = readdirSync(cache);
    rmSync(join(cache, unpacked!, "libvulkan.so.1"));
    const { out } = await start({ TOKENLOOM_CACHE: cache });
    expect(result(out).y).toEqual([3, 6, 9, 12]);
    expect(readdirSync(cache)).toEqual([unpacked]);
    expect(readdirSync(join(cache, unpacked!))).toHaveLength(4);
  }, 60_000);

  it("says so where nothing can start, and what to do", async () => {
    const file = join(folder, "another-file");
    writeFileSync(file, "");
    // Somebody else's thing lies where the temporary cache would be.
    const temporary = mkdtempSync(join(folder, "tmp-"));
    writeFileSync(join(temporary, `tokenloom-${process.getuid!()}`), "");
    const nowhere = { TOKENLOOM_CACHE: join(file, "cache"), TMPDIR: temporary };
    const [failure] = result((await start(nowhere)).out).failure!;
    expect(failure).toMatch(
      /^no-device: no GPU adapter: the embedded driver cannot be unpacked: ENOTDIR.*; EEXIST/,
    );
    const { out } = await start(nowhere, "doctor");
    expect(out).toContain("cannot be used: no adapter for device");
    expect(out).toContain("advice: Dawn starts on no adapter here");
    expect(out).toContain("set       ");
  }, 60_000);
});

describe("tar archives", () => {
  const header = (name: string, size: number, kind = "0"): Uint8Array => {
    const h = new Uint8Array(512);
    const put = (text: string, at: number): void => void h.set(new TextEncoder().encode(text), at);
    put(name, 0);
    put(size.toString(8).padStart(11, "0"), 124);
    put(kind, 156);
    put("        ", 148);
    put(
      h
        .reduce((a, b) => a + b, 0)
        .toString(8)
        .padStart(6, "0") + "\0 ",
      148,
    );
    return h;
  };
  const archive = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
  const data = (text: string): Uint8Array => {
    const block = new Uint8Array(512);
    block.set(new TextEncoder().encode(text));
    return block;
  };
  const end = new Uint8Array(1024);

  it("give their plain files", () => {
    const files = plainFiles(archive(header("./a.so", 2), data("hi"), header("b-1.json", 0), end));
    expect(files.map((f) => [f.name, new TextDecoder().decode(f.data)])).toEqual([
      ["a.so", "hi"],
      ["b-1.json", ""],
    ]);
  });

  it("give no folders, links, or names that lead elsewhere", () => {
    const names = ["../evil", "/etc/passwd", "a/b", "..", "x\\y"];
    expect(plainFiles(archive(...names.flatMap((n) => [header(n, 2), data("hi")]), end))).toEqual([]);
    expect(plainFiles(archive(header("link", 0, "2"), header("folder", 0, "5"), end))).toEqual([]);
  });

  it("are refused where they are damaged or cut off", () => {
    const good = archive(header("a", 600), data("x"), data("y"), end);
    const bad = good.slice();
    bad[0] = 66;
    expect(() => plainFiles(bad)).toThrow("damaged at byte 0");
    expect(() => plainFiles(good.subarray(0, 1000))).toThrow("cut off");
    expect(() => plainFiles(archive(header("a", 2 ** 32 - 1), data("x")))).toThrow("cut off");
    // Any prefix ends in files or in an error.
    for (let n = 0; n < good.length; n += 37) {
      try {
        plainFiles(good.subarray(0, n));
      } catch (e) {
        expect((e as Error).message).toMatch(/cut off|damaged/);
      }
    }
  });
});
