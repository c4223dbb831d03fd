// The kernels of expert_plan and expert_seats: a stable counting sort in two dispatches, without atomics. The first counts the slots of
// each expert in each block of slots. In the second each workgroup adds up what it needs of these counts by itself (there are few), and
// places its own block: a slot's rank is the number of slots of its expert before it. With a capacity, slots are taken in the order that
// they are seated in: all first choices, then all second ones.

import { ceilDiv, constantOf, dim, productDim, symbolsOf } from "../ir/dim.ts";
import { add, BOOL, constant, div, eq, ge, lt, min, mod, mul, select, u32, U32 } from "../ir/expr.ts";
import type { Expr } from "../ir/kernel.ts";
import type { KernelWriter, Program, ProgramFacts, ProgramStep } from "../ir/program.ts";
import type { TensorType } from "../ir/types.ts";
import { dimOf, numberOf } from "./define.ts";
import { indexOf } from "./route-kernel.ts";

/** Slots, and invocations, of a workgroup. */
const BLOCK = 256;
const NOWHERE = u32(0xffffffff);

export function planProgram(facts: ProgramFacts): Program {
  const sets = symbolsIn(facts);
  return sorting(facts, numberOf(facts.attrs, "k"), {
    name: "place",
    writes: ["slots", "tiles", "places"],
    ...(sets.length > 0 && { sets }),
    schedule: `${BLOCK} slots a workgroup, placed in order`,
    write: (k, block, counts) => writePlaces(k, facts, block, counts),
  });
}

export function seatsProgram(facts: ProgramFacts): Program {
  return sorting(facts, constantOf(facts.type("ids").shape[1]!)!, {
    name: "seat",
    writes: ["seats"],
    schedule: `${BLOCK} slots a workgroup, seated in order`,
    write: writeSeats,
  });
}

interface SecondStep extends Pick<ProgramStep, "name" | "writes" | "sets" | "schedule"> {
  write(k: KernelWriter, block: Block, counts: TensorType): void;
}

/** `choices`: slots of a token, which lie side by side. */
function sorting(facts: ProgramFacts, choices: number, second: SecondStep): Program {
  const blocks = ceilDiv(productDim(facts.type("ids").shape), dim(BLOCK));
  const counts: TensorType = {
    dtype: "u32",
    shape: [blocks, dim(numberOf(facts.attrs, "experts"))],
    axes: [null, null],
  };
  const common = { workgroups: [blocks], invocations: BLOCK };
  const steps: readonly ProgramStep[] = [
    {
      ...common,
      name: "count",
      reads: ["ids"],
      writes: ["counts"],
      schedule: `${BLOCK} slots a workgroup, counted by expert`,
      write: (k) => writeCounts(k, loadBlock(k, facts, choices)),
    },
    {
      ...common,
      ...second,
      reads: ["ids", "counts"],
      write: (k) => second.write(k, loadBlock(k, facts, choices), counts),
    },
  ];
  return { scratch: { counts }, steps };
}

/** The bounded symbol that the number of rows is; none where it is a number. */
function symbolsIn(facts: ProgramFacts): readonly string[] {
  return [...symbolsOf(dimOf(facts.attrs, "rows"))];
}

type Shared = ReturnType<KernelWriter["shared"]>;

interface Block {
  /** Of each invocation's slot, in workgroup memory; beyond the last slot, that of no expert. */
  readonly ids: Shared;
  /** The invocation's own slot, and where it is in the ids. */
  readonly slot: Expr;
  readonly index: readonly Expr[];
  readonly inside: Expr;
  readonly experts: Expr;
}

function loadBlock(k: KernelWriter, facts: ProgramFacts, choices: number): Block {
  const experts = u32(numberOf(facts.attrs, "experts"));
  const { shape } = facts.type("ids");
  const count = k.size(productDim(shape));
  const place = k.bind("place", add(mul(k.workgroup[0]!, u32(BLOCK)), k.local));
  const inside = lt(place, count);
  const slot = choices === 1 ? place : k.bind("slot", slotAt(k, place, count, choices));
  const index = shape.length === 1 ? [slot] : indexOf(k, slot, shape);
  const ids = k.shared("block", U32, BLOCK);
  ids.store(k.local, experts);
  k.when(inside, () => ids.store(k.local, k.read("ids", index)));
  k.barrier();
  return { ids, slot, index, inside, experts };
}

/** The slot that is seated at this place: choice `place / tokens` of token `place % tokens`. */
function slotAt(k: KernelWriter, place: Expr, count: Expr, choices: number): Expr {
  const tokens = k.bind("tokens", div(count, u32(choices)));
  return add(mul(mod(place, tokens), u32(choices)), div(place, tokens));
}

const eachExpert = (k: KernelWriter, { experts }: Block, body: (e: Expr) => void): void =>
  k.loop("expert", k.local, experts, body, u32(BLOCK));

function writeCounts(k: KernelWriter, block: Block): void {
  eachExpert(k, block, (e) => {
    const count = k.variable("count", u32(0));
    k.loop("i", u32(0), u32(BLOCK), (i) =>
      k.set(count, add(count, select(eq(block.ids.load(i), e), u32(1), u32(0)))),
    );
    k.write("counts", [k.workgroup[0]!, e], count);
  });
}

