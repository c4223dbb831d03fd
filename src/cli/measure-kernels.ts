// Every kernel by itself: what it makes of the numbers that it was given on the device, against its group in f64 on the same numbers. So
// what kernels before it rounded, and rounded otherwise than the reference where a number lay between two, does not count against it.

import { lowerAs } from "../index.ts";
import { packConstants } from "../codegen/pack.ts";
import { evaluate } from "../ir/evaluate.ts";
import { preparedValues, type Graph, type ValueId } from "../ir/graph.ts";
import type { Tensor } from "../ir/tensor.ts";
import type { OpenedDevice } from "../runtime/device-node.ts";
import { createSession } from "../runtime/session.ts";
import type { Location } from "../support/source.ts";
import { scaleOf, type Checked } from "./measure.ts";

export interface KernelMeasure {
  readonly kernel: string;
  /** What it makes. */
  readonly value: ValueId;
  /** Of the number that is off most, next to what it may be off by. */
  readonly difference: number;
  readonly allowed: number;
  readonly ok: boolean;
  readonly locations: readonly Location[];
}

export interface Kernels {
  /** In the order of dispatches; a kernel stands here once for each value that it makes. */
  readonly measures: readonly KernelMeasure[];
  /** What the model returns where each kernel reads what the kernels before it wrote. */
  readonly outputs: Readonly<Record<string, Tensor>>;
}

/**
 * Runs the plan with what every kernel makes as an output. A number may be off by `tolerance` of the largest of its value, or of 1,
 * and by one unit where it is stored in f16.
 */
export async function measureKernels(c: Checked, device: OpenedDevice, tolerance: number): Promise<Kernels> {
  const graph = c.compiled.optimized.graphs[c.entry]!;
  const lowered = lowerAs(c.compiled, { name: c.compiled.module.name, graphs: [tapAll(graph)] });
  const session = await createSession(
    device.device,
    lowered.plan,
    packConstants(lowered.prepared, c.weights),
  );
  const got = await session.run(c.inputs, { dims: c.dims });
  await session.dispose();
  const wanted = new Map<ValueId, Tensor>();
  const { outputs } = evaluate(graph, c.weights, c.inputs, {
    dims: c.dims,
    given: new Map(Object.entries(got)),
    rounding: "stored",
    observe: (node, results) =>
      node.results.forEach((r, i) => {
        if (node.body && got[r.id]) wanted.set(r.id, results[i]!);
      }),
  });
  const measures = lowered.plan.entries[0]!.dispatches.flatMap((d) =>
    d.nodes
      .filter((id) => wanted.has(id))
      .map((id) => ({
        kernel: lowered.kernels[d.kernel]!.name,
        value: id,
        ...worstNumber(got[id]!, wanted.get(id)!, tolerance),
        locations: d.locations,
      })),
  );
  return { measures, outputs };
}

/** The number that is furthest off, by what is allowed for it. */
export function worstNumber(
  got: Tensor,
  want: Tensor,
  tolerance: number,
): Pick<KernelMeasure, "difference" | "allowed" | "ok"> {
  const inF32 = tolerance * Math.max(1, Math.min(scaleOf(want), 3.4e38));
  let worst = { difference: 0, allowed: inF32, ok: got.data.length === want.data.length };
  for (let i = 0; i < want.data.length; i++) {
    const [x, y] = [got.data[i]!, want.data[i]!];
    if (Object.is(x, y)) continue;
    const apart = Math.abs(x - y);
    const off = Number.isNaN(apart) ? Infinity : apart;
    const allowed = inF32 + (want.dtype === "f16" ? halfUnit(Math.abs(y)) : 0);
    if (off / allowed <= worst.difference / worst.allowed) continue;
    worst = { difference: off, allowed, ok: worst.ok && off <= allowed };
  }
  return worst;
}

/** How far apart neighbours in f16 are at most, at this size: WGSL leaves open to which of the two a number is rounded. */
const halfUnit = (x: number): number => Math.max(Math.min(x, 65504) * 2 ** -10, 2 ** -24);

/** The same graph with the result of every group as an output. */
function tapAll(graph: Graph): Graph {
  const prepared = preparedValues(graph);
  const taps = graph.nodes
    .filter((n) => n.body !== undefined)
    .flatMap((n) =>
      n.results.filter((r) => !prepared.has(r.id)).map((r) => ({ name: r.id, value: r.id, spans: n.spans })),
    );
  return { ...graph, outputs: taps };
}
