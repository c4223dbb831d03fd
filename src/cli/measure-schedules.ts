// Candidates of each kernel measured alone, on the values that it has in a run of the model: in turns, by timestamps where the adapter
// has them, with what it takes to compile them. One that gives other results is no candidate.

import type { Compiled } from "../index.ts";
import type { KernelKind } from "../codegen/choose-schedules.ts";
import { lowerModule, type Lowered } from "../codegen/lower.ts";
import type { Schedule } from "../codegen/schedule-family.ts";
import type { DimEnv } from "../ir/dim.ts";
import type { Node } from "../ir/graph.ts";
import type { PlanEntry } from "../ir/plan.ts";
import type { Tensor } from "../ir/tensor.ts";
import { isolatedBytes, isolatedPlan, type Isolated } from "../runtime/isolate.ts";
import { createSession, type Session } from "../runtime/session.ts";
import { median, quantile } from "../support/statistics.ts";
import { relativeDifference } from "./measure.ts";

export interface Candidate {
  readonly schedule: Schedule;
  readonly text: string;
  readonly predictedMilliseconds: number;
  readonly predictedShaderMilliseconds: number;
}

export interface MeasuredCandidate extends Candidate {
  /** Of the first candidate's median, by what its runs took of those of the first beside them. */
  readonly milliseconds: number;
  readonly times: readonly number[];
  readonly shaderMilliseconds: number;
}

export interface MeasuredKind {
  readonly kind: KernelKind;
  /** The schedule that the plan has without tuning. */
  readonly untuned: string;
  readonly candidates: readonly MeasuredCandidate[];
  /** Why others were left out. */
  readonly refused: readonly string[];
}

/** f32 sums in another order stay far below. */
const TOLERANCE = 1e-4;

/** The untuned schedule, then the best `count` others of the ranking. */
export function candidatesOf({ space }: KernelKind, untuned: string, count: number): readonly Candidate[] {
  const of = (schedule: Schedule): readonly Candidate[] => {
    const cost = space.cost(schedule);
    return cost === undefined
      ? []
      : [
          {
            ...{ schedule, text: space.family.show(schedule) },
            predictedMilliseconds: cost.microseconds / 1000,
            predictedShaderMilliseconds: cost.shaderMilliseconds,
          },
        ];
  };
  const all = [...space.ranked().map((r) => r.schedule), space.first].flatMap(of);
  const first = all.find((c) => c.text === untuned);
  const others = all.filter((c, i) => c !== first && all.findIndex((x) => x.text === c.text) === i);
  return [...(first ? [first] : []), ...others.slice(0, count)];
}

/** What is measured: a compiled model with the sizes and values of one run. */
export interface Measuring {
  readonly compiled: Compiled;
  /** Lowered without tuned schedules, for these sizes. */
  readonly lowered: Lowered;
  readonly entry: number;
  readonly dims: DimEnv;
  readonly constants: Uint8Array<ArrayBuffer>;
  readonly device: GPUDevice;
  /** Another device: what one has compiled, its driver may keep. */
  reopen(): Promise<GPUDevice>;
  /** Milliseconds of shaders that were compiled already, by their text: another session of them tells nothing. */
  readonly shaders: Map<string, number>;
  readonly inputs: Readonly<Record<string, Tensor>>;
}

const ownEntry = (lowered: Lowered, m: Measuring): PlanEntry => lowered.plan.entries[m.entry]!;

/** The dispatches of a node: those that write its results, or scratch values of it. */
function dispatchesOf(entry: PlanEntry, node: Node): readonly number[] {
  const ids = node.results.map((r) => r.id);
  const own = (name: string): boolean => ids.some((id) => name === id || name.startsWith(`${id}.`));
  return entry.dispatches.flatMap((d, i) => (d.nodes.some(own) ? [i] : []));
}

const isolate = (m: Measuring, lowered: Lowered, node: Node): Isolated =>
  isolatedPlan(lowered.plan, ownEntry(lowered, m), dispatchesOf(ownEntry(lowered, m), node), m.dims);

/** The schedule by which a node runs in the plan. */
export function scheduleIn(m: Measuring, node: Node): string {
  const entry = ownEntry(m.lowered, m);
  const first = entry.dispatches[dispatchesOf(entry, node)[0] ?? -1];
  // `reduction, row:threads=32,width=4, over 8 parts`.
  return /(\w+:\S*?)(?:, |$)/.exec(first?.schedule ?? "")?.[1] ?? "";
}

