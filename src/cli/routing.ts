// `run --routing`: the model with the logits and choices of its routers as further outputs, and a report of what they did.

import { evaluatePrepared } from "../ir/evaluate.ts";
import { constantOf } from "../ir/dim.ts";
import {
  preparedValues,
  typesOf,
  type Graph,
  type Module,
  type Node,
  type Output,
  type ValueId,
} from "../ir/graph.ts";
import type { Tensor } from "../ir/tensor.ts";
import { routingReport, type LayerRouting, type RoutingSource } from "../routing/report.ts";
import { error, InputError } from "../support/diagnostic.ts";
import { colors, print } from "./common.ts";

/** Names of the outputs that are added; no model can have them. */
const prefix = "@routing";

interface Tapped {
  readonly node: Node;
  /** The ids that products are computed for, and for how many experts. */
  readonly served?: { readonly ids: ValueId; readonly networks: number };
}

/** Every `route` of a graph, and the products that its ids, perhaps with some dropped, go to. */
function routersOf(graph: Graph): readonly Tapped[] {
  const types = typesOf(graph);
  const producers = new Map(graph.nodes.flatMap((n) => n.results.map((r) => [r.id, n] as const)));
  const served = new Map<Node, NonNullable<Tapped["served"]>>();
  for (const n of graph.nodes) {
    if (n.op.name !== "grouped_linear") continue;
    const ids = n.inputs[3]!;
    const router = routerBehind(ids, producers);
    const networks = constantOf(types.get(n.inputs[1]!)!.shape[0]!);
    if (router && networks !== undefined && !served.has(router)) served.set(router, { ids, networks });
  }
  return graph.nodes
    .filter((n) => n.op.name === "route")
    .map((node) => ({ node, ...(served.has(node) && { served: served.get(node)! }) }));
}

/** The router that ids come from, past whatever moves or drops some of them. */
function routerBehind(ids: ValueId, producers: ReadonlyMap<ValueId, Node>): Node | undefined {
  const seen = new Set<ValueId>([ids]);
  for (const id of seen) {
    const n = producers.get(id);
    if (n?.op.name === "route") return n;
    for (const x of n?.inputs ?? []) if (x !== "") seen.add(x);
  }
  return undefined;
}

/** The module with what a report needs as outputs. */
export function withRouting(module: Module): Module {
  const graphs = module.graphs.map((graph): Graph => {
    const added = routersOf(graph).flatMap(({ node, served }, i): Output[] => {
      const tap = (what: string, value: ValueId): Output => ({
        name: `${prefix}.${i}.${what}`,
        value,
        spans: node.spans,
      });
      return [
        tap("logits", node.inputs[0]!),
        tap("ids", node.results[0]!.id),
        ...(served ? [tap("served", served.ids)] : []),
      ];
    });
    return { ...graph, outputs: [...graph.outputs, ...added] };
  });
  if (graphs.every((g, i) => g.outputs.length === module.graphs[i]!.outputs.length))
    throw new InputError([
      error("no-router", "the model has no router", { help: "run it without --routing" }),
    ]);
  return { ...module, graphs };
}

/** Takes the added outputs out again; the rest are the model's own. */
export function splitRouting(
  graph: Graph,
  outputs: Readonly<Record<string, Tensor>>,
  weights: (key: string) => Tensor,
): { readonly own: Readonly<Record<string, Tensor>>; readonly layers: readonly LayerRouting[] } {
  const own = Object.fromEntries(Object.entries(outputs).filter(([name]) => !name.startsWith(prefix)));
  const prepared = preparedValues(graph);
  const sources = routersOf(graph).map(({ node, served }, i): RoutingSource => {
    const bias = node.inputs[1] ?? "";
    const found = prepared.has(bias) ? evaluatePrepared(graph, weights, [bias]).get(bias) : undefined;
    return {
      layer: node.scope === "" ? `router ${i}` : node.scope,
      attrs: node.attrs,
      logits: outputs[`${prefix}.${i}.logits`]!,
      ids: outputs[`${prefix}.${i}.ids`]!,
      ...(served && { served: outputs[`${prefix}.${i}.served`]!, networks: served.networks }),
      ...(found && { bias: found }),
    };
  });
  return { own, layers: routingReport(sources) };
}

const percent = (x: number): string => `${(100 * x).toFixed(1)} %`;

export function printRouting(layers: readonly LayerRouting[]): void {
  for (const l of layers) {
    print(`${colors.bold(l.layer)}  ${l.tokens} tokens, ${l.experts} experts`);
    const most = Math.max(1, ...l.loads);
    const width = String(most).length;
    // Many experts are shown by the fullest and the emptiest.
    const order = l.loads.map((n, e) => ({ n, e }));
    const shown =
      order.length <= 16
        ? order
        : [...order.sort((a, b) => b.n - a.n || a.e - b.e).slice(0, 8), ...order.slice(-8)];
    for (const { n, e } of shown)
      print(
        `  ${String(e).padStart(3)}  ${String(n).padStart(width)}  ${"█".repeat(Math.round((30 * n) / most))}`,
      );
    if (shown.length < order.length) print(`       ${order.length - shown.length} more in between`);
    print(
      `  MaxVio ${l.maxVio.toFixed(3)}  variation ${l.variation.toFixed(3)}  load entropy ${l.loadEntropy.toFixed(3)}  ` +
        `balance loss ${l.balanceLoss.toFixed(3)} (${l.microBalanceLoss.toFixed(3)} within the first axis)  z-loss ${l.zLoss.toFixed(3)}`,
    );
    print(
      `  token entropy ${l.tokenEntropy.toFixed(3)}  confidence ${l.confidence.toFixed(3)}  ` +
        `dropped ${percent(l.dropRate)}  zero-computation ${percent(l.zeroComputation)}  NaN ${l.nan}`,
    );
    const closest = l.closest.map((c) => `${c.margin.toExponential(1)} at [${c.token.join(", ")}]`);
    print(`  margin ${l.meanMargin.toExponential(2)}, smallest ${closest.join(", ")}`);
    for (const w of l.warnings) print(`  ${colors.yellow("warning")}  ${w}`);
  }
}
