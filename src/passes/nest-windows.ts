// Several sizes of windows over one map, as pyramids have them: a wide maximum is taken from a narrower one that is there anyway, so that
// the map itself is read once. Where windows share positions a maximum counts them once, however often it sees them; a mean does not.

import { constantOf, dim, type Dim } from "../ir/dim.ts";
import { GraphBuilder, typesOf, type Attrs, type Graph, type Node, type ValueId } from "../ir/graph.ts";
import { printNode } from "../ir/print.ts";
import type { Refusal, RewriteEvent, RuleDoc } from "../ir/rewrite-types.ts";
import { axesOf, dimsOf, flagOf, pairOf } from "../ops/define.ts";
import type { Pass, PassContext, PassResult } from "./pass.ts";

const binsOfBins: RuleDoc = {
  name: "bins-of-bins",
  equation: "adaptive_max_pool(x, O) = reduce_max(reshape(adaptive_max_pool(x, O k), [O, k]))",
  doc: "Bin i of O starts where bin i k of O k does and ends where bin i k + k - 1 does, whatever the size of x.",
};

const windowOfWindows: RuleDoc = {
  name: "window-of-windows",
  equation:
    "max_pool2d(x, size k) = max_pool2d(max_pool2d(x, size l), size k - l + 1)   for stride 1, centred windows, l < k",
  doc: "The windows of size l around the positions of a window of size k - l + 1 cover those of size k, at the border too.",
};

/** A node with what tells how fine it is: the number of bins along each axis, or the size of the window. */
interface Level {
  readonly node: Node;
  readonly counts: readonly number[];
}

const product = (counts: readonly number[]): number => counts.reduce((a, b) => a * b, 1);

/** How one kind of pooling nests. */
interface Kind {
  readonly rule: string;
  counts(node: Node): readonly number[] | undefined;
  /** Can the level be taken from the finer one? */
  fits(level: Level, finer: Level): boolean;
  /** Below zero where `a` is finer than `b`. */
  order(a: Level, b: Level): number;
  make(b: GraphBuilder, level: Level, finer: Level): Node;
}

const every = (
  a: readonly number[],
  b: readonly number[],
  holds: (x: number, y: number) => boolean,
): boolean => a.every((x, i) => holds(x, b[i]!));

const bins: Kind = {
  rule: binsOfBins.name,
  counts(node) {
    const sizes = dimsOf(node.attrs, "size").map(constantOf);
    return sizes.includes(undefined) ? undefined : (sizes as number[]);
  },
  fits: (level, finer) => every(level.counts, finer.counts, (coarse, fine) => fine % coarse === 0),
  order: (a, b) => product(b.counts) - product(a.counts),
  make(b, { node, counts }, finer) {
    const { shape } = b.type(finer.node.results[0]!.id);
    const pooled = axesOf(node.attrs, "axes", shape.length);
    const dims: Dim[] = [];
    const axes: number[] = [];
    for (const [axis, size] of shape.entries()) {
      const at = pooled.indexOf(axis);
      const each = at < 0 ? 1 : finer.counts[at]! / counts[at]!;
      dims.push(at < 0 ? size : dim(counts[at]!));
      if (each > 1) axes.push(dims.push(dim(each)) - 1);
    }
    const { spans, scope } = node;
    const apart = b.call("reshape", [finer.node.results[0]!.id], { dims }, { spans, scope });
    return replacement(b, node, "reduce_max", apart, { axes });
  },
};

const windows: Kind = {
  rule: windowOfWindows.name,
  counts({ attrs }) {
    const [size, stride, pad] = [pairOf(attrs, "size"), pairOf(attrs, "stride"), pairOf(attrs, "pad")];
    const centred =
      every(size, pad, (k, p) => k === 2 * p + 1) &&
      every(stride, size, (s, k) => (s === 0 ? k : s) === 1) &&
      pairOf(attrs, "dilation").every((d) => d === 1) &&
      !flagOf(attrs, "ceil_mode");
    return centred ? size : undefined;
  },
  fits: (level, finer) => every(level.counts, finer.counts, (wide, narrow) => wide >= narrow),
  order: (a, b) => product(a.counts) - product(b.counts),
  make(b, { node, counts }, finer) {
    const pad = counts.map((k, i) => (k - finer.counts[i]!) / 2);
    const attrs = { ...node.attrs, size: pad.map((p) => 2 * p + 1), pad };
    return replacement(b, node, node.op.name, finer.node.results[0]!.id, attrs);
  },
};