/** Slots of each expert in the blocks before this one, and in all, in workgroup memory behind the next barrier. */
function sumCounts(k: KernelWriter, block: Block, counts: TensorType) {
  const size = constantOf(counts.shape[1]!)!;
  const totals = k.shared("totals", U32, size);
  const before = k.shared("before", U32, size);
  eachExpert(k, block, (e) => {
    const total = k.variable("total", u32(0));
    const earlier = k.variable("earlier", u32(0));
    k.loop("b", u32(0), k.size(counts.shape[0]!), (b) => {
      const here = k.bind("here", k.read("counts", [b, e]));
      k.set(total, add(total, here));
      k.when(lt(b, k.workgroup[0]!), () => k.set(earlier, add(earlier, here)));
    });
    totals.store(e, total);
    before.store(e, earlier);
  });
  k.barrier();
  return { totals, before };
}

/** How many slots of expert `id` there are before this one, from `first` on. */
function rankFrom(k: KernelWriter, { ids }: Block, id: Expr, first: Expr): Expr {
  const rank = k.variable("rank", first);
  k.loop("i", u32(0), k.local, (i) => k.set(rank, add(rank, select(eq(ids.load(i), id), u32(1), u32(0)))));
  return rank;
}

function writeSeats(k: KernelWriter, block: Block, counts: TensorType): void {
  const { before } = sumCounts(k, block, counts);
  k.when(block.inside, () => {
    const id = k.bind("id", block.ids.load(k.local));
    k.when(
      lt(id, block.experts),
      () => k.write("seats", block.index, rankFrom(k, block, id, before.load(id))),
      () => k.write("seats", block.index, NOWHERE),
    );
  });
}

/** Which rows an expert has, in whole tiles. */
interface Rows {
  startOf(expert: Expr): Expr;
  /** Behind the last one, of so many that hold slots. */
  endOf(start: Expr, held: Expr): Expr;
  /** Does the slot of this rank at its expert have a row? */
  has(rank: Expr): Expr;
  /** Rows that hold slots, of an expert with so many slots. */
  held(total: Expr): Expr;
}

/** As many as the expert has slots, behind those of the experts before. */
function packedRows(k: KernelWriter, block: Block, totals: Shared, experts: number, tile: number): Rows {
  const tilesOf = (total: Expr): Expr => div(add(total, u32(tile - 1)), u32(tile));
  const starts = k.shared("starts", U32, experts);
  eachExpert(k, block, (e) => {
    const start = k.variable("start", u32(0));
    k.loop("f", u32(0), e, (f) => k.set(start, add(start, tilesOf(totals.load(f)))));
    starts.store(e, start);
  });
  k.barrier();
  return {
    startOf: (e) => mul(starts.load(e), u32(tile)),
    endOf: (start, held) => add(start, mul(tilesOf(held), u32(tile))),
    has: () => constant(true, BOOL),
    held: (total) => total,
  };
}

/** The same number for every expert: its seats. */
function seatedRows(capacity: number, tile: number): Rows {
  const rows = u32(Math.ceil(capacity / tile) * tile);
  return {
    startOf: (e) => mul(e, rows),
    endOf: (start) => add(start, rows),
    has: (rank) => lt(rank, u32(capacity)),
    held: (total) => min(total, u32(capacity)),
  };
}

function writePlaces(k: KernelWriter, facts: ProgramFacts, block: Block, counts: TensorType): void {
  const { inside, ids, slot, index, experts } = block;
  const count = numberOf(facts.attrs, "experts");
  const tile = numberOf(facts.attrs, "tile");
  const capacity = numberOf(facts.attrs, "capacity");
  const { totals, before } = sumCounts(k, block, counts);
  const rows = capacity > 0 ? seatedRows(capacity, tile) : packedRows(k, block, totals, count, tile);
  k.when(inside, () => {
    const id = k.bind("id", ids.load(k.local));
    const nowhere = (): void => k.write("places", index, NOWHERE);
    k.when(ge(id, experts), nowhere);
    k.when(lt(id, experts), () => {
      const rank = rankFrom(k, block, id, before.load(id));
      const seat = (): void => {
        const row = k.bind("row", add(rows.startOf(id), rank));
        k.write("places", index, row);
        k.write("slots", [row], slot);
      };
      k.when(rows.has(rank), seat, nowhere);
    });
  });
  // The first workgroup says whose the tiles are, and marks the rows that are left of them. A tile without a slot is of no expert: its
  // product is not computed.
  k.when(eq(k.workgroup[0]!, u32(0)), () =>
    eachExpert(k, block, (e) => {
      const start = k.bind("start", rows.startOf(e));
      const held = k.bind("held", rows.held(totals.load(e)));
      const filled = k.bind("filled", add(start, held));
      const end = k.bind("end", rows.endOf(start, held));
      k.loop("t", div(start, u32(tile)), div(end, u32(tile)), (t) =>
        k.write("tiles", [t], select(lt(mul(t, u32(tile)), filled), e, experts)),
      );
      k.loop("r", filled, end, (r) => k.write("slots", [r], NOWHERE));
      k.when(eq(e, u32(count - 1)), () => {
        for (const symbol of symbolsIn(facts)) k.setLive(symbol, end);
      });
    }),
  );
}
