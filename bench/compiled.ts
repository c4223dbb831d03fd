// A case compiled into a folder ahead of time, as `tokenloom compile --dim ...` does: `compiled.ts CASE FOLDER`. A process of its own, so
// that the one that is measured holds nothing of the compiler.

import { execFile } from "node:child_process";
import { basename, extname, join } from "node:path";
import { promisify } from "node:util";
import { writeFolder } from "../src/cli/folder.ts";
import { compileModule, elaborateFile, InputError, packWeights, settleGuards } from "../src/index.ts";
import { openDevice } from "../src/runtime/device-node.ts";
import { cases } from "./cases.ts";
import { options, source, weightsOf } from "./models.ts";
import { packCases } from "./pack/cases.ts";

const extension = extname(import.meta.filename);
const execArgv = extension === ".ts" ? ["--import", "tsx"] : [];

/** Milliseconds that compiling took, without reading weights and writing the folder. */
export async function compileCase(name: string, folder: string, env = process.env): Promise<number> {
  const script = join(import.meta.dirname, `compiled${extension}`);
  const { stdout } = await promisify(execFile)(process.execPath, [...execArgv, script, name, folder], {
    env,
  });
  return Number(stdout);
}

async function main(name: string, folder: string): Promise<void> {
  const { model } = [...cases, ...packCases].find((c) => c.name === name)!;
  const { device, target } = await openDevice();
  const chosen = { ...options(model), target, sizes: model.dims };
  const start = performance.now();
  const front = elaborateFile(source(model.file), chosen);
  if (!front.module) throw new InputError(front.diagnostics);
  const compiled = compileModule(front.module, chosen, front);
  const took = performance.now() - start;
  const weights = weightsOf(front.module.graphs[0]!);
  const { compiled: settled } = settleGuards(compiled, weights);
  writeFolder(folder, settled.plan, packWeights(settled, weights));
  process.stdout.write(String(took));
  device.destroy();
}

// Bundled, this is a part of other scripts too.
if (basename(process.argv[1] ?? "", extension) === "compiled") await main(process.argv[2]!, process.argv[3]!);
