// How times are taken. Outputs are compared before anything is timed; then every peer runs once in each round, and the round begins
// with another peer each time, so that whatever else the machine does falls on all of them alike. Ratios are taken round by round.

import { difference, median, quantile } from "./compare.ts";
import { peers as allPeers } from "./peers/index.ts";
import type { Part } from "./peers/peer.ts";
import { PeerProcess } from "./process.ts";

/** Relative; f32 arithmetic in another order stays far below, another function does not. */
const allowed = 1e-4;
const warmUps = 2;

export interface PeerTimes {
  readonly peer: string;
  /** One for each round, milliseconds. */
  readonly times: readonly number[];
  readonly median: number;
  readonly p90: number;
  /** Times of this peer divided by those of the first, round by round: median, first and last decile. */
  readonly ratio: { readonly median: number; readonly p10: number; readonly p90: number };
  /** Largest relative difference of its outputs from the first peer's. */
  readonly difference: number;
  readonly stats: Readonly<Record<string, string | number>>;
}

export interface FirstRun {
  readonly peer: string;
  /** Medians over fresh processes. */
  readonly parts: readonly Part[];
  readonly total: number;
}

export type Report = (text: string) => void;

/** Peers that cannot run here are left out with a message; the first must run. */
export async function measureCase(
  caseName: string,
  peers: readonly string[],
  runs: number,
  env: NodeJS.ProcessEnv,
  say: Report,
): Promise<readonly PeerTimes[]> {
  const running: PeerProcess[] = [];
  try {
    for (const peer of peers) {
      const started = await startPeer(peer, caseName, env, say);
      if (started) running.push(started);
      else if (running.length === 0) throw new Error(`${peer} must run: the others are compared with it`);
    }
    const differences = await compareOutputs(running, say);
    for (const p of running) for (let i = 0; i < warmUps; i++) await p.time();
    const times = running.map((): number[] => []);
    for (let round = 0; round < runs; round++)
      for (let k = 0; k < running.length; k++) {
        const i = (round + k) % running.length;
        times[i]!.push(await running[i]!.time());
      }
    return running.map((p, i) => {
      const ratios = times[i]!.map((t, round) => t / times[0]![round]!);
      return {
        peer: p.peer,
        times: times[i]!,
        median: median(times[i]!),
        p90: quantile(times[i]!, 0.9),
        ratio: { median: median(ratios), p10: quantile(ratios, 0.1), p90: quantile(ratios, 0.9) },
        difference: differences[i]!,
        stats: p.stats,
      };
    });
  } finally {
    for (const p of running) await p.stop();
  }
}

async function startPeer(
  peer: string,
  caseName: string,
  env: NodeJS.ProcessEnv,
  say: Report,
): Promise<PeerProcess | undefined> {
  try {
    return await PeerProcess.start(peer, caseName, env);
  } catch (e) {
    say(`${peer} is left out: ${e instanceof Error ? e.message : String(e)}`);
    return undefined;
  }
}

/** A peer that computes something else must not be timed. */
async function compareOutputs(running: readonly PeerProcess[], say: Report): Promise<readonly number[]> {
  const [first, ...others] = running;
  const expected = await first!.outputs();
  const differences = [0];
  for (const p of others) {
    const outputs = await p.outputs();
    const worst = Math.max(
      ...Object.entries(expected).map(([name, t]) =>
        outputs[name] ? difference(outputs[name], t) : Infinity,
      ),
    );
    const may = allPeers.find((x) => x.name === p.peer)?.allowed ?? allowed;
    if (!(worst <= may))
      throw new Error(
        `${p.peer} computes something else: outputs differ by ${worst.toExponential(1)} relative`,
      );
    say(`${p.peer} agrees with ${first!.peer} within ${worst.toExponential(1)} relative`);
    differences.push(worst);
  }
  return differences;
}

/** Each time in a fresh process, with no cache of compiled shaders on disk. */
export async function measureFirstRun(
  caseName: string,
  peers: readonly string[],
  runs: number,
  env: NodeJS.ProcessEnv,
  say: Report,
): Promise<readonly FirstRun[]> {
  const seen = new Map<string, (readonly Part[])[]>();
  for (let round = 0; round < runs; round++)
    for (const peer of peers) {
      const started = await startPeer(peer, caseName, { ...env, MESA_SHADER_CACHE_DISABLE: "true" }, say);
      if (!started) continue;
      seen.set(peer, [...(seen.get(peer) ?? []), started.firstRun]);
      await started.stop();
    }
  return [...seen].map(([peer, all]) => {
    const parts = all[0]!.map(({ name }, i) => ({
      name,
      milliseconds: median(all.map((p) => p[i]!.milliseconds)),
    }));
    const total = median(all.map((p) => p.reduce((sum, x) => sum + x.milliseconds, 0)));
    return { peer, parts, total };
  });
}
