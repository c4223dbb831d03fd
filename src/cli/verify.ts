// `verify`: is the GPU's answer the model's meaning? Holds it against the CPU reference in f64 (and stored results), and where they differ
// names the first pass, else the first kernel, that is wrong, with its model lines.

import type { Command } from "commander";
import { packWeights, settleGuards, type Compiled } from "../index.ts";
import { lowerModule } from "../codegen/lower.ts";
import { packConstants } from "../codegen/pack.ts";
import { evaluate, type Evaluated } from "../ir/evaluate.ts";
import { preparedValues, type Graph, type Node } from "../ir/graph.ts";
import type { Tensor } from "../ir/tensor.ts";
import { openDevice, type OpenedDevice } from "../runtime/device-node.ts";
import { loadInputs } from "../runtime/files-node.ts";
import { createSession } from "../runtime/session.ts";
import { error, InputError } from "../support/diagnostic.ts";
import { showLocation } from "../support/source.ts";
import { colors, compileFile, need, print, settings, showJson } from "./common.ts";
import { runOptions } from "./options.ts";
import { dimsOf, type RunFlags } from "./run.ts";
import { weightsFor } from "./weights.ts";

interface VerifyFlags extends RunFlags {
  readonly expected?: string;
  readonly tolerance: string;
  readonly passes?: boolean;
  readonly map?: readonly string[];
}

type Weights = (key: string) => Tensor;
type Inputs = Readonly<Record<string, Tensor>>;

export function verifyCommand(program: Command): void {
  runOptions(program.command("verify <file>").description("hold the GPU's answer against the CPU reference"))
    .option("--expected <file>", "a .safetensors file with the right outputs")
    .option("--map <output=tensor...>", "names in --expected, where they are not the outputs' own")
    .option("--tolerance <t>", "largest absolute difference allowed", "1e-4")
    .option("--passes", "measure every pass against its numerics contract, in f64")
    .action(verify);
}

/** Largest absolute difference, and where it is; infinite where a number is missing or not finite on one side only. */
function difference(a: Tensor, b: Tensor): number {
  if (a.data.length !== b.data.length) return Infinity;
  let most = 0;
  for (let i = 0; i < a.data.length; i++) {
    const x = a.data[i]!;
    const y = b.data[i]!;
    if (Object.is(x, y)) continue;
    const d = Math.abs(x - y);
    if (!(d <= most)) most = Number.isNaN(d) ? Infinity : d;
  }
  return most;
}

function scaleOf(t: Tensor): number {
  let most = 0;
  for (const v of t.data) most = Math.max(most, Math.abs(v));
  return most;
}

async function verify(file: string, flags: VerifyFlags): Promise<void> {
  const tolerance = Number(flags.tolerance);
  if (!(tolerance > 0))
    throw new InputError([error("tolerance-spec", `--tolerance ${flags.tolerance} is no positive number`)]);
  const device = await openDevice(flags.device === undefined ? {} : { device: flags.device });
  const unsettled = compileFile(file, flags, device.target);
  const weights = await weightsFor(unsettled.module, unsettled.models, flags.weights ?? ["seed:0"]);
  const { compiled } = settleGuards(unsettled, weights);
  const dims = dimsOf(flags);
  const inputs = need(
    await loadInputs(flags.input ?? [], compiled.plan.entries[0]!.inputs, dims, { seedMissing: true }),
  );
  const graph = compiled.module.graphs[0]!;
  const meaning = evaluate(graph, weights, inputs, { dims });
  const session = await createSession(device.device, compiled.plan, packWeights(compiled, weights));
  const got = await session.run(inputs, { dims });
  session.dispose();

  const rows = Object.entries(meaning.outputs).map(([name, t]) => ({
    name,
    against: "CPU reference, f64",
    difference: difference(got[name]!, t),
    scale: scaleOf(t),
  }));
  if (flags.expected !== undefined) rows.push(...(await against(flags, got)));
  const passes = flags.passes ? measurePasses(compiled, weights, inputs, dims, meaning) : [];
  const bad = rows.some((r) => !(r.difference <= tolerance)) || passes.some((p) => !p.ok);
  const blame = bad
    ? await findFault(compiled, device, weights, inputs, dims, meaning, tolerance)
    : undefined;
  if (flags.json)
    showJson({ ok: !bad, adapter: device.name, tolerance, outputs: rows, passes, fault: blame });
  else {
    for (const r of rows) {
      const mark = r.difference <= tolerance ? colors.green("ok  ") : colors.red("BAD ");
      print(
        `${mark} ${r.name}  differs by at most ${r.difference.toExponential(2)} from the ${r.against}  (values up to ${r.scale.toPrecision(3)})`,
      );
    }
    for (const p of passes)
      print(
        `${p.ok ? colors.green("ok  ") : colors.red("BAD ")} pass ${p.pass}: ${p.contract}, relative difference ${p.difference.toExponential(2)}`,
      );
    if (blame !== undefined) print(colors.bold(blame));
    print(`${colors.dim("adapter")}  ${device.name}${device.software ? "  (software: no GPU)" : ""}`);
  }
  device.device.destroy();
  process.exitCode = bad ? 1 : 0;
}

