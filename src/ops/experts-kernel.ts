// The kernels of expert_plan and expert_seats: a stable counting sort in two dispatches, without atomics. The first counts the slots of
// each expert in each block of slots. In the second each workgroup adds up what it needs of these counts by itself (there are few), and
// places its own block: a slot's rank is the number of slots of its expert before it. With a capacity, slots are taken in the order that
// they are seated in: all first choices, then all second ones.

import { ceilDiv, constantOf, dim, productDim, symbolsOf } from "../ir/dim.ts";
import { add, div, eq, ge, lt, min, mod, mul, select, u32, U32 } from "../ir/expr.ts";
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
    write: (k, block, counts) => new Places(k, facts, block, counts).write(),
  });
}

export function seatsProgram(facts: ProgramFacts): Program {
  return sorting(facts, constantOf(facts.type("ids").shape[1]!)!, {
    name: "seat",
    writes: ["seats"],
    schedule: `${BLOCK} slots a workgroup, seated in order`,
    write: (k, block, counts) => writeSeats(k, block, counts),
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

interface Block {
  /** Of each invocation's slot, in workgroup memory; beyond the last slot, that of no expert. */
  readonly ids: ReturnType<KernelWriter["shared"]>;
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

/** Where slots go: behind the rows of the experts before, or, with a capacity, to a seat of their own expert's fixed rows. */
class Places {
  readonly #k: KernelWriter;
  readonly #facts: ProgramFacts;
  readonly #block: Block;
  readonly #counts: TensorType;
  readonly #tile: number;
  readonly #capacity: number;

  constructor(k: KernelWriter, facts: ProgramFacts, block: Block, counts: TensorType) {
    this.#k = k;
    this.#facts = facts;
    this.#block = block;
    this.#counts = counts;
    this.#tile = numberOf(facts.attrs, "tile");
    this.#capacity = numberOf(facts.attrs, "capacity");
  }

  write(): void {
    const k = this.#k;
    const { inside, ids, slot, index, experts } = this.#block;
    const { totals, before } = sumCounts(k, this.#block, this.#counts);
    const starts = this.#capacity > 0 ? undefined : this.#starts(totals);
    const startOf = (e: Expr): Expr =>
      starts ? mul(starts.load(e), u32(this.#tile)) : mul(e, u32(this.#rowsOfExpert()));
    k.when(inside, () => {
      const id = k.bind("id", ids.load(k.local));
      k.when(ge(id, experts), () => k.write("places", index, NOWHERE));
      k.when(lt(id, experts), () => {
        const rank = rankFrom(k, this.#block, id, before.load(id));
        if (this.#capacity === 0) return this.#seat(k.bind("row", add(startOf(id), rank)), slot, index);
        k.when(
          lt(rank, u32(this.#capacity)),
          () => this.#seat(k.bind("row", add(startOf(id), rank)), slot, index),
          () => k.write("places", index, NOWHERE),
        );
      });
    });
    // The first workgroup says whose the tiles are, and marks the rows that are left of them.
    k.when(eq(k.workgroup[0]!, u32(0)), () =>
      eachExpert(k, this.#block, (e) => this.#finish(e, totals.load(e), k.bind("start", startOf(e)))),
    );
  }

  #seat(row: Expr, slot: Expr, index: readonly Expr[]): void {
    this.#k.write("places", index, row);
    this.#k.write("slots", [row], slot);
  }

  /** Fixed rows of an expert, in whole tiles. */
  #rowsOfExpert(): number {
    return Math.ceil(this.#capacity / this.#tile) * this.#tile;
  }

  /** Tiles before those of each expert. */
  #starts(totals: ReturnType<KernelWriter["shared"]>) {
    const k = this.#k;
    const starts = k.shared("starts", U32, constantOf(this.#counts.shape[1]!)!);
    eachExpert(k, this.#block, (e) => {
      const start = k.variable("start", u32(0));
      k.loop("f", u32(0), e, (f) => k.set(start, add(start, this.#tilesOf(totals.load(f)))));
      starts.store(e, start);
    });
    k.barrier();
    return starts;
  }

  #tilesOf(total: Expr): Expr {
    return div(add(total, u32(this.#tile - 1)), u32(this.#tile));
  }

  #finish(e: Expr, total: Expr, start: Expr): void {
    const k = this.#k;
    const tile = u32(this.#tile);
    const own = this.#capacity > 0 ? min(total, u32(this.#capacity)) : total;
    const kept = k.bind("own", own);
    const end = k.bind(
      "end",
      this.#capacity > 0 ? add(start, u32(this.#rowsOfExpert())) : add(start, mul(this.#tilesOf(kept), tile)),
    );
    // A tile without a slot is of no expert: its product is not computed.
    const filled = k.bind("filled", add(start, kept));
    k.loop("t", div(start, tile), div(end, tile), (t) =>
      k.write(
        "tiles",
        [t],
        this.#capacity > 0 ? select(lt(mul(t, tile), filled), e, this.#block.experts) : e,
      ),
    );
    k.loop("r", filled, end, (r) => k.write("slots", [r], NOWHERE));
    k.when(eq(e, u32(numberOf(this.#facts.attrs, "experts") - 1)), () => {
      for (const symbol of symbolsIn(this.#facts)) k.setLive(symbol, end);
    });
  }
}
