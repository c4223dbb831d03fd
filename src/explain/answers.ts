// Questions about an explain document: what became of a line, what a kernel is, where a weight goes, why a rule did not fire, and what
// each line costs. Reads the document alone; the terminal prints the answers, the page draws them.
//
// A line counts everything that came from it, through calls too: lines of a block and the line that calls it both count the block.

import type {
  ConstantDoc,
  DispatchDoc,
  EntryDoc,
  ExplainDocument,
  FiredDoc,
  KernelDoc,
  NodeDoc,
  RefusedDoc,
} from "./document.ts";
import { applyStep, graphAt } from "./replay.ts";

/** A line of a source file, by index and 1-based number. */
export interface LineRef {
  readonly source: number;
  readonly line: number;
}

export function onLine(doc: ExplainDocument, places: readonly number[], at: LineRef): boolean {
  return places.some((i) => {
    const p = doc.places[i]!;
    return p.source === at.source && p.line <= at.line && at.line <= p.endLine;
  });
}

// ---- costs ----------------------------------------------------------------------------------------------------------

export interface LineCost {
  readonly line: number;
  /** Types of what the line makes in every run, without repeats: four at most. */
  readonly types: readonly string[];
  readonly nodes: number;
  /** Positions as written, and those still computed in the end; 0 where the line makes no tensor. */
  readonly tokens: number;
  readonly liveTokens: number;
  readonly flops: number;
  readonly bytes: number;
  /** Of the time of all dispatches, 0 to 1; absent without a profile. */
  readonly timeShare?: number;
  /** Bytes alive at the peak that this line made. */
  readonly peakBytes: number;
  readonly kernels: readonly number[];
}

/** One row for each line of a file that anything came from. */
export function annotate(doc: ExplainDocument, entry: EntryDoc, source: number): readonly LineCost[] {
  const rows = new Map<number, Row>();
  const rowsOf = (places: readonly number[]): readonly Row[] => {
    const lines = new Set<number>();
    for (const i of places) {
      const p = doc.places[i]!;
      // A statement over several lines counts on its first.
      if (p.source === source) lines.add(p.line);
    }
    return [...lines].map((line) => {
      const row = rows.get(line) ?? newRow(line);
      rows.set(line, row);
      return row;
    });
  };
  const last = graphAt(entry, entry.steps.length).nodes;
  for (const n of entry.nodes)
    for (const row of rowsOf(n.places)) {
      row.nodes++;
      if (n.prepared) continue;
      const { type } = n.results[0]!;
      if (row.types.length < 4 && !row.types.includes(type)) row.types.push(type);
      row.ops.add(n.op);
      row.tokens = Math.max(row.tokens, n.results[0]!.tokens);
    }
  const total = entry.profile?.nanoseconds.reduce((a, b) => a + b, 0) ?? 0;
  const byId = new Map(last.map((n) => [n.id, n]));
  const atPeak = entry.memory.lifetimes.filter(
    (l) => l.first <= entry.memory.peakAt && entry.memory.peakAt <= l.last,
  );
  entry.dispatches.forEach((d, i) => {
    const work = d.nodes.flatMap((id) => workOf(byId.get(id)));
    const flops = work.reduce((sum, n) => sum + n.flops, 0);
    const share = (n: NodeDoc): number => (flops > 0 ? n.flops / flops : 1 / work.length);
    for (const n of work)
      for (const row of rowsOf(n.places)) {
        row.flops += d.flops * share(n);
        row.bytes += d.bytes * share(n);
        row.nanoseconds += (entry.profile?.nanoseconds[i] ?? 0) * share(n);
        row.kernels.add(d.kernel);
        if (row.ops.has(n.op)) row.live = Math.max(row.live, n.results[0]!.tokens);
        else row.otherLive = Math.max(row.otherLive, n.results[0]!.tokens);
      }
    const kept = atPeak.filter((l) => l.first === i).reduce((sum, l) => sum + l.bytes, 0);
    for (const row of rowsOf(d.places)) row.peakBytes += kept;
  });
  return [...rows.values()]
    .sort((a, b) => a.line - b.line)
    .map((r): LineCost => ({
      line: r.line,
      types: r.types,
      nodes: r.nodes,
      tokens: r.tokens,
      liveTokens: Math.min(r.tokens, r.live || r.otherLive),
      flops: Math.round(r.flops),
      bytes: Math.round(r.bytes),
      ...(entry.profile && { timeShare: total > 0 ? r.nanoseconds / total : 0 }),
      peakBytes: r.peakBytes,
      kernels: [...r.kernels].sort((a, b) => a - b),
    }));
}

