// Rows kept by a condition, packed together: what follows is computed for them alone. How many there are is known to the GPU only, a
// bounded symbol that this op sets; `take_rows` goes there (by `rows`) and back (by `places`).

import { ceilDiv, dim, symbolsOf } from "../ir/dim.ts";
import { add, eq, lt, mul, select, u32, U32 } from "../ir/expr.ts";
import type { Expr } from "../ir/kernel.ts";
import type { KernelWriter, Program, ProgramFacts, ProgramStep, SharedArray } from "../ir/program.ts";
import { tensor } from "../ir/tensor.ts";
import type { TensorType } from "../ir/types.ts";
import { checkRank, defineOp, dimOf, other } from "./define.ts";

/** The place of a row that is not kept: beyond any index. */
const NOWHERE = 0xffffffff;
/** Rows, and invocations, of a workgroup. */
const BLOCK = 256;

export const packRows = defineOp({
  name: "pack_rows",
  doc:
    "Which rows are kept, in their order, and the place of each among them. Their number is a bounded symbol whose value is known " +
    "during the run: what is computed of packed rows costs no more than they do. `take_rows(x, rows)` packs, and " +
    "`take_rows(y, places)` brings back, with zeros for rows that were not kept.",
  equation: "rows[j] = the j-th n with keep[n];  places[rows[j]] = j",
  inputs: [{ name: "keep", doc: "[N], bool" }],
  attrs: {
    kept: {
      kind: "dim",
      doc: "the bounded symbol that is the number of rows kept",
      declares: ([keep]) => keep!.shape[0]!,
    },
  },
  results: ["rows", "places"],
  constraints: {
    rank: "keep has one axis",
    bool: "keep is a bool for each row",
  },
  infer(c) {
    const keep = checkRank(c, "keep", 1);
    c.check("bool", keep.dtype === "bool", { input: "keep", got: keep.dtype, expected: "bool" });
    return [
      { dtype: "u32", shape: [dimOf(c.attrs, "kept")], axes: [keep.axes[0] ?? null] },
      { dtype: "u32", shape: keep.shape, axes: keep.axes },
    ];
  },
  axes: () => [[other]],
  reference(c) {
    const keep = c.input("keep").data;
    const rows: number[] = [];
    const places = new Uint32Array(keep.length).fill(NOWHERE);
    for (let n = 0; n < keep.length; n++)
      if (keep[n]) {
        places[n] = rows.length;
        rows.push(n);
      }
    return [tensor("u32", [rows.length], rows), { dtype: "u32", shape: [keep.length], data: places }];
  },
  lowering: { kind: "program", inPlace: ["keep"], program },
  examples: [
    {
      about: "the second and the last of four",
      inputs: { keep: [0, 1, 0, 1] },
      dtypes: { keep: "bool" },
      outputs: [
        [1, 3],
        [NOWHERE, 0, NOWHERE, 1],
      ],
    },
    {
      about: "none",
      inputs: { keep: [0, 0] },
      dtypes: { keep: "bool" },
      outputs: [[], [NOWHERE, NOWHERE]],
    },
  ],
});

/**
 * A stable compaction in two dispatches, without atomics: the first counts what each block of rows keeps; in the second each workgroup
 * adds up the counts by itself (there are few), and places its own block.
 */
function program(facts: ProgramFacts): Program {
  const blocks = ceilDiv(facts.type("keep").shape[0]!, dim(BLOCK));
  const counts: TensorType = { dtype: "u32", shape: [blocks], axes: [null] };
  const common = { workgroups: [blocks], invocations: BLOCK };
  const symbols = [...symbolsOf(dimOf(facts.attrs, "kept"))];
  const count: ProgramStep = {
    ...common,
    name: "count",
    reads: ["keep"],
    writes: ["counts"],
    schedule: `${BLOCK} rows a workgroup, counted`,
    write: (k) => writeCounts(k, facts),
  };
  const place: ProgramStep = {
    ...common,
    name: "place",
    reads: ["keep", "counts"],
    writes: ["rows", "places"],
    ...(symbols.length > 0 && { sets: symbols }),
    schedule: `${BLOCK} rows a workgroup, placed in order`,
    write: (k) => writePlaces(k, facts, counts, symbols),
  };
  return { scratch: { counts }, steps: [count, place] };
}

/** One for each row of the block that is kept, in workgroup memory. */
function loadBlock(k: KernelWriter, facts: ProgramFacts) {
  const row = k.bind("row", add(mul(k.workgroup[0]!, u32(BLOCK)), k.local));
  const inside = lt(row, k.size(facts.type("keep").shape[0]!));
  const kept = k.shared("block", U32, BLOCK);
  kept.store(k.local, u32(0));
  k.when(inside, () => kept.store(k.local, select(k.read("keep", [row]), u32(1), u32(0))));
  k.barrier();
  return { row, inside, kept };
}

function sumUpTo(k: KernelWriter, hint: string, of: SharedArray, end: Expr): Expr {
  const total = k.variable(hint, u32(0));
  k.loop("i", u32(0), end, (i) => k.set(total, add(total, of.load(i))));
  return total;
}

function writeCounts(k: KernelWriter, facts: ProgramFacts): void {
  const { kept } = loadBlock(k, facts);
  k.when(eq(k.local, u32(0)), () =>
    k.write("counts", [k.workgroup[0]!], sumUpTo(k, "count", kept, u32(BLOCK))),
  );
}

function writePlaces(
  k: KernelWriter,
  facts: ProgramFacts,
  counts: TensorType,
  symbols: readonly string[],
): void {
  const block = k.workgroup[0]!;
  const { row, inside, kept } = loadBlock(k, facts);
  // Each invocation adds up some of the blocks before this one, and of all blocks.
  const before = k.shared("before", U32, BLOCK);
  const totals = k.shared("totals", U32, BLOCK);
  const earlier = k.variable("earlier", u32(0));
  const total = k.variable("total", u32(0));
  k.loop(
    "b",
    k.local,
    k.size(counts.shape[0]!),
    (b) => {
      const here = k.bind("here", k.read("counts", [b]));
      k.set(total, add(total, here));
      k.when(lt(b, block), () => k.set(earlier, add(earlier, here)));
    },
    u32(BLOCK),
  );
  before.store(k.local, earlier);
  totals.store(k.local, total);
  k.barrier();
  k.when(inside, () => {
    k.when(
      eq(kept.load(k.local), u32(0)),
      () => k.write("places", [row], u32(NOWHERE)),
      () => {
        const start = sumUpTo(k, "start", before, u32(BLOCK));
        const place = k.bind("place", add(start, sumUpTo(k, "rank", kept, k.local)));
        k.write("places", [row], place);
        k.write("rows", [place], row);
      },
    );
  });
  if (symbols.length > 0)
    k.when(eq(add(block, k.local), u32(0)), () => {
      const all = sumUpTo(k, "all", totals, u32(BLOCK));
      for (const symbol of symbols) k.setLive(symbol, all);
    });
}
