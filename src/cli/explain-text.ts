// Answers about a compilation as text for the terminal.

import { stripVTControlCharacters } from "node:util";
import type { KernelAnswer, LineAnswer, LineCost, WeightAnswer, WhyNotAnswer } from "../explain/answers.ts";
import { placeText } from "../explain/answers.ts";
import type { EntryDoc, ExplainDocument, FiredDoc } from "../explain/document.ts";
import type { NodeAnswer } from "../explain/lineage.ts";
import { Shapes } from "../explain/shapes.ts";
import { boundOf, intensity } from "../explain/speed.ts";
import { amount, bytes, sizesText } from "../explain/units.ts";
import { colors } from "./common.ts";

const { bold, cyan, dim, green, red, yellow } = colors;

/** Longer lists are cut, and say so; `--json` has all. */
const MOST = 12;

/** Lines of a terminal end where it ends: a line that wraps cannot be read beside its neighbours. Elsewhere they are whole. */
function show(lines: readonly string[]): string {
  const width = process.stdout.isTTY ? process.stdout.columns : Infinity;
  return lines.map((l) => (stripVTControlCharacters(l).length > width ? cut(l, width) : l)).join("\n");
}

/** Escape codes take no room, and the last one stays. */
function cut(line: string, width: number): string {
  let room = width - 1;
  const kept = line.replace(/(\u001b\[[0-9;]*m)|[^\u001b]/gu, (c, code?: string) =>
    code !== undefined || --room >= 0 ? c : room === -1 ? "…" : "",
  );
  return kept;
}

export function lineText(doc: ExplainDocument, entry: EntryDoc, a: LineAnswer): string {
  const shapes = new Shapes(entry);
  const out = [`${bold(`${a.file}:${a.line}`)}  ${a.text}`, ""];
  if (a.nodes.length === 0 && a.dispatches.length === 0)
    return show([...out, "  nothing came from this line"]);
  if (a.cost) out.push(...costLines(shapes, a.cost, entry), "");
  out.push(heading("as the model says it", a.nodes.length), ...most(a.nodes.map((n) => `    ${n.text}`), 6)); // prettier-ignore
  for (const s of a.steps) {
    const counts = `${red(`-${s.removed.length}`)} ${green(`+${s.added.length}`)} ${yellow(`~${s.changed.length}`)}`;
    out.push("", `  ${bold(s.pass)}  ${counts}`, ...firings(doc, s.fired));
    if (s.fired.length === 0)
      out.push(
        ...most([
          ...s.removed.map((n) => red(`  - ${n.text}`)),
          ...s.changed.flatMap((c) => [red(`  - ${c.before.text}`), green(`  + ${c.after.text}`)]),
          ...s.added.map((n) => green(`  + ${n.text}`)),
        ], 6), // prettier-ignore
      );
    out.push(...refusals(s.refused));
  }
  out.push("", heading("kernels", a.dispatches.length));
  out.push(
    ...most(
      a.dispatches.map(
        (d) =>
          `    dispatch ${String(d.index).padEnd(4)} ${cyan(d.kernelName)} (kernel ${d.kernel})  ${amount(d.flops)}FLOP, ${bytes(d.bytes)}`,
      ),
    ),
  );
  if (a.weights.length > 0)
    out.push("", heading("weights", a.weights.length), ...most(a.weights.map((w) => `    ${w}`)));
  return show(out);
}

/** Each rule with its equation, and the first time that it fired: the others are alike. */
function firings(doc: ExplainDocument, fired: readonly FiredDoc[]): readonly string[] {
  const byRule = new Map<string, FiredDoc[]>();
  for (const f of fired) byRule.set(f.rule, [...(byRule.get(f.rule) ?? []), f]);
  return [...byRule].flatMap(([name, list]) => {
    const equation = doc.rules.find((r) => r.name === name)?.equation;
    const [first] = list;
    return [
      `    ${bold(name)} x${list.length}${equation === undefined ? "" : `  ${cyan(equation)}`}`,
      ...[...new Set(list.flatMap((f) => f.why ?? []))].map((why) => `      because ${why}`),
      ...first!.before.map((t) => red(`      - ${t}`)),
      ...first!.after.map((t) => green(`      + ${t}`)),
      ...(list.length > 1 ? [dim(`      ... and ${list.length - 1} more like it`)] : []),
    ];
  });
}

interface Refused {
  readonly rule: string;
  readonly reason: string;
  readonly node: string;
}

/** One line for each reason, with where it held. */
function refusals(list: readonly Refused[]): readonly string[] {
  const byReason = new Map<string, string[]>();
  for (const r of list) {
    const key = `${r.rule}: ${r.reason}`;
    byReason.set(key, [...(byReason.get(key) ?? []), r.node]);
  }
  return [...byReason].map(([reason, nodes]) => yellow(`    refused x${nodes.length}  ${reason}`) + dim(`  at ${few(nodes)}`)); // prettier-ignore
}

function few(names: readonly string[], limit = 5): string {
  return names.slice(0, limit).join(", ") + (names.length > limit ? ", ..." : "");
}

function heading(text: string, n: number): string {
  return `  ${bold(text)} ${dim(`(${n})`)}`;
}

function most(lines: readonly string[], limit = MOST): readonly string[] {
  if (lines.length <= limit) return lines;
  return [...lines.slice(0, limit), dim(`    ... ${lines.length - limit} more; --json has all`)];
}

function costLines(shapes: Shapes, c: LineCost, entry: EntryDoc): readonly string[] {
  const live = c.liveTokens < c.tokens ? yellow(`${amount(c.liveTokens)}of ${amount(c.tokens)}live`) : amount(c.tokens); // prettier-ignore
  const row = (name: string, value: string): string => `  ${dim(name.padEnd(8))}  ${value}`;
  return [
    row("makes", `${c.types.map((t) => shapes.short(t)).join(", ")}  ${dim(`for ${sizesText(entry)}`)}`),
    ...(c.tokens > 0 ? [row("tokens", live)] : []),
    row("work", `${amount(c.flops)}FLOP, moves ${bytes(c.bytes)}`),
    ...(c.timeShare === undefined ? [] : [row("time", percent(c.timeShare))]),
    ...(c.peakBytes > 0 ? [row("at peak", bytes(c.peakBytes))] : []),
  ];
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

export function kernelText(doc: ExplainDocument, k: KernelAnswer): string {
  const grids = [...new Set(k.dispatches.map((d) => d.grid.join(" x ")))];
  const lines = [...new Set(k.dispatches.flatMap((d) => d.places.map((p) => placeText(doc, p))))];
  const best = k.dispatches.reduce((n, d) => n + boundOf(doc.target, d), 0);
  const bound = k.flops / doc.target.flopsPerSecond > k.bytes / doc.target.bytesPerSecond ? "arithmetic" : "memory"; // prettier-ignore
  return [
    ...show([
      `${bold(`kernel ${k.index} ${k.name}`)}  ${k.dispatches.length} dispatches: ${few(k.dispatches.map((d) => String(d.index)), 16)}`, // prettier-ignore
      `  schedule    ${[...new Set(k.dispatches.map((d) => d.schedule))].join("; ")}`,
      ...[...new Set(k.dispatches.map((d) => d.why))].map(
        (w, i) => `  ${i === 0 ? "because" : "       "}     ${w}`,
      ),
      `  workgroups  ${k.workgroupSize.join(" x ")} invocations, grids ${few(grids)}`,
      `  work        ${amount(k.flops)}FLOP, ${bytes(k.bytes)} at least, ${intensity(k).toFixed(1)} FLOP a byte`,
      `  at best     ${(best / 1e6).toPrecision(3)} ms by the figures of ${doc.target.name}, bound by ${bound}`,
      ...(k.nanoseconds === undefined ? [] : [`  time        ${timeText(k.nanoseconds, best)}`]),
      `  lines       ${few(lines, 12)}`,
      `  bindings    ${k.bindings.map((b) => `${b.binding} ${b.name} (${b.access})`).join(", ")}`,
      "",
      bold("computes"),
      ...k.nodes.map((n) => `  ${n}`),
    ]).split("\n"),
    "",
    bold("kernel IR"),
    k.text,
    bold("WGSL"),
    k.wgsl,
  ].join("\n");
}

function timeText(nanoseconds: number, best: number): string {
  const reached = nanoseconds > 0 ? `, ${percent(best / nanoseconds)} of what the adapter can do` : "";
  return `${(nanoseconds / 1e6).toPrecision(3)} ms${reached}`;
}

export function nodeText(entry: EntryDoc, a: NodeAnswer): string {
  const last = entry.steps.length;
  const made = a.firstStep === 0 ? "as the model says it" : `made by ${a.history[0]?.pass ?? ""}`;
  const gone = a.lastStep === last ? "" : `, gone since ${a.history.at(-1)?.pass ?? ""}`;
  return show([
    `${bold(a.id)}  ${dim(made + gone)}`,
    `    ${a.text}`,
    ...a.history.flatMap((x) => [
      "",
      `  ${bold(x.pass)}  ${x.kind}`,
      ...new Set(
        x.fired.map((f) => `    ${f.rule}${f.equation === undefined ? "" : `  ${cyan(f.equation)}`}`),
      ),
      ...(x.before === undefined ? [] : [red(`    - ${x.before}`)]),
      ...(x.after === undefined ? [] : [green(`    + ${x.after}`)]),
    ]),
    ...(a.became.length > 0 ? ["", `  in the end  ${a.became.join(", ")}`] : []),
    ...refusals(a.refused.map((r) => ({ ...r, node: a.id }))),
    ...(a.dispatches.length > 0 ? ["", heading("kernels", a.dispatches.length)] : []),
    ...most(a.dispatches.map((d) => `    dispatch ${d.index}: ${cyan(d.kernelName)} (kernel ${d.kernel})`)),
  ]);
}

export function weightText(w: WeightAnswer): string {
  return show([
    `${bold(w.key)}: ${w.type}, ${bytes(w.bytes)}`,
    `  lines     ${w.lines.join(", ")}`,
    bold("  read by"),
    ...w.readers.map((r) => `    ${r}`),
    ...(w.prepared.length > 0 ? [bold("  once, at load"), ...most(w.prepared.map((r) => `    ${r}`))] : []),
    bold("  stored as"),
    ...w.constants.map((c) => `    ${c.id}: ${c.type}, ${bytes(c.bytes)} at ${c.offset}${c.keys.length > 1 ? dim(`  with ${c.keys.filter((x) => x !== w.key).join(", ")}`) : ""}`), // prettier-ignore
    bold("  kernels"),
    ...most(w.dispatches.map((d) => `    dispatch ${d.index}: ${cyan(d.kernelName)} (kernel ${d.kernel})`)),
  ]);
}

export function whyNotText(a: WhyNotAnswer, line: string | undefined): string {
  const where = line === undefined ? "" : ` at line ${line}`;
  const out = [bold(a.rule) + (a.code === undefined ? "" : dim(`  ${a.code}`))];
  if (a.equation !== undefined) out.push(`  ${cyan(a.equation)}`);
  if (a.doc !== undefined) out.push(`  ${a.doc}`);
  out.push("", `  fired ${times(a.fired)}${where}, refused ${times(a.refused.length)}${where}`);
  const byReason = new Map<string, WhyNotAnswer["refused"][number][]>();
  for (const r of a.refused) {
    const key = `${r.rule === a.rule ? "" : `${r.rule}: `}${r.reason}`;
    byReason.set(key, [...(byReason.get(key) ?? []), r]);
  }
  for (const [reason, list] of byReason)
    out.push("", `  ${yellow(reason)}  x${list.length}`, ...most(list.map((r) => `    ${r.node.padEnd(6)} ${dim(r.lines.join(", "))}`), 6)); // prettier-ignore
  if (a.fired + a.refused.length === 0)
    out.push("  no node here came near it: none has the ops that it starts at, or it found nothing to do");
  return show(out);
}

function times(n: number): string {
  return n === 1 ? "once" : `${n} times`;
}

export function annotationText(
  doc: ExplainDocument,
  entry: EntryDoc,
  source: number,
  lines: readonly LineCost[],
): string {
  const shapes = new Shapes(entry);
  const byLine = new Map(lines.map((l) => [l.line, l]));
  const profiled = entry.profile !== undefined;
  const head = ["makes", "live tokens", "FLOP", "bytes", ...(profiled ? ["time"] : []), "at peak"];
  const cells = (c: LineCost | undefined): readonly string[] =>
    !c
      ? head.map(() => "")
      : [
          `${shapes.short(c.types[0] ?? "")}${c.types.length > 1 ? ", …" : ""}`,
          c.tokens === 0 ? "" : c.liveTokens < c.tokens ? `${amount(c.liveTokens)}/${amount(c.tokens)}` : amount(c.tokens), // prettier-ignore
          c.flops === 0 ? "" : amount(c.flops),
          c.bytes === 0 ? "" : bytes(c.bytes),
          ...(profiled ? [percent(c.timeShare ?? 0)] : []),
          c.peakBytes === 0 ? "" : bytes(c.peakBytes),
        ];
  const text = doc.sources[source]!.text.replace(/\n$/, "").split("\n");
  const rows = text.map((_, i) => cells(byLine.get(i + 1)));
  const widths = head.map((h, c) => Math.max(h.length, ...rows.map((r) => r[c]!.length)));
  const put = (r: readonly string[]): string => r.map((x, c) => x.padStart(widths[c]!)).join("  ");
  const number = String(text.length).length;
  return show([
    `${bold(doc.sources[source]!.name)}, ${entry.name} ${dim(`for ${sizesText(entry)}; a line counts all that came from it, calls too`)}`,
    dim(`${put(head)}  ${"".padStart(number)}  `),
    ...text.map((t, i) => `${put(rows[i]!)}  ${dim(String(i + 1).padStart(number))}  ${t}`),
    `peak ${bytes(entry.memory.peakBytes)} at dispatch ${entry.memory.peakAt}, arena ${bytes(entry.memory.arenaBytes)}`,
  ]);
}