interface Row {
  readonly line: number;
  readonly types: string[];
  readonly ops: Set<string>;
  readonly kernels: Set<number>;
  nodes: number;
  tokens: number;
  live: number;
  otherLive: number;
  flops: number;
  bytes: number;
  nanoseconds: number;
  peakBytes: number;
}

function newRow(line: number): Row {
  return {
    line,
    types: [],
    ops: new Set(),
    kernels: new Set(),
    nodes: 0,
    tokens: 0,
    live: 0,
    otherLive: 0,
    flops: 0,
    bytes: 0,
    nanoseconds: 0,
    peakBytes: 0,
  };
}

/** What a dispatch computes: the nodes of its group. */
function workOf(node: NodeDoc | undefined): readonly NodeDoc[] {
  if (!node) return [];
  return node.body ? node.body.nodes.filter((n) => n.inputs.length > 0) : [node];
}

// ---- one line -------------------------------------------------------------------------------------------------------

export interface LineStep {
  readonly pass: string;
  readonly removed: readonly NodeDoc[];
  readonly added: readonly NodeDoc[];
  readonly changed: readonly { readonly before: NodeDoc; readonly after: NodeDoc }[];
  readonly fired: readonly FiredDoc[];
  readonly refused: readonly RefusedDoc[];
}

export interface LineAnswer {
  readonly file: string;
  readonly line: number;
  readonly text: string;
  readonly cost?: LineCost;
  /** As the model says it. */
  readonly nodes: readonly NodeDoc[];
  /** Passes that touched it. */
  readonly steps: readonly LineStep[];
  readonly dispatches: readonly (DispatchDoc & { readonly index: number; readonly kernelName: string })[];
  readonly weights: readonly string[];
}

export function explainLine(doc: ExplainDocument, entry: EntryDoc, at: LineRef): LineAnswer {
  const here = (x: { readonly places: readonly number[] }): boolean => onLine(doc, x.places, at);
  const source = doc.sources[at.source]!;
  const cost = annotate(doc, entry, at.source).find((r) => r.line === at.line);
  let state = graphAt(entry, 0);
  const steps = entry.steps.map((s): LineStep => {
    const before = new Map(state.nodes.map((n) => [n.id, n]));
    state = applyStep(state, s);
    const set = s.set.map(({ node }) => ({ before: before.get(node.id), after: node }));
    return {
      pass: doc.passes[s.pass]!.name,
      removed: s.removed.map((id) => before.get(id)!).filter(here),
      added: set.filter((x) => !x.before && here(x.after)).map((x) => x.after),
      changed: set.flatMap(({ before, after }) =>
        before && before.text !== after.text && (here(before) || here(after)) ? [{ before, after }] : [],
      ),
      fired: s.fired.filter(here),
      refused: s.refused.filter(here),
    };
  });
  return {
    file: source.name,
    line: at.line,
    text: source.text.split("\n")[at.line - 1]?.trim() ?? "",
    ...(cost && { cost }),
    nodes: entry.nodes.filter(here),
    steps: steps.filter(({ pass: _, ...lists }) => Object.values(lists).some((l) => l.length > 0)),
    dispatches: numbered(doc, entry).filter(here),
    weights: entry.weights.filter(here).map((w) => w.key),
  };
}

export function numbered(doc: ExplainDocument, entry: EntryDoc): LineAnswer["dispatches"] {
  return entry.dispatches.map((d, index) => ({ ...d, index, kernelName: doc.kernels[d.kernel]!.name }));
}

// ---- one kernel, one weight, one rule -------------------------------------------------------------------------------

