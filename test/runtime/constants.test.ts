// Constants on their way from a file to the device: which bytes arrive, in which pieces, and what is said where the file is not what it was.

import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PlanConstant } from "../../src/ir/plan.ts";
import { Buffers } from "../../src/runtime/buffers.ts";
import { constantsFile } from "../../src/runtime/constants-node.ts";
import { pieceBytes, uploadConstants, type ConstantSource } from "../../src/runtime/constants.ts";
import { InputError } from "../../src/support/diagnostic.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "constants-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const noise = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => Math.imul(i + 1, 2654435761) >>> 24);

/** A device that keeps what is written to its buffers. */
class Memory {
  readonly writes: number[] = [];
  readonly contents: Uint8Array[] = [];
  readonly device = {
    limits: { maxStorageBufferBindingSize: 2 ** 30, maxBufferSize: 2 ** 30 },
    pushErrorScope: () => undefined,
    popErrorScope: async () => null,
    createBuffer: ({ size }: GPUBufferDescriptor) => {
      this.contents.push(new Uint8Array(size));
      return { size, number: this.contents.length - 1 };
    },
    queue: {
      writeBuffer: (buffer: { number: number }, offset: number, bytes: Uint8Array) => {
        this.writes.push(bytes.byteLength);
        this.contents[buffer.number]!.set(bytes, offset);
      },
    },
  } as unknown as GPUDevice;

  async upload(bytes: number, source: ConstantSource): Promise<Uint8Array> {
    const half = 256 * Math.floor(bytes / 512);
    const rest = { id: "$b", offset: half, bytes: bytes - half };
    const constants = [{ id: "$a", offset: 0, bytes: half }, rest] as unknown as readonly PlanConstant[];
    await uploadConstants(this.device, constants, source, new Buffers(this.device, { allocations: 0 }));
    return this.contents[0]!.subarray(0, bytes);
  }
}

describe("constants of a file", () => {
  it("arrive byte for byte, a piece at a time, however often they are asked for", async () => {
    for (const bytes of [4, 1024, pieceBytes, 2 * pieceBytes + 516]) {
      const path = join(folder, `of-${bytes}.bin`);
      const written = noise(bytes);
      writeFileSync(path, written);
      const file = constantsFile(path);
      expect(file.bytes).toBe(bytes);
      for (let time = 0; time < 2; time++) {
        const memory = new Memory();
        const arrived = await memory.upload(bytes, file.source);
        expect(Buffer.compare(arrived, written)).toBe(0);
        expect(Math.max(...memory.writes)).toBeLessThanOrEqual(pieceBytes);
      }
    }
  });

  it("are gathered where they come in pieces of other sizes", async () => {
    const written = noise(pieceBytes + 4096);
    const pieces = async function* (): AsyncGenerator<Uint8Array> {
      yield written.subarray(0, 100);
      yield written.subarray(100, pieceBytes + 1000);
      yield written.subarray(pieceBytes + 1000);
    };
    const memory = new Memory();
    expect(Buffer.compare(await memory.upload(written.length, pieces), written)).toBe(0);
    expect(memory.writes).toEqual([pieceBytes, 4096]);
  });

  const changes: Readonly<Record<string, readonly [code: string, change: (path: string) => void]>> = {
    "was written again, as long as before": ["file-changed", (p) => rewritten(p, noise(1024).reverse())],
    "is longer": ["file-changed", (p) => appendFileSync(p, "more")],
    "is shorter": ["file-changed", (p) => writeFileSync(p, noise(1000))],
    "was replaced by another": [
      "file-changed",
      (p) => {
        writeFileSync(`${p}.new`, noise(1024));
        renameSync(`${p}.new`, p);
      },
    ],
    "is gone": ["file-missing", (p) => rmSync(p)],
    "is a folder now": [
      "file-changed",
      (p) => {
        rmSync(p);
        mkdirSync(p);
      },
    ],
  };

  for (const [name, [code, change]] of Object.entries(changes))
    it(`that ${name} when it is read: ${code}`, async () => {
      const path = join(folder, `${name}.bin`);
      writeFileSync(path, noise(1024));
      const { source } = constantsFile(path);
      change(path);
      const failure = await new Memory().upload(1024, source).catch((e: unknown) => e);
      expect(failure).toBeInstanceOf(InputError);
      expect((failure as InputError).diagnostics[0]).toMatchObject({ code });
      expect((failure as InputError).diagnostics[0]!.message).toContain(path);
    });

  it("that was changed while it was read is told before the last piece", async () => {
    const path = join(folder, "during.bin");
    const written = noise(2 * pieceBytes);
    writeFileSync(path, written);
    const { source } = constantsFile(path);
    const half = async function* (): AsyncGenerator<Uint8Array> {
      for await (const piece of (source as () => AsyncIterable<Uint8Array>)()) {
        yield piece;
        rewritten(path, written);
      }
    };
    const failure = await new Memory().upload(written.length, half).catch((e: unknown) => e);
    expect((failure as InputError).diagnostics[0]).toMatchObject({ code: "file-changed" });
  });

  it("are refused where there is no file, or none that ends", () => {
    expect(() => constantsFile(join(folder, "none.bin"))).toThrow(/there is no file/);
    expect(() => constantsFile(folder)).toThrow(/not a regular file/);
    if (process.platform === "linux") expect(() => constantsFile("/dev/zero")).toThrow(/not a regular file/);
  });
});

/** At another time, also where the clock of the file system is coarse. */
function rewritten(path: string, bytes: Uint8Array): void {
  writeFileSync(path, bytes);
  utimesSync(path, new Date(), new Date(Date.now() + 5000));
}
