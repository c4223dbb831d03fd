// PyTorch: the same network written in Python (torch/networks.py), with the same seeded weights, in a process that is spoken to in
// lines of JSON. Times are taken there.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { constantOf, evaluateDim } from "../../src/ir/dim.ts";
import { typesOf } from "../../src/ir/graph.ts";
import { elementCount } from "../../src/ir/tensor.ts";
import { graphOf } from "../models.ts";
import { packCases } from "../pack/cases.ts";
import { stopwatch, type DeviceTime, type Peer } from "./peer.ts";

/** How it computes: the arguments of peer.py. */
export interface TorchMode {
  readonly dtype: "f32" | "f16";
  readonly tf32: boolean;
  readonly compile: boolean;
}

interface Ready {
  readonly stats: Readonly<Record<string, string | number>>;
}

export function torch(name: string, mode: TorchMode, doc: string, allowed?: number): Peer {
  return {
    name,
    doc,
    device: "gpu",
    ...(allowed !== undefined && { allowed }),
    async prepare(c) {
      const known = packCases.find((p) => p.name === c.name);
      if (!known) throw new Error(`there is no PyTorch network for ${c.name}`);
      const graph = graphOf(c.model);
      const sizes = c.model.dims;
      const output = graph.outputs[0]!;
      const { dtype, shape: dims } = typesOf(graph).get(output.value)!;
      const shape = dims.map((d) => evaluateDim(d, sizes));
      const asked = {
        ...mode,
        network: known.network,
        set: c.model.set ?? {},
        weights: graph.weights.map((w) => ({ key: w.key, shape: w.type.shape.map((d) => constantOf(d)!) })),
        inputs: graph.inputs.map((i) => ({
          name: i.name,
          dtype: i.type.dtype,
          shape: i.type.shape.map((d) => evaluateDim(d, sizes)),
        })),
      };
      const folder = mkdtempSync(join(tmpdir(), "tokenloom-torch-"));
      const peer = new PythonPeer(join(import.meta.dirname, "torch", "peer.py"), folder);
      const { parts, step } = stopwatch();
      const { stats } = await step("import, weights, first run", () =>
        peer.ask<Ready>({ kind: "prepare", ...asked }),
      );
      return {
        async run() {
          const file = join(folder, "output");
          await peer.ask({ kind: "outputs", file });
          const bytes = readFileSync(file);
          const data = new Float32Array(bytes.buffer, bytes.byteOffset, elementCount(shape));
          return { [output.name]: { dtype, shape, data } };
        },
        time: async () => (await peer.ask<{ milliseconds: number }>({ kind: "time" })).milliseconds,
        resident: async () => (await peer.ask<{ milliseconds: number }>({ kind: "resident" })).milliseconds,
        device: async () => (await peer.ask<{ time: DeviceTime }>({ kind: "device" })).time,
        firstRun: parts,
        stats,
        async dispose() {
          peer.end();
          rmSync(folder, { recursive: true, force: true });
        },
      };
    },
  };
}

/** Python, asked one thing at a time: a line of JSON for a line of JSON. */
class PythonPeer {
  readonly #child;
  readonly #lines: AsyncIterator<string>;
  #said = "";

  constructor(file: string, folder: string) {
    const python = process.env["TOKENLOOM_PYTHON"] ?? "python3";
    this.#child = spawn(python, ["-u", file], { cwd: folder, stdio: ["pipe", "pipe", "pipe"] });
    // A program that is not there: the end of its output says so.
    this.#child.on("error", (e) => (this.#said += e.message));
    this.#child.stdin.on("error", () => undefined);
    this.#child.stderr.on(
      "data",
      (text: Buffer) => (this.#said = (this.#said + text.toString()).slice(-1500)),
    );
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async ask<T>(request: Readonly<Record<string, unknown>>): Promise<T> {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done === true) throw new Error(`Python ended: ${this.#said}`);
      // Libraries may write to the standard output, too.
      if (!value.startsWith("{")) continue;
      const reply = JSON.parse(value) as T & { readonly failed?: string };
      if (reply.failed !== undefined) throw new Error(reply.failed);
      return reply;
    }
  }

  end(): void {
    this.#child.stdin.end();
    this.#child.kill();
  }
}
