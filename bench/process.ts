// One peer in a process of its own, seen from the parent: start it, ask it, stop it.

import { fork, type ChildProcess } from "node:child_process";
import { extname, join } from "node:path";
import type { Reply, Request } from "./child.ts";
import type { DeviceTime, Outputs, Part, Prepared } from "./peers/peer.ts";

/** A run that takes longer than this hangs. */
const patience = 10 * 60_000;

/** From source, or bundled into the pack. */
const extension = extname(import.meta.filename);
const execArgv = extension === ".ts" ? ["--import", "tsx"] : [];

export class PeerProcess {
  readonly peer: string;
  readonly #child: ChildProcess;
  readonly #said: string[] = [];
  firstRun: readonly Part[] = [];
  stats: Prepared["stats"] = {};

  private constructor(peer: string, child: ChildProcess) {
    this.peer = peer;
    this.#child = child;
    child.stderr?.on("data", (text: Buffer) => {
      this.#said.push(text.toString());
      if (this.#said.length > 20) this.#said.shift();
    });
  }

  /** Starts the peer and waits for its first run. */
  static async start(peer: string, caseName: string, env: NodeJS.ProcessEnv): Promise<PeerProcess> {
    const child = fork(join(import.meta.dirname, `child${extension}`), [peer, caseName], {
      execArgv,
      // Typed arrays travel as they are.
      serialization: "advanced",
      env,
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    const made = new PeerProcess(peer, child);
    const ready = await made.#reply("ready").catch((e: unknown) => {
      // One that failed waits for more to do, and the benchmark for its end.
      child.kill();
      throw e;
    });
    made.firstRun = ready.firstRun;
    made.stats = ready.stats;
    return made;
  }

  async outputs(): Promise<Outputs> {
    return (await this.#ask({ kind: "outputs" }, "outputs")).outputs;
  }

  /** Milliseconds of one run. */
  async time(): Promise<number> {
    return (await this.#ask({ kind: "time" }, "time")).milliseconds;
  }

  /** The same, inputs and outputs on the device; undefined where the peer cannot. */
  async resident(): Promise<number | undefined> {
    return (await this.#ask({ kind: "resident" }, "resident")).milliseconds;
  }

  async device(): Promise<DeviceTime | undefined> {
    return (await this.#ask({ kind: "device" }, "device")).time;
  }

  async stop(): Promise<void> {
    await this.#ask({ kind: "stop" }, "stopped").catch(() => undefined);
    this.#child.kill();
  }

  #ask<K extends Reply["kind"]>(request: Request, kind: K): Promise<Extract<Reply, { kind: K }>> {
    this.#child.send(request);
    return this.#reply(kind);
  }

  #reply<K extends Reply["kind"]>(kind: K): Promise<Extract<Reply, { kind: K }>> {
    return new Promise((resolve, reject) => {
      const end = (finish: () => void): void => {
        clearTimeout(timer);
        this.#child.off("message", onMessage).off("exit", onExit);
        finish();
      };
      const problem = (what: string): Error =>
        new Error([`${this.peer} ${what}`, ...this.#said].join("\n").slice(0, 2000));
      const onMessage = (reply: Reply): void =>
        end(() => {
          if (reply.kind === kind) resolve(reply as Extract<Reply, { kind: K }>);
          else reject(problem(reply.kind === "failed" ? `failed: ${reply.message}` : `said ${reply.kind}`));
        });
      const onExit = (code: number | null): void => end(() => reject(problem(`ended with ${code}`)));
      const timer = setTimeout(() => {
        this.#child.kill();
        end(() => reject(problem("did not answer")));
      }, patience);
      this.#child.on("message", onMessage).on("exit", onExit);
    });
  }
}
