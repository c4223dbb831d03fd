// The benchmark: `npm run bench -- [options]`; bench/README.md says what it does and how to add to it.
//
//   --case NAME     only this case (may be repeated); default: all but those on request
//   --group NAME    these cases too: models, heads or kernels (may be repeated)
//   --peer NAME     only this peer, and tokenloom (may be repeated)
//   --runs N        rounds; default 15
//   --first-run     also time the first run, in fresh processes without shader caches
//   --memory        also measure peak memory, in fresh processes that hold the runtime and the model alone
//   --ceiling       also measure the fastest matrix product that the adapter does, and each row's share of it
//   --device NAME   auto, lavapipe or embedded: the Vulkan driver that all peers get
//   --save          write bench/results and the tables of docs/performance.md

import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { evaluateDim } from "../src/ir/dim.ts";
import { graphStats } from "../src/ir/stats.ts";
import { systemDrivers } from "../src/runtime/dawn-node.ts";
import { embeddedDriver } from "../src/runtime/embedded-node.ts";
import { measureCeiling } from "./ceiling.ts";
import { cases, type Case } from "./cases.ts";
import { measureCase, measureFirstRun } from "./measure.ts";
import { measureMemory } from "./memory.ts";
import { graphOf } from "./models.ts";
import { peers } from "./peers/index.ts";
import { caseTable, save, updatePage, type CaseResult } from "./report.ts";

const { values: options } = parseArgs({
  options: {
    case: { type: "string", multiple: true },
    group: { type: "string", multiple: true },
    peer: { type: "string", multiple: true },
    runs: { type: "string", default: "15" },
    "first-run": { type: "boolean", default: false },
    memory: { type: "boolean", default: false },
    ceiling: { type: "boolean", default: false },
    device: { type: "string", default: "auto" },
    save: { type: "boolean", default: false },
  },
});

function fail(message: string): never {
  console.error(`error: ${message}`);
  process.exit(1);
}

/** Records by name; an unknown name lists the known ones. */
function pick<T extends { readonly name: string }>(
  what: string,
  all: readonly T[],
  names: readonly string[],
): readonly T[] {
  const unknown = names.find((n) => !all.some((x) => x.name === n));
  if (unknown !== undefined)
    fail(`there is no ${what} ${unknown}; there are ${all.map((x) => x.name).join(", ")}`);
  return all.filter((x) => names.includes(x.name));
}

/** The same Vulkan driver for every peer; each finds it through the environment of its process. */
async function environment(device: string): Promise<NodeJS.ProcessEnv> {
  const only = (icd: string) => ({ ...process.env, VK_DRIVER_FILES: icd, VK_ICD_FILENAMES: icd });
  if (device === "lavapipe") {
    const icd = systemDrivers().find((f) => /lvp/.test(f));
    return icd ? only(icd) : fail("this system has no lavapipe (Mesa's software driver for Vulkan)");
  }
  if (device === "embedded" || (device === "auto" && systemDrivers().length === 0)) {
    const driver = await embeddedDriver();
    if ("problem" in driver) return fail(driver.problem);
    // Ours takes the embedded driver together with the Dawn that comes with it.
    return { ...only(driver.icd), TOKENLOOM_DEVICE: "embedded" };
  }
  return device === "auto" ? process.env : fail(`--device is auto, lavapipe or embedded, not ${device}`);
}

function macsOf({ model }: Case): number {
  return evaluateDim(graphStats(graphOf(model)).macs, model.dims);
}

/** Behind the first. What peers keep for later is there after a few. */
const MEMORY_RUNS = 5;

const runs = Number(options.runs);
if (!Number.isInteger(runs) || runs < 1) fail("--runs is a whole number of at least 1");
const groups = options.group ?? [];
const unknownGroup = groups.find((g) => !cases.some((c) => c.group === g));
if (unknownGroup !== undefined) fail(`there is no group ${unknownGroup}; there are models, heads, kernels`);
const chosenCases = [
  ...(options.case
    ? pick("case", cases, options.case)
    : cases.filter((c) => !c.onRequest && groups.length === 0)),
  ...cases.filter(
    (c) => c.group !== undefined && groups.includes(c.group) && !options.case?.includes(c.name),
  ),
];
const [reference, ...others] = peers;
const chosenPeers = [
  reference!,
  ...(options.peer ? pick("peer", peers, options.peer).filter((p) => p !== reference) : others),
];

const env = await environment(options.device);
const say = (text: string): void => console.error(`  ${text}`);
const ceiling = options.ceiling ? await measureCeiling(env) : undefined;
if (ceiling) say(`ceiling: ${ceiling.gflops.toFixed(1)} GFLOP/s by ${ceiling.schedule}`);
for (const c of chosenCases) {
  console.error(`${c.name}: ${c.doc}`);
  const fitting = chosenPeers.filter((p) => p.fits?.(c) ?? true).map((p) => p.name);
  const times = await measureCase(c.name, fitting, runs, env, say);
  const firstRun = options["first-run"]
    ? await measureFirstRun(c.name, fitting, Math.min(runs, 3), env, say)
    : [];
  const memory = options.memory ? await measureMemory(c, fitting, MEMORY_RUNS, env, say) : undefined;
  const result: CaseResult = {
    ...{ case: c.name, doc: c.doc, macs: macsOf(c), peers: times, firstRun },
    ...(memory && { memory }),
    ...(ceiling && { ceiling }),
  };
  console.log(caseTable(result));
  // After each case: a run that is stopped has lost none of those before.
  if (options.save) keep(result);
}

function keep(result: CaseResult): void {
  const processor = cpus();
  const path = save({
    date: new Date().toISOString().slice(0, 10),
    adapter: String(result.peers[0]?.stats["adapter"] ?? "unknown"),
    machine: `${processor.length} x ${processor[0]?.model.trim() ?? "unknown processor"}`,
    node: process.versions.node,
    cases: [result],
  });
  updatePage();
  console.error(`  written: ${path}, docs/performance.md`);
}
