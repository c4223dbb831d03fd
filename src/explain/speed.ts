// How long each dispatch takes, measured where there is a profile, and how near it is to what the adapter can do.

import type { DispatchDoc, EntryDoc, TargetDoc } from "./document.ts";

/** Nanoseconds at the target's ceilings: the larger of what its arithmetic and its memory need. */
export function boundOf(target: TargetDoc, work: { readonly flops: number; readonly bytes: number }): number {
  return 1e9 * Math.max(work.flops / target.flopsPerSecond, work.bytes / target.bytesPerSecond);
}

/** FLOPs for each byte where a kernel stops being bound by memory. */
export function ridge(target: TargetDoc): number {
  return target.flopsPerSecond / target.bytesPerSecond;
}

export function intensity(work: { readonly flops: number; readonly bytes: number }): number {
  return work.flops / Math.max(work.bytes, 1);
}

/** Nanoseconds of each dispatch: those of the profile, else the bound, which no kernel reaches. */
export function timesOf(target: TargetDoc, entry: EntryDoc): readonly number[] {
  return entry.profile?.nanoseconds ?? entry.dispatches.map((d: DispatchDoc) => boundOf(target, d));
}
