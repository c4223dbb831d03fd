// Simultaneous perturbation: the loss at theta + epsilon z and at theta - epsilon z gives the slope along z, and theta goes down along it.
// Only forward passes, only scalars leave the device. What a step does is a function of the log alone, so that replaying a log, or
// merging the logs of several workers in any order, gives the same bits.

import { byteOf, completeSteps, gradientOf, type LogEntry, type TuneLog } from "./log.ts";

/** The two things a device does. */
export interface Tunable {
  /** The loss of step `step`'s rows at theta + epsilon z(key). */
  loss(key: Key, epsilon: number, step: number): Promise<number>;
  /** theta <- theta - amount z(key). */
  move(key: Key, amount: number): Promise<void>;
}

export type Key = readonly [number, number];

export interface StepReport {
  readonly step: number;
  /** Mean of the losses on both sides of all directions that were measured. */
  readonly loss: number;
  /** Directions whose loss was no number: they move nothing. */
  readonly skipped: number;
}

/** Which directions of a step this worker measures. */
export interface Share {
  readonly worker: number;
  readonly of: number;
}

/** The slope along a direction, by a central difference. */
export function projectedGradient(above: number, below: number, epsilon: number): number {
  return (above - below) / (2 * epsilon);
}

/** Measures this worker's directions of one step; theta stays as it is. */
export async function measureStep(
  target: Tunable,
  { settings }: TuneLog,
  step: number,
  share: Share = { worker: 0, of: 1 },
): Promise<{ readonly entries: readonly LogEntry[]; readonly report: StepReport }> {
  const entries: LogEntry[] = [];
  let total = 0;
  let skipped = 0;
  for (let sample = share.worker; sample < settings.samples; sample += share.of) {
    const id = step * settings.samples + sample;
    const key: Key = [settings.seed, id];
    const above = await target.loss(key, settings.epsilon, step);
    const below = await target.loss(key, -settings.epsilon, step);
    const gradient = projectedGradient(above, below, settings.epsilon);
    if (!Number.isFinite(gradient)) skipped++;
    else total += (above + below) / 2;
    entries.push({ id, byte: byteOf(gradient) });
  }
  return { entries, report: { step, loss: total / Math.max(1, entries.length - skipped), skipped } };
}

/** Takes the steps of a log that are complete, from `from` on; the number of steps that have then been taken. */
export async function replay(target: Tunable, log: TuneLog, from = 0): Promise<number> {
  const { settings, entries } = log;
  const steps = completeSteps(log);
  for (const { id, byte } of entries.slice(from * settings.samples, steps * settings.samples)) {
    const amount = (settings.rate / settings.samples) * gradientOf(byte);
    if (amount !== 0) await target.move([settings.seed, id], amount);
  }
  return steps;
}

/** Measures and takes steps one after the other, from where the log ends. */
export async function tune(
  target: Tunable,
  start: TuneLog,
  steps: number,
  seen: (report: StepReport) => void = () => {},
): Promise<TuneLog> {
  let log = start;
  let taken = await replay(target, log);
  for (const last = taken + steps; taken < last;) {
    const { entries, report } = await measureStep(target, log, taken);
    log = {
      settings: log.settings,
      entries: [...log.entries.slice(0, taken * log.settings.samples), ...entries],
    };
    taken = await replay(target, log, taken);
    seen(report);
  }
  return log;
}