async function against(
  flags: VerifyFlags,
  got: Inputs,
): Promise<{ name: string; against: string; difference: number; scale: number }[]> {
  const names = settings(flags.map);
  const wanted = Object.entries(got).map(([name, t]) => ({
    name: names[name] ?? name,
    dtype: t.dtype,
    shape: t.shape.map(String),
  }));
  const expected = need(await loadInputs([flags.expected!], wanted, {}));
  return Object.entries(got).map(([name, t]) => {
    const want = expected[names[name] ?? name]!;
    return { name, against: flags.expected!, difference: difference(t, want), scale: scaleOf(want) };
  });
}

interface PassMeasure {
  readonly pass: string;
  readonly contract: string;
  /** Relative to the largest value of each output. */
  readonly difference: number;
  readonly ok: boolean;
}

/** Every pass that changed the graph, before against after, in f64. */
function measurePasses(
  compiled: Compiled,
  weights: Weights,
  inputs: Inputs,
  dims: Record<string, number>,
  meaning: Evaluated,
): readonly PassMeasure[] {
  let before = meaning;
  const out: PassMeasure[] = [];
  for (const s of compiled.steps[0]!) {
    if (!s.changed) continue;
    const after = evaluate(s.after, weights, inputs, { dims });
    const d = relative(before, after);
    out.push({
      pass: s.pass.name,
      contract: s.pass.numerics,
      difference: d,
      ok: s.pass.numerics === "approximates" || d <= (s.pass.numerics === "exact" ? 0 : 1e-10),
    });
    before = after;
  }
  return out;
}

function relative(a: Evaluated, b: Evaluated): number {
  return Math.max(
    0,
    ...Object.entries(a.outputs).map(
      ([name, t]) => difference(t, b.outputs[name]!) / Math.max(scaleOf(t), 1e-30),
    ),
  );
}

/** The first pass that changes the meaning in f64; else the first kernel whose result is not its group's. */
async function findFault(
  compiled: Compiled,
  device: OpenedDevice,
  weights: Weights,
  inputs: Inputs,
  dims: Record<string, number>,
  meaning: Evaluated,
  tolerance: number,
): Promise<string> {
  const wrong = measurePasses(compiled, weights, inputs, dims, meaning).find((p) => !p.ok);
  if (wrong)
    return `the first wrong step is pass ${wrong.pass}, which declares ${wrong.contract} and changes the outputs by ${wrong.difference.toExponential(2)}`;
  const graph = compiled.optimized.graphs[0]!;
  const expected = new Map<string, Tensor>();
  evaluate(graph, weights, inputs, {
    dims,
    observe: (n, results) => n.results.forEach((r, i) => expected.set(r.id, results[i]!)),
  });
  const tapped = tapAll(graph);
  const lowered = lowerModule(
    { name: compiled.module.name, graphs: [tapped] },
    { target: device.target, compiler: compiled.plan.compiler },
  );
  const session = await createSession(device.device, lowered.plan, packConstants(lowered.prepared, weights));
  const got = await session.run(inputs, { dims });
  session.dispose();
  const dispatches = lowered.plan.entries[0]!.dispatches;
  for (const d of dispatches)
    for (const id of d.nodes) {
      const want = expected.get(id)!;
      const off = difference(got[id]!, want);
      if (off <= tolerance * Math.max(1, scaleOf(want))) continue;
      const kernel = lowered.kernels[d.kernel]!.name;
      const lines = d.locations.map(showLocation).join(", ");
      return `the first wrong kernel is ${kernel}, which makes ${id} and is off by ${off.toExponential(2)}; it comes from ${lines}`;
    }
  return "every kernel is right by itself: the differences add up over the layers";
}

/** The same graph with the result of every group as an output. */
function tapAll(graph: Graph): Graph {
  const prepared = preparedValues(graph);
  const taps = graph.nodes
    .filter((n: Node) => n.body !== undefined)
    .flatMap((n) =>
      n.results.filter((r) => !prepared.has(r.id)).map((r) => ({ name: r.id, value: r.id, spans: n.spans })),
    );
  return { ...graph, outputs: taps };
}
