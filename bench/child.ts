// The process that one peer runs in: `child.ts PEER CASE`, driven by messages from the parent. Times are taken here, so passing
// messages costs nothing that is measured.

import { cases } from "./cases.ts";
import { packCases } from "./pack/cases.ts";
import { packPeers, peers } from "./peers/index.ts";
import type { DeviceTime, Outputs, Part, Prepared } from "./peers/peer.ts";

/** From the parent. */
export interface Request {
  readonly kind: "outputs" | "time" | "resident" | "device" | "stop";
}

/** To the parent. */
export type Reply =
  | { readonly kind: "ready"; readonly firstRun: readonly Part[]; readonly stats: Prepared["stats"] }
  | { readonly kind: "outputs"; readonly outputs: Outputs }
  | { readonly kind: "time"; readonly milliseconds: number }
  | { readonly kind: "resident"; readonly milliseconds: number | undefined }
  | { readonly kind: "device"; readonly time: DeviceTime | undefined }
  | { readonly kind: "stopped" }
  | { readonly kind: "failed"; readonly message: string };

const send = (reply: Reply): void => void process.send!(reply);

async function main(): Promise<void> {
  // A parent that was stopped leaves nothing running behind it.
  process.on("disconnect", () => process.exit());
  const [peerName, caseName] = process.argv.slice(2);
  const peer = [...peers, ...packPeers].find((p) => p.name === peerName)!;
  const prepared = await peer.prepare([...cases, ...packCases].find((c) => c.name === caseName)!);
  const answer = async (request: Request): Promise<void> => {
    switch (request.kind) {
      case "outputs":
        return send({ kind: "outputs", outputs: await prepared.run() });
      case "resident":
        return send({ kind: "resident", milliseconds: await prepared.resident?.() });
      case "device":
        return send({ kind: "device", time: await prepared.device?.() });
      case "time": {
        if (prepared.time) return send({ kind: "time", milliseconds: await prepared.time() });
        const start = performance.now();
        await prepared.run();
        return send({ kind: "time", milliseconds: performance.now() - start });
      }
      case "stop":
        await prepared.dispose();
        send({ kind: "stopped" });
        return;
      default:
        return request.kind satisfies never;
    }
  };
  process.on("message", (request: Request) => answer(request).catch(fail));
  send({ kind: "ready", firstRun: prepared.firstRun, stats: prepared.stats });
}

function fail(e: unknown): void {
  send({ kind: "failed", message: e instanceof Error ? e.message : String(e) });
}

if (process.send) await main().catch(fail);