/** One run of the model, of which the values that these nodes read are kept; entry inputs by their ids among them. */
export async function recordValues(
  m: Measuring,
  nodes: readonly Node[],
): Promise<ReadonlyMap<string, Tensor>> {
  const entry = ownEntry(m.lowered, m);
  const wanted = new Map(
    nodes.flatMap((n) => isolate(m, m.lowered, n).plan.entries[0]!.inputs).map((i) => [i.id, i] as const),
  );
  const inArena = new Set(entry.values.map((v) => v.id));
  const outputs = [...wanted.values()]
    .filter((t) => inArena.has(t.id))
    .map((t) => ({ name: t.id, value: t.id, tensor: t }));
  const entries = [{ ...entry, outputs }];
  const device = await m.reopen();
  const session = await createSession(device, { ...m.lowered.plan, entries }, m.constants);
  const bound = entry.symbols
    .filter((s) => s.kind === "bound")
    .map((s) => [s.name, m.dims[s.name]!] as const);
  const values = new Map(Object.entries(await session.run(m.inputs, { dims: Object.fromEntries(bound) })));
  for (const i of entry.inputs) values.set(i.id, m.inputs[i.name]!);
  for (const s of entry.states) values.set(s.id, await session.state.get(s.name));
  await session.dispose();
  device.destroy();
  return values;
}

/** The module lowered with the candidate of this place for every kind that has one there. */
export function lowerCandidates(
  m: Measuring,
  kinds: readonly { readonly kind: KernelKind; readonly candidates: readonly Candidate[] }[],
  place: number,
): Lowered {
  const schedules = Object.fromEntries(
    kinds.flatMap(({ kind, candidates }) => {
      const c = candidates[place];
      return c ? [[kind.nodes[0]!.results[0]!.id, c.text]] : [];
    }),
  );
  const { optimized, plan } = m.compiled;
  return lowerModule(optimized, { target: plan.target, compiler: plan.compiler, schedules, sizes: m.dims });
}

interface Ready {
  readonly candidate: Candidate;
  readonly session: Session;
  /** The text of its shaders. */
  readonly shaders: string;
  readonly first: number;
  readonly times: number[];
}

/** Run by run; 1 where the difference may be chance: it has to show in three of four. */
function ratioOf(times: readonly number[], first: readonly number[]): number {
  const ratios = times.map((t, i) => t / first[i]!);
  const ratio = median(ratios);
  return (ratio < 1 && quantile(ratios, 0.75) >= 1) || (ratio > 1 && quantile(ratios, 0.25) <= 1) ? 1 : ratio;
}

/** Runs candidates of one kind in turns, until each had `rounds` or the time is up; three at least. */
export async function measureKind(
  m: Measuring,
  kind: KernelKind,
  candidates: readonly Candidate[],
  lowered: readonly Lowered[],
  values: ReadonlyMap<string, Tensor>,
  limits: { readonly rounds: number; readonly milliseconds: number },
): Promise<Omit<MeasuredKind, "untuned">> {
  const end = performance.now() + limits.milliseconds;
  const node = kind.nodes[0]!;
  const ready: Ready[] = [];
  const refused: string[] = [];
  let wanted: Readonly<Record<string, Tensor>> | undefined;
  const inputs: Record<string, Tensor> = {};
  for (const [i, candidate] of candidates.entries()) {
    if (ready.length >= 2 && performance.now() > end) {
      refused.push(`${candidate.text}: no time was left`);
      continue;
    }
    const own = isolate(m, lowered[i]!, node);
    for (const id of own.reads) inputs[id] = values.get(id)!;
    const start = performance.now();
    const session = await createSession(m.device, own.plan, isolatedBytes(own, m.constants));
    const outputs = await session.run(inputs);
    const first = performance.now() - start;
    const results = Object.fromEntries(node.results.map((r) => [r.id, outputs[r.id]!]));
    wanted ??= results;
    const off = Math.max(...Object.entries(wanted).map(([id, t]) => relativeDifference(t, results[id]!)));
    const shaders = own.plan.kernels.map((k) => k.wgsl).join("\n");
    if (off <= TOLERANCE) ready.push({ candidate, session, shaders, first, times: [] });
    else {
      refused.push(`${candidate.text}: its results differ by ${off.toExponential(1)}`);
      await session.dispose();
    }
  }
  const whole: number[][] = ready.map(() => []);
  for (let round = 0; round < limits.rounds && (round < 3 || performance.now() < end); round++)
    for (let k = 0; k < ready.length; k++) {
      const at = (round + k) % ready.length;
      const { session, times } = ready[at]!;
      const start = performance.now();
      const { nanoseconds } = await session.runWith(inputs, { profile: true, outputs: [] });
      whole[at]!.push(performance.now() - start);
      times.push(nanoseconds ? nanoseconds.reduce((a, b) => a + b, 0) / 1e6 : whole[at]!.at(-1)!);
    }
  const measured = ready.map(({ candidate, first, shaders, times }, i): MeasuredCandidate => {
    const known = m.shaders.get(shaders) ?? Math.max(0, first - median(whole[i]!));
    m.shaders.set(shaders, known);
    const milliseconds = median(ready[0]!.times) * ratioOf(times, ready[0]!.times);
    return { ...candidate, times, milliseconds, shaderMilliseconds: known };
  });
  for (const { session } of ready) await session.dispose();
  return { kind, candidates: measured, refused };
}