/** A node that makes what `node` made. */
function replacement(b: GraphBuilder, node: Node, op: string, input: ValueId, attrs: Attrs): Node {
  const { spans, scope, annotations, results } = node;
  const options = { ids: results.map((r) => r.id), types: results.map((r) => r.type) };
  b.call(op, [input], attrs, { spans, scope, annotations, ...options });
  return b.nodes.at(-1)!;
}

const kinds: Readonly<Record<string, Kind>> = { adaptive_max_pool: bins, max_pool2d: windows };

/** What two nodes must share for one to be taken from the other. */
function keyOf(node: Node, rank: number): string {
  const axes = "axes" in node.attrs ? axesOf(node.attrs, "axes", rank).join() : "";
  return [node.op.name, node.inputs[0], axes].join(" ");
}

function run(graph: Graph, c: PassContext): PassResult {
  const types = typesOf(graph);
  const levels = new Map<string, Level[]>();
  const means = new Map<string, Node[]>();
  const key = (n: Node) => keyOf(n, types.get(n.inputs[0]!)!.shape.length);
  for (const node of graph.nodes) {
    if (node.op.name === "adaptive_avg_pool") means.set(key(node), [...(means.get(key(node)) ?? []), node]);
    const counts = kinds[node.op.name]?.counts(node);
    if (counts) levels.set(key(node), [...(levels.get(key(node)) ?? []), { node, counts }]);
  }
  const refusals = [...means.values()].filter((nodes) => nodes.length > 1).flatMap(refusedMeans);
  const groups = [...levels.values()].filter((group) => group.length > 1);
  if (groups.length === 0) return { graph, events: [], refusals };

  const b = new GraphBuilder(graph.name, c.lookup, graph.nextId);
  for (const x of [...graph.inputs, ...graph.weights, ...graph.states]) b.declare(x.id, x.type);
  const groupOf = new Map(groups.flatMap((group) => group.map(({ node }) => [node, group] as const)));
  const done = new Set<readonly Level[]>();
  const events: RewriteEvent[] = [];
  for (const node of graph.nodes) {
    const group = groupOf.get(node);
    if (!group) copy(b, node);
    else if (!done.has(group)) {
      // All at the place of the first: they read the same value.
      done.add(group);
      events.push(...nest(b, kinds[node.op.name]!, group));
    }
  }
  if (events.length === 0) return { graph, events, refusals };
  return { graph: { ...graph, nodes: b.nodes, nextId: b.nextId }, events, refusals };
}

function copy(b: GraphBuilder, node: Node): void {
  const { op, inputs, attrs, results, spans, scope, annotations, body } = node;
  const options = { ids: results.map((r) => r.id), types: results.map((r) => r.type), ...(body && { body }) };
  const given = inputs.map((x) => (x === "" ? undefined : x));
  b.add(op, given, attrs, { spans, scope, annotations, ...options });
}

/** The levels of one map, finest first, each from the coarsest that is finer. */
function nest(b: GraphBuilder, kind: Kind, group: readonly Level[]): readonly RewriteEvent[] {
  const events: RewriteEvent[] = [];
  const made: Level[] = [];
  for (const level of [...group].sort(kind.order)) {
    const finer = made.findLast((f) => f.counts.join() !== level.counts.join() && kind.fits(level, f));
    if (!finer) copy(b, level.node);
    else {
      const from = b.nodes.length;
      kind.make(b, level, finer);
      const { spans } = level.node;
      const after = b.nodes.slice(from);
      const added = after.slice(0, -1).flatMap((n) => n.results.map((r) => r.id));
      events.push({
        rule: kind.rule,
        before: [printNode(level.node)],
        after: after.map(printNode),
        removed: [],
        added,
        spans,
      });
    }
    made.push(level);
  }
  return events;
}

function refusedMeans(nodes: readonly Node[]): readonly Refusal[] {
  const reason = "a mean of means counts the positions that windows share more than once";
  return nodes
    .slice(1)
    .map((n) => ({ rule: binsOfBins.name, reason, node: n.results[0]!.id, spans: n.spans }));
}

export const nestWindows: Pass = {
  name: "nest-windows",
  doc: "Of maxima over windows of several sizes, the wide ones are taken from the narrow ones.",
  level: 1,
  numerics: "exact",
  needs: [],
  gives: [],
  run,
  changes: [binsOfBins, windowOfWindows],
};
