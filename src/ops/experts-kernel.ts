// The kernels of expert_plan: a stable counting sort in two dispatches, without atomics. The first counts the slots of each expert in
// each block of slots. In the second each workgroup adds up what it needs of these counts by itself (there are few), and places its own
// block: a slot's rank is the number of slots of its expert before it.

import { ceilDiv, dim, symbolsOf } from "../ir/dim.ts";
import { add, div, eq, ge, lt, mul, select, u32, U32 } from "../ir/expr.ts";
import type { Expr } from "../ir/kernel.ts";
import type { KernelWriter, Program, ProgramFacts, ProgramStep } from "../ir/program.ts";
import type { TensorType } from "../ir/types.ts";
import { dimOf, numberOf } from "./define.ts";

/** Slots, and invocations, of a workgroup. */
const BLOCK = 256;
const NOWHERE = u32(0xffffffff);

export function planProgram(facts: ProgramFacts): Program {
  const slots = facts.type("ids").shape[0]!;
  const blocks = ceilDiv(slots, dim(BLOCK));
  const counts: TensorType = {
    dtype: "u32",
    shape: [blocks, dim(numberOf(facts.attrs, "experts"))],
    axes: [null, null],
  };
  const common = { workgroups: [blocks], invocations: BLOCK };
  const count: ProgramStep = {
    ...common,
    name: "count",
    reads: ["ids"],
    writes: ["counts"],
    schedule: `${BLOCK} slots a workgroup, counted by expert`,
    write: (k) => writeCounts(k, facts),
  };
  const place: ProgramStep = {
    ...common,
    name: "place",
    reads: ["ids", "counts"],
    writes: ["slots", "tiles", "places"],
    ...(symbolsIn(facts).length > 0 && { sets: symbolsIn(facts) }),
    schedule: `${BLOCK} slots a workgroup, placed in order`,
    write: (k) => writePlaces(k, facts, counts),
  };
  return { scratch: { counts }, steps: [count, place] };
}

/** The bounded symbol that the number of rows is. */
function symbolsIn(facts: ProgramFacts): readonly string[] {
  return [...symbolsOf(dimOf(facts.attrs, "rows"))];
}

/** Loads the block's ids into workgroup memory; beyond the last slot, that of no expert. */
function loadIds(k: KernelWriter, facts: ProgramFacts) {
  const experts = u32(numberOf(facts.attrs, "experts"));
  const slot = k.bind("slot", add(mul(k.workgroup[0]!, u32(BLOCK)), k.local));
  const inside = lt(slot, k.size(facts.type("ids").shape[0]!));
  const ids = k.shared("block", U32, BLOCK);
  ids.store(k.local, experts);
  k.when(inside, () => ids.store(k.local, k.read("ids", [slot])));
  k.barrier();
  return { ids, slot, inside, experts };
}

function writeCounts(k: KernelWriter, facts: ProgramFacts): void {
  const { ids, experts } = loadIds(k, facts);
  k.loop(
    "expert",
    k.local,
    experts,
    (e) => {
      const count = k.variable("count", u32(0));
      k.loop("i", u32(0), u32(BLOCK), (i) =>
        k.set(count, add(count, select(eq(ids.load(i), e), u32(1), u32(0)))),
      );
      k.write("counts", [k.workgroup[0]!, e], count);
    },
    u32(BLOCK),
  );
}

function writePlaces(k: KernelWriter, facts: ProgramFacts, counts: TensorType): void {
  const block = k.workgroup[0]!;
  const { ids, slot, inside, experts } = loadIds(k, facts);
  const count = numberOf(facts.attrs, "experts");
  const tile = u32(numberOf(facts.attrs, "tile"));
  const totals = k.shared("totals", U32, count);
  const before = k.shared("before", U32, count);
  const starts = k.shared("starts", U32, count);
  const tilesOf = (total: Expr): Expr => div(add(total, u32(numberOf(facts.attrs, "tile") - 1)), tile);
  const eachExpert = (body: (e: Expr) => void): void => k.loop("expert", k.local, experts, body, u32(BLOCK));

  eachExpert((e) => {
    const total = k.variable("total", u32(0));
    const earlier = k.variable("earlier", u32(0));
    k.loop("b", u32(0), k.size(counts.shape[0]!), (b) => {
      const here = k.bind("here", k.read("counts", [b, e]));
      k.set(total, add(total, here));
      k.when(lt(b, block), () => k.set(earlier, add(earlier, here)));
    });
    totals.store(e, total);
    before.store(e, earlier);
  });
  k.barrier();
  eachExpert((e) => {
    const start = k.variable("start", u32(0));
    k.loop("f", u32(0), e, (f) => k.set(start, add(start, tilesOf(totals.load(f)))));
    starts.store(e, start);
  });
  k.barrier();

  k.when(inside, () => {
    const id = k.bind("id", ids.load(k.local));
    k.when(ge(id, experts), () => k.write("places", [slot], NOWHERE));
    k.when(lt(id, experts), () => {
      const rank = k.variable("rank", add(mul(starts.load(id), tile), before.load(id)));
      k.loop("i", u32(0), k.local, (i) =>
        k.set(rank, add(rank, select(eq(ids.load(i), id), u32(1), u32(0)))),
      );
      k.write("places", [slot], rank);
      k.write("slots", [rank], slot);
    });
  });
  // The first workgroup says whose the tiles are, and marks the rows that are left of them.
  k.when(eq(block, u32(0)), () => {
    eachExpert((e) => {
      const total = k.bind("total", totals.load(e));
      const first = k.bind("first_tile", starts.load(e));
      const end = k.bind("end_tile", add(first, tilesOf(total)));
      k.loop("t", first, end, (t) => k.write("tiles", [t], e));
      k.loop("r", add(mul(first, tile), total), mul(end, tile), (r) => k.write("slots", [r], NOWHERE));
      k.when(eq(e, u32(count - 1)), () => {
        for (const symbol of symbolsIn(facts)) k.setLive(symbol, mul(end, tile));
      });
    });
  });
}