export interface KernelAnswer extends KernelDoc {
  readonly index: number;
  readonly dispatches: LineAnswer["dispatches"];
  /** Nodes of each dispatch, those of groups opened. */
  readonly nodes: readonly string[];
  readonly flops: number;
  readonly bytes: number;
  readonly nanoseconds?: number;
}

export function explainKernel(doc: ExplainDocument, entry: EntryDoc, index: number): KernelAnswer {
  const dispatches = numbered(doc, entry).filter((d) => d.kernel === index);
  const last = new Map(graphAt(entry, entry.steps.length).nodes.map((n) => [n.id, n]));
  const first = dispatches[0]?.nodes[0];
  return {
    ...doc.kernels[index]!,
    index,
    dispatches,
    nodes: workOf(first === undefined ? undefined : last.get(first)).map((n) => n.text),
    flops: dispatches.reduce((n, d) => n + d.flops, 0),
    bytes: dispatches.reduce((n, d) => n + d.bytes, 0),
    ...(entry.profile && {
      nanoseconds: dispatches.reduce((n, d) => n + entry.profile!.nanoseconds[d.index]!, 0),
    }),
  };
}

export interface WeightAnswer {
  readonly key: string;
  readonly type: string;
  readonly bytes: number;
  readonly lines: readonly string[];
  /** Nodes that read it, as the model says it. */
  readonly readers: readonly string[];
  /** The prepare program: what is computed from it once, at load. */
  readonly prepared: readonly string[];
  readonly constants: readonly ConstantDoc[];
  readonly dispatches: LineAnswer["dispatches"];
}

/** Undefined where the entry point has no such weight. */
export function explainWeight(doc: ExplainDocument, entry: EntryDoc, key: string): WeightAnswer | undefined {
  const weight = entry.weights.find((w) => w.key === key);
  if (!weight) return undefined;
  const depends = new Set([weight.id]);
  const prepared = graphAt(entry, entry.steps.length).nodes.filter(
    (n) => n.prepared && n.inputs.some((x) => depends.has(x)) && depends.add(n.id),
  );
  const constants = doc.constants.filter((c) => c.keys.includes(key));
  const ids = new Set(constants.map((c) => c.id));
  return {
    key,
    type: weight.type,
    bytes: weight.bytes,
    lines: weight.places.map((i) => placeText(doc, i)),
    readers: entry.nodes.filter((n) => n.inputs.includes(weight.id)).map((n) => n.text),
    prepared: prepared.map((n) => n.text),
    constants,
    dispatches: numbered(doc, entry).filter((d) => d.buffers.some((b) => ids.has(b))),
  };
}

export interface WhyNotAnswer {
  readonly rule: string;
  readonly equation?: string;
  readonly doc?: string;
  readonly code?: string;
  /** How often it fired, where asked for a line: there. */
  readonly fired: number;
  readonly refused: readonly (RefusedDoc & { readonly pass: string; readonly lines: readonly string[] })[];
}

/** `name` is a rule, or a pass: all refusals of the pass. */
export function whyNot(doc: ExplainDocument, entry: EntryDoc, name: string, at?: LineRef): WhyNotAnswer {
  const here = (x: { readonly places: readonly number[] }): boolean => !at || onLine(doc, x.places, at);
  const named = (rule: string, pass: string): boolean => rule === name || pass === name;
  const steps = entry.steps.map((s) => ({ ...s, name: doc.passes[s.pass]!.name }));
  const rule = doc.rules.find((r) => r.name === name) ?? doc.passes.find((p) => p.name === name);
  return {
    rule: name,
    ...(rule && { doc: rule.doc, ...("equation" in rule && { equation: rule.equation }) }),
    ...(rule?.code !== undefined && { code: rule.code }),
    fired: steps.reduce((n, s) => n + s.fired.filter((e) => named(e.rule, s.name) && here(e)).length, 0),
    refused: steps.flatMap((s) =>
      s.refused
        .filter((r) => named(r.rule, s.name) && here(r))
        .map((r) => ({ ...r, pass: s.name, lines: r.places.map((i) => placeText(doc, i)) })),
    ),
  };
}

export function placeText(doc: ExplainDocument, place: number): string {
  const p = doc.places[place]!;
  return `${doc.sources[p.source]!.name}:${p.line}`;
}
