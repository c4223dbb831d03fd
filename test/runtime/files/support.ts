// Shared by the tests of the file readers: fixtures, temporary folders, and small deterministic damage to valid files.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach } from "vitest";
import type { Diagnostic } from "../../../src/support/diagnostic.ts";
import type { Outcome } from "../../../src/runtime/bytes.ts";

export const fixtures = resolve(import.meta.dirname, "../../fixtures");

export function codes(result: Outcome<unknown> | readonly Diagnostic[]): string[] {
  return ("diagnostics" in result ? result.diagnostics : result).map((d) => d.code);
}

export function must<T>(result: Outcome<T>): T {
  if (result.value === undefined) throw new Error(JSON.stringify(result.diagnostics, null, 1));
  return result.value;
}

/** A folder that is gone after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "tokenloom-test-"));
  folders.push(folder);
  return folder;
}

const folders: string[] = [];
afterEach(() => {
  for (const f of folders.splice(0)) rmSync(f, { recursive: true, force: true });
});

/** xorshift32: the same damage in every run. */
export function randomSource(seed: number): (below: number) => number {
  let x = (seed * 2654435761) >>> 0 || 1;
  return (below) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % below;
  };
}

/** Flips, cuts, repeats, inserts and overwrites; most of it early in the file, where the headers are. */
export function damage(bytes: Uint8Array, seed: number): Uint8Array {
  const random = randomSource(seed);
  // Not `slice`: that of Node's Buffer shares memory.
  let out = Uint8Array.from(bytes);
  const place = (): number => random(random(3) === 0 ? out.length + 1 : Math.min(out.length + 1, 200));
  const interesting = [0, 1, 0x22, 0x2c, 0x30, 0x39, 0x5b, 0x5d, 0x7b, 0x7d, 0x7f, 0x80, 0xff];
  for (let i = 0; i <= random(4); i++) {
    const at = place();
    const other = place();
    switch (random(6)) {
      case 0:
        if (at < out.length) out[at]! ^= 1 << random(8);
        break;
      case 1:
        if (at < out.length) out[at] = interesting[random(interesting.length)]!;
        break;
      case 2:
        out = out.slice(0, at);
        break;
      case 3:
        out = Uint8Array.from([
          ...out.subarray(0, at),
          ...out.subarray(Math.min(at, other), at + 16),
          ...out.subarray(at),
        ]);
        break;
      case 4:
        out = Uint8Array.from([...out.subarray(0, at), ...out.subarray(at + 1 + random(4))]);
        break;
      default:
        out = Uint8Array.from([
          ...out.subarray(0, at),
          interesting[random(interesting.length)]!,
          ...out.subarray(at),
        ]);
    }
  }
  return out;
}
