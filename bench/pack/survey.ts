// One case of the pack, in a process of its own: `survey.js CASE --out FILE`. All peers start at once; outputs are compared before
// any time is taken; then runs in turns, then what the device's own clock says. One line of JSON goes to the end of FILE.

import { appendFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { evaluateDim } from "../../src/ir/dim.ts";
import { graphStats } from "../../src/ir/stats.ts";
import { difference, median, quantile } from "../compare.ts";
import { graphOf } from "../models.ts";
import { packPeers, peers } from "../peers/index.ts";
import type { DeviceTime, Outputs, Part } from "../peers/peer.ts";
import { PeerProcess } from "../process.ts";
import { packCases, type PackCase } from "./cases.ts";

/** Relative; f32 arithmetic in another order stays below. */
const allowed = 1e-4;
const warmUps = 2;
/** Milliseconds; a run that takes longer is not warmed up any more. */
const long = 1500;

export interface PeerRow {
  readonly peer: string;
  /** Why it could not run, or not go on: what had been measured stands. */
  readonly failed?: string;
  /** From tokenloom's outputs, or those of the first peer that runs; and whether that is allowed. */
  readonly difference?: number;
  readonly agrees?: boolean;
  /** Milliseconds, host to host. */
  readonly wall?: Quantiles;
  /** Milliseconds, inputs and outputs on the device. */
  readonly resident?: Quantiles;
  readonly device?: DeviceTime;
  readonly firstRun?: readonly Part[];
  readonly stats?: Readonly<Record<string, string | number>>;
}

interface Quantiles {
  readonly median: number;
  readonly p10: number;
  readonly p90: number;
  readonly runs: number;
}

export interface CaseRow {
  readonly case: string;
  readonly doc: string;
  readonly macs: number;
  readonly peers: readonly PeerRow[];
}

const say = (text: string): void => console.log(`  ${text}`);
const message = (e: unknown): string => (e instanceof Error ? e.message : String(e));

/** One that takes longer would hold up the others; it ends with this process. */
function withinTime<T>(work: Promise<T>, milliseconds: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`not started after ${milliseconds / 1e3} s`)),
      milliseconds,
    );
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** Measures into `rows`, which are true at every moment. */
async function survey(
  c: PackCase,
  names: readonly string[],
  rows: Map<string, PeerRow>,
  rounds: number,
  budget: number,
  starting: number,
): Promise<void> {
  const put = (peer: string, more: Partial<PeerRow>): void => {
    rows.set(peer, { ...rows.get(peer), ...more, peer });
  };
  const running = new Map<string, PeerProcess>();
  const drop = async (name: string, e: unknown): Promise<void> => {
    put(name, { failed: message(e) });
    say(`${name}: ${message(e)}`);
    const peer = running.get(name);
    running.delete(name);
    await peer?.stop();
  };
  /** The same for each that still runs; one that fails is out. */
  const each = async (work: (peer: PeerProcess, name: string) => Promise<void>, shift = 0): Promise<void> => {
    const order = [...running];
    for (let i = 0; i < order.length; i++) {
      const [name, peer] = order[(i + shift) % order.length]!;
      await work(peer, name).catch((e: unknown) => drop(name, e));
    }
  };
  const start = async (name: string): Promise<void> => {
    try {
      const peer = await withinTime(PeerProcess.start(name, c.name, process.env), starting);
      running.set(name, peer);
      put(name, { firstRun: peer.firstRun, stats: peer.stats });
    } catch (e) {
      await drop(name, e);
    }
  };
  await Promise.all(names.map(start));
  // In the order of the names, whoever came first: tokenloom's outputs are those that the others are compared with.
  const inOrder = names.flatMap((n) => (running.has(n) ? [[n, running.get(n)!] as const] : []));
  running.clear();
  for (const [name, peer] of inOrder) running.set(name, peer);
  try {
    let expected: Outputs | undefined;
    await each(async (peer, name) => {
      const outputs = await peer.outputs();
      expected ??= outputs;
      const most = Math.max(
        ...Object.entries(expected).map(([output, t]) =>
          outputs[output] ? difference(outputs[output], t) : Infinity,
        ),
      );
      const may = c.allowed ?? [...peers, ...packPeers].find((p) => p.name === name)?.allowed ?? allowed;
      put(name, { difference: most, agrees: most <= may });
      say(`${name}: outputs differ by ${most.toExponential(1)}${most <= may ? "" : ": something else"}`);
    });
    const take = async (what: "wall" | "resident"): Promise<void> => {
      const times = new Map<string, number[]>();
      const end = performance.now() + budget;
      for (let round = 0; round < rounds && (round === 0 || performance.now() < end); round++)
        await each(async (peer, name) => {
          const ms = what === "wall" ? await peer.time() : await peer.resident();
          if (ms !== undefined) times.set(name, [...(times.get(name) ?? []), ms]);
        }, round);
      for (const [name, ms] of times)
        if (running.has(name))
          put(name, {
            [what]: { median: median(ms), p10: quantile(ms, 0.1), p90: quantile(ms, 0.9), runs: ms.length },
          });
    };
    // What says most comes first: where the time is over, the rest is missing.
    await each(async (peer, name) => {
      const device = await peer.device();
      if (device) put(name, { device });
    });
    await take("resident");
    await each(async (peer) => {
      for (let i = 0; i < warmUps && (await peer.time()) < long; i++);
    });
    await take("wall");
  } finally {
    await Promise.all([...running.values()].map((p) => p.stop()));
  }
}

function rowOf(c: PackCase, names: readonly string[], rows: ReadonlyMap<string, PeerRow>): CaseRow {
  const macs = evaluateDim(graphStats(graphOf(c.model)).macs, c.model.dims);
  const peers = names.map(
    (peer) => rows.get(peer) ?? { peer, failed: "the time was over before it had started" },
  );
  return { case: c.name, doc: c.doc, macs, peers };
}

if (process.argv[2] === "--list") console.log(packCases.map((c) => c.name).join("\n"));
else {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      out: { type: "string" },
      rounds: { type: "string", default: "20" },
      budget: { type: "string", default: "2000" },
      starting: { type: "string", default: "40000" },
      peers: { type: "string" },
    },
  });
  const c = packCases.find((x) => x.name === positionals[0]);
  if (!c || values.out === undefined) throw new Error(`survey CASE --out FILE; --list lists the cases`);
  const { out } = values;
  const names = ["tokenloom", ...(values.peers?.split(",") ?? c.peers)];
  const rows = new Map<string, PeerRow>();
  const finish = (): never => {
    appendFileSync(out, `${JSON.stringify({ kind: "case", ...rowOf(c, names, rows) })}\n`);
    process.exit(0);
  };
  // What has been measured when the time is over stands.
  process.on("SIGTERM", finish);
  await survey(c, names, rows, Number(values.rounds), Number(values.budget), Number(values.starting));
  finish();
}
