// Peak resident memory of every peer: each runs in a process with the runtime and nothing else, from files as its users have them: a compiled
// folder, an ONNX file, weights. Linux only, as it is the kernel that notes the peak.

import { fork } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build, type Plugin } from "esbuild";
import type { Case } from "./cases.ts";
import { difference } from "./compare.ts";
import { compileCase } from "./compiled.ts";
import type { Report } from "./measure.ts";
import type { Listed, MemoryReply, Way } from "./memory-child.ts";
import { graphOf, inputsOf, onnxOf, weightsOf, type Model } from "./models.ts";
import type { Outputs } from "./peers/peer.ts";

const root = join(import.meta.dirname, "..");
const program = (file: string): Way => ({ from: "weights", program: join(root, "bench/peers/web", file) });

/** Peers that are not here are not measured. */
const ways: Readonly<Record<string, Way>> = {
  tokenloom: { from: "compiled" },
  "onnxruntime-webgpu": { from: "onnx", provider: "webgpu" },
  "onnxruntime-cpu": { from: "onnx", provider: "cpu" },
  "tensorflow.js": program("tfjs.js"),
  "jax-js": program("jax.js"),
};

const allowed = 1e-4;

export interface PeerMemory {
  readonly peer: string;
  /** Peak resident bytes of the process behind its first run, and behind all of them. */
  readonly firstRun: number;
  readonly allRuns: number;
}

/** `runs` behind the first. A peer that fails or computes something else is left out with a message. */
export async function measureMemory(
  { name, model }: Case,
  peers: readonly string[],
  runs: number,
  env: NodeJS.ProcessEnv,
  say: Report,
): Promise<readonly PeerMemory[]> {
  const folder = mkdtempSync(join(tmpdir(), "tokenloom-memory-"));
  // Compiled shaders of an earlier run would spare some of the peers their compiler.
  const fresh = { ...env, MESA_SHADER_CACHE_DISABLE: "true" };
  try {
    const child = await bundled();
    writeMaterial(folder, model);
    await compileCase(name, join(folder, "compiled"), fresh);
    const found: PeerMemory[] = [];
    let expected: Outputs | undefined;
    for (const peer of peers) {
      const way = ways[peer];
      if (!way) continue;
      try {
        const { outputs, firstRun, allRuns } = await ask(child, folder, way, runs, fresh);
        expected ??= outputs;
        checkSame(peer, outputs, expected);
        found.push({ peer, firstRun, allRuns });
      } catch (e) {
        say(`memory of ${peer} is not measured: ${e instanceof Error ? e.message : String(e)}`);
      }
    }
    return found;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The child in one file, beside the packages that it finds at run time. */
async function bundled(): Promise<string> {
  const outfile = join(root, "node_modules/.cache/tokenloom-bench/memory-child.mjs");
  await build({
    entryPoints: [join(import.meta.dirname, "memory-child.ts")],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    packages: "external",
    plugins: [pure],
  });
  return outfile;
}

/** What is imported from a module and not used leaves the module out. */
const pure: Plugin = {
  name: "pure",
  setup(builder) {
    builder.onResolve({ filter: /^\..*\.ts$/ }, ({ path, resolveDir, kind }) =>
      kind === "entry-point" ? undefined : { path: join(resolveDir, path), sideEffects: false },
    );
  },
};

/** All that any of the ways loads. */
function writeMaterial(folder: string, model: Model): void {
  const graph = graphOf(model);
  const inputs = inputsOf(graph, model);
  const json = (file: string, list: readonly Listed[]): void =>
    writeFileSync(join(folder, file), JSON.stringify(list));
  json(
    "inputs.json",
    Object.entries(inputs).map(([name, { dtype, shape }]) => ({ name, dtype, shape })),
  );
  const read = weightsOf(graph);
  const weights = graph.weights.map(({ key }) => ({ key, tensor: read(key) }));
  json(
    "weights.json",
    weights.map(({ key, tensor: { dtype, shape } }) => ({ name: key, dtype, shape })),
  );
  const numbers = weights.map(({ tensor }) => Buffer.from(Float32Array.from(tensor.data).buffer));
  writeFileSync(join(folder, "weights.bin"), Buffer.concat(numbers));
  writeFileSync(join(folder, "model.onnx"), onnxOf(model));
}

function ask(
  child: string,
  folder: string,
  way: Way,
  runs: number,
  env: NodeJS.ProcessEnv,
): Promise<MemoryReply> {
  return new Promise((resolve, reject) => {
    const started = fork(child, [folder, JSON.stringify(way), String(runs)], {
      serialization: "advanced",
      env,
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    let said = "";
    started.stderr!.on("data", (text: Buffer) => (said = `${said}${text}`.slice(-2000)));
    started.on("message", (reply: MemoryReply) => {
      resolve(reply);
      started.kill();
    });
    started.on("exit", (code) => reject(new Error(`ended with ${code}\n${said}`)));
  });
}

function checkSame(peer: string, outputs: Outputs, expected: Outputs): void {
  for (const [name, t] of Object.entries(expected)) {
    const off = outputs[name] ? difference(outputs[name], t) : Infinity;
    if (!(off <= allowed)) throw new Error(`${peer} computes something else: ${name} differs by ${off}`);
  }
}
