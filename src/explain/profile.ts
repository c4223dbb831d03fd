// Profiles: Chrome trace format (chrome://tracing, Perfetto), with what `explain` needs beside the events. Written here, read here.

import { InputError, error } from "../support/diagnostic.ts";
import { baseline, type Target } from "../ir/target.ts";
import type { ProfileDoc } from "./document.ts";

export interface Profile {
  readonly entry: string;
  /** What it was compiled for. */
  readonly target: Target;
  readonly dims: Readonly<Record<string, number>>;
  readonly doc: ProfileDoc;
}

export interface ProfiledDispatch {
  readonly kernel: string;
  readonly nanoseconds: number;
  /** What a trace viewer shows with it. */
  readonly args: Readonly<Record<string, unknown>>;
}

const format = "tokenloom-profile";
const version = 1;

/** Microseconds, as the format has it. Dispatches are laid end to end: the gaps between them are not measured. */
export function traceOf(p: Profile, dispatches: readonly ProfiledDispatch[]): unknown {
  let at = 0;
  const events = dispatches.map((d, i) => {
    const event = {
      name: d.kernel,
      cat: "dispatch",
      ph: "X",
      ts: at / 1e3,
      dur: d.nanoseconds / 1e3,
      pid: 1,
      tid: 1,
      args: { dispatch: i, ...d.args },
    };
    at += d.nanoseconds;
    return event;
  });
  const name = (kind: string, text: string) => ({
    name: kind,
    ph: "M",
    pid: 1,
    tid: 1,
    args: { name: text },
  });
  return {
    traceEvents: [name("process_name", p.doc.adapter), name("thread_name", p.entry), ...events],
    displayTimeUnit: "ms",
    otherData: {
      format,
      version,
      entry: p.entry,
      target: p.target,
      dims: p.dims,
      adapter: p.doc.adapter,
      method: p.doc.method,
      nanoseconds: p.doc.nanoseconds,
    },
  };
}

export function readProfile(text: string, name: string): Profile {
  const bad = (why: string): InputError =>
    new InputError([
      error("profile-format", `${name} is no profile: ${why}`, {
        help: "make one with tokenloom run FILE --profile out.json",
      }),
    ]);
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    throw bad("it is not JSON");
  }
  const other = isRecord(data) ? data["otherData"] : undefined;
  if (!isRecord(other) || other["format"] !== format) throw bad("it was not written by run --profile");
  if (other["version"] !== version) throw bad(`its version is not ${version}`);
  const { entry, target, dims, adapter, method, nanoseconds } = other;
  if (typeof entry !== "string" || typeof adapter !== "string") throw bad("its entry or adapter is missing");
  if (!isTarget(target)) throw bad("its target is no target");
  if (method !== "timestamps" && method !== "wall-clock") throw bad("its method is unknown");
  if (!isRecord(dims) || !Object.values(dims).every(isCount)) throw bad("its sizes are no sizes");
  if (!Array.isArray(nanoseconds) || !nanoseconds.every(isTime)) throw bad("its times are no times");
  return {
    entry,
    target,
    dims: dims as Record<string, number>,
    doc: { adapter, method, nanoseconds: nanoseconds as number[] },
  };
}

function isRecord(x: unknown): x is Record<string, unknown> {
  return typeof x === "object" && x !== null && !Array.isArray(x);
}
function isCount(x: unknown): boolean {
  return typeof x === "number" && Number.isSafeInteger(x) && x >= 0;
}
function isTime(x: unknown): boolean {
  return typeof x === "number" && Number.isFinite(x) && x >= 0;
}

/** The fields of a target, with numbers where numbers are. */
function isTarget(x: unknown): x is Target {
  if (!isRecord(x) || typeof x["name"] !== "string" || !isCount(x["subgroupSize"])) return false;
  const { features, limits, measured } = x;
  return (
    Array.isArray(features) &&
    features.every((f) => typeof f === "string") &&
    isRecord(limits) &&
    Object.keys(baseline.limits).every((name) => isCount(limits[name])) &&
    isRecord(measured) &&
    Object.keys(baseline.measured).every((name) => isTime(measured[name]))
  );
}
