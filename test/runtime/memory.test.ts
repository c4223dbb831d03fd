// The memory planner on its own: no GPU. Random lifetimes, then the shapes that networks have.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  atPeak,
  dimReader,
  pack,
  peakOf,
  planMemory,
  showMemoryPlan,
  type Lifetime,
} from "../../src/runtime/memory.ts";
import { dispatch, entryOf, value } from "./tiny.ts";

const lifetimes = (values: readonly { bytes: number; first: number; length: number }[]): Lifetime[] =>
  values.map((v, i) => ({ id: `%${i}`, bytes: v.bytes, first: v.first, last: v.first + v.length }));

function overlaps(all: readonly Lifetime[], offsets: ReadonlyMap<string, number>): string[] {
  const found: string[] = [];
  all.forEach((a, i) =>
    all.slice(i + 1).forEach((b) => {
      if (a.last < b.first || b.last < a.first) return;
      const [x, y] = [offsets.get(a.id)!, offsets.get(b.id)!];
      if (x < y + Math.max(b.bytes, 4) && y < x + Math.max(a.bytes, 4)) found.push(`${a.id} ${b.id}`);
    }),
  );
  return found;
}

const anyLifetimes = fc
  .array(
    fc.record({
      bytes: fc.oneof(fc.nat(4096), fc.nat(4_000_000)),
      first: fc.nat(60),
      length: fc.oneof(fc.nat(3), fc.nat(40)),
    }),
    { minLength: 1, maxLength: 80 },
  )
  .map(lifetimes);

describe("pack", () => {
  it("never lets two live values share a byte, and aligns every offset", () => {
    fc.assert(
      fc.property(anyLifetimes, (all) => {
        const { offsets, bytes } = pack(all, 256);
        expect(overlaps(all, offsets)).toEqual([]);
        for (const l of all) {
          expect(offsets.get(l.id)! % 256).toBe(0);
          expect(offsets.get(l.id)! + l.bytes).toBeLessThanOrEqual(bytes);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("stays within 1.3 of what is alive at once", () => {
    fc.assert(
      fc.property(anyLifetimes, (all) => {
        const aligned = peakOf(all, (l) => Math.ceil(Math.max(l.bytes, 4) / 256) * 256).bytes;
        expect(pack(all, 256).bytes).toBeLessThanOrEqual(1.3 * aligned);
      }),
      { numRuns: 300 },
    );
  });

  it("handles thousands of values", () => {
    const all = lifetimes(
      Array.from({ length: 3000 }, (_, i) => ({ bytes: 1000 + ((i * 7919) % 50000), first: i, length: 3 })),
    );
    const { offsets, bytes } = pack(all, 256);
    expect(offsets.size).toBe(3000);
    expect(bytes).toBeLessThan(2 * peakOf(all, (l) => l.bytes).bytes);
  });
});

describe("planMemory", () => {
  // x -> a -> b -> c, c also reads a; b is an output.
  const entry = entryOf({
    symbols: ["B"],
    inputs: [value("x", ["B", "1024"])],
    values: [
      value("%a", ["B", "1024"]),
      value("%b", ["B", "512"]),
      value("%c", ["B", "1024"]),
      value("%d", ["B", "1024"]),
    ],
    outputs: ["%b"],
    dispatches: [
      dispatch(0, ["x", "%a"]),
      dispatch(0, ["%a", "%b"]),
      dispatch(0, ["%b", "%a", "%c"]),
      dispatch(0, ["%c", "%d"]),
    ],
  });

  it("reads lifetimes off the order of dispatches", () => {
    const plan = planMemory(entry, dimReader(entry, { B: 2 }));
    expect(plan.lifetimes.map((l) => [l.id, l.first, l.last, l.bytes])).toEqual([
      ["%a", 0, 2, 8192],
      ["%b", 1, 4, 4096],
      ["%c", 2, 3, 8192],
      ["%d", 3, 3, 8192],
    ]);
    expect(plan.peakLive).toBe(8192 + 4096 + 8192);
    expect(plan.peakAt).toBe(2);
    expect(plan.bytes).toBe(plan.peakLive);
    expect(plan.offsets.get("%d")).toBe(plan.offsets.get("%a"));
    expect(atPeak(plan).map((l) => l.id)).toEqual(["%a", "%c", "%b"]);
  });

  it("grows with the batch and with nothing else", () => {
    const at = (B: number): number => planMemory(entry, dimReader(entry, { B })).bytes;
    expect(at(6)).toBe(3 * at(2));
    expect(at(0)).toBe(3 * 256);
  });

  it("keeps the next value of a state to the end", () => {
    const stateful = entryOf({
      symbols: [],
      inputs: [],
      values: [value("%next", ["4"]), value("%other", ["4"])],
      outputs: [],
      states: [{ ...value("%load.in", ["4"]), name: "load", next: "%next", initial: 0 }],
      dispatches: [dispatch(0, ["%load.in", "%next"]), dispatch(0, ["%load.in", "%other"])],
    });
    const plan = planMemory(stateful, dimReader(stateful, {}));
    expect(plan.offsets.get("%next")).not.toBe(plan.offsets.get("%other"));
  });

  it("prints as a table", () => {
    expect(showMemoryPlan(planMemory(entry, dimReader(entry, { B: 1 })))).toBe(
      [
        "4 values, 10.0 KiB alive at most (dispatch 2, marked *)",
        "arena of 10.0 KiB, 1.00 times that",
        "offset  bytes  dispatches     value",
        "     0   4096  0..2        *  %a",
        "     0   4096  3..3           %d",
        "  4096   4096  2..3        *  %c",
        "  8192   2048  1..end      *  %b",
      ].join("\n"),
    );
  });
});
