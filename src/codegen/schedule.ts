// Schedules of contractions: how the work is cut. A schedule is data, chosen here from the target and what is known of the sizes;
// a tuner can search the same space. The builder (contraction-kernel.ts) can make a kernel for any of them.

import { constantOf, type Dim } from "../ir/dim.ts";
import type { Target } from "../ir/target.ts";

export interface ContractionSchedule {
  /**
   * subgroup: a workgroup is one subgroup; its lanes lie along the columns, each loads other rows, and values of the row operand
   * are handed round by broadcast. register: every invocation holds a tile of its own and reads both operands itself.
   */
  readonly kind: "subgroup" | "register";
  /** Rows of the result in one workgroup (subgroup) or one invocation (register). */
  readonly rows: number;
  /** Vectors of four columns in one invocation. */
  readonly vectors: number;
  /** Steps along the reduction at once: 4 where the row operand is contiguous along it, else 1. */
  readonly step: 1 | 4;
  /** Invocations in x (columns) and y (rows) of a register schedule. */
  readonly threads: readonly [number, number];
  /** Results go through workgroup memory, so that the epilogue is written once, in a loop over the rows: small shaders compile fast. */
  readonly stagedEpilogue: boolean;
}

export interface ContractionFacts {
  readonly target: Target;
  readonly rows: Dim;
  /** The row operand can be read four at a time along the innermost reduction axis. */
  readonly rowVectors: boolean;
}

export function chooseSchedule(f: ContractionFacts): ContractionSchedule {
  const step = f.rowVectors ? 4 : 1;
  const width = f.target.subgroupSize;
  const few = fewRows(f.rows);
  if (width > 0) {
    // Each step costs one read for the rows a lane fetches and one for each column: more rows, fewer reads. Four fetches a lane; more
    // than 32 rows spill. 8, 16, 24 and 32 rows run alike on lavapipe, and 32 compile in half the time of 16.
    const rows = few ? Math.min(8, width) : Math.min(32, 4 * width);
    const vectors = 1;
    return { kind: "subgroup", rows, vectors, step, threads: [width, 1], stagedEpilogue: true };
  }
  return {
    kind: "register",
    rows: few ? 1 : 4,
    vectors: 1,
    step,
    threads: few ? [64, 1] : [8, 8],
    stagedEpilogue: false,
  };
}

/** A batch alone (a head's [B, C]) has few rows; tokens or pixels have many. */
function fewRows(rows: Dim): boolean {
  const known = constantOf(rows);
  if (known !== undefined) return known < 16;
  const only = rows.terms.length === 1 ? rows.terms[0]! : undefined;
  return only !== undefined && only.atoms.length === 1 && only.coefficient < 16;
}

export function showSchedule(s: ContractionSchedule): string {
  const tile =
    s.kind === "subgroup"
      ? `${s.rows}x${s.threads[0] * s.vectors * 4} a subgroup`
      : `${s.rows}x${s.vectors * 4} an invocation, ${s.threads[0]}x${s.threads[1]} invocations`;
  return `contraction, ${s.kind}, ${tile}, reduction by ${s.step}${s.stagedEpilogue ? ", staged epilogue" : ""}`;
}
