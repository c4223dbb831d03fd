// Answers about a compilation as text for the terminal.

import type { KernelAnswer, LineAnswer, LineCost, WeightAnswer, WhyNotAnswer } from "../explain/answers.ts";
import { placeText } from "../explain/answers.ts";
import type { EntryDoc, ExplainDocument } from "../explain/document.ts";
import { amount, bytes, sizesText } from "../explain/units.ts";
import { colors } from "./common.ts";

const { bold, cyan, dim, green, red, yellow } = colors;

/** Longer lists are cut, and say so; `--json` has all. */
const MOST = 12;

export function lineText(entry: EntryDoc, a: LineAnswer): string {
  const out = [`${bold(`${a.file}:${a.line}`)}  ${a.text}`, ""];
  if (a.nodes.length === 0 && a.dispatches.length === 0) {
    out.push("  nothing came from this line");
    return out.join("\n");
  }
  if (a.cost) out.push(`  ${costText(a.cost)}  ${dim(`for ${sizesText(entry)}`)}`, "");
  out.push(heading("as the model says it", a.nodes.length), ...most(a.nodes.map((n) => `    ${n.text}`)));
  for (const s of a.steps) {
    const rules = count(s.fired.map((f) => f.rule));
    const refused = s.refused.length > 0 ? dim(`  ${s.refused.length} refused`) : "";
    out.push("", `  ${bold(s.pass)}${rules && `  ${rules}`}${refused}`);
    out.push(
      ...most([
        ...s.removed.map((n) => red(`  - ${n.text}`)),
        ...s.changed.flatMap((c) => [red(`  - ${c.before.text}`), green(`  + ${c.after.text}`)]),
        ...s.added.map((n) => green(`  + ${n.text}`)),
      ]),
      ...most([...new Set(s.refused.map((r) => yellow(`  x ${r.rule} at ${r.node}: ${r.reason}`)))], 4),
    );
  }
  out.push("", heading("kernels", a.dispatches.length));
  out.push(
    ...most(
      a.dispatches.map(
        (d) =>
          `    dispatch ${d.index}: ${cyan(d.kernelName)} (kernel ${d.kernel})  ${amount(d.flops)}FLOP, ${bytes(d.bytes)}  ${dim(d.schedule)}`,
      ),
    ),
  );
  if (a.weights.length > 0)
    out.push("", heading("weights", a.weights.length), ...most(a.weights.map((w) => `    ${w}`)));
  return out.join("\n");
}

function heading(text: string, n: number): string {
  return `  ${bold(text)} ${dim(`(${n})`)}`;
}

function most(lines: readonly string[], limit = MOST): readonly string[] {
  if (lines.length <= limit) return lines;
  return [...lines.slice(0, limit), dim(`    ... ${lines.length - limit} more; --json has all`)];
}

function count(names: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const n of names) counts.set(n, (counts.get(n) ?? 0) + 1);
  return [...counts].map(([n, k]) => `${n} x${k}`).join(", ");
}

function costText(c: LineCost): string {
  const live =
    c.liveTokens < c.tokens
      ? yellow(`${amount(c.liveTokens)} of ${amount(c.tokens)} tokens live`)
      : `${amount(c.tokens)} tokens`;
  const time = c.timeShare === undefined ? "" : `, ${percent(c.timeShare)} of the time`;
  const peak = c.peakBytes > 0 ? `, ${bytes(c.peakBytes)} at the peak` : "";
  return `${c.types.join(", ")}  ${live}, ${amount(c.flops)}FLOP, ${bytes(c.bytes)}${time}${peak}`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

export function kernelText(doc: ExplainDocument, k: KernelAnswer): string {
  const grids = [...new Set(k.dispatches.map((d) => d.grid.join(" x ")))];
  const lines = [...new Set(k.dispatches.flatMap((d) => d.places.map((p) => placeText(doc, p))))];
  return [
    `${bold(`kernel ${k.index} ${k.name}`)}  ${k.dispatches.length} dispatches: ${k.dispatches.map((d) => d.index).join(", ")}`,
    `  schedule    ${[...new Set(k.dispatches.map((d) => d.schedule))].join("; ")}`,
    `  workgroups  ${k.workgroupSize.join(" x ")} invocations, grids ${grids.join("; ")}`,
    `  work        ${amount(k.flops)}FLOP, ${bytes(k.bytes)} at least, ${(k.flops / Math.max(k.bytes, 1)).toFixed(1)} FLOP a byte`,
    ...(k.nanoseconds === undefined ? [] : [`  time        ${timeText(doc, k)}`]),
    `  lines       ${lines.join(", ")}`,
    `  bindings    ${k.bindings.map((b) => `${b.binding} ${b.name} (${b.access})`).join(", ")}`,
    "",
    bold("computes"),
    ...k.nodes.map((n) => `  ${n}`),
    "",
    bold("kernel IR"),
    k.text,
    bold("WGSL"),
    k.wgsl,
  ].join("\n");
}

function timeText(doc: ExplainDocument, k: KernelAnswer): string {
  const seconds = k.nanoseconds! / 1e9;
  const { flopsPerSecond, bytesPerSecond } = doc.target;
  const best = Math.max(k.flops / flopsPerSecond, k.bytes / bytesPerSecond);
  const reached = seconds > 0 ? `, ${percent(best / seconds)} of what the target's figures allow` : "";
  return `${(seconds * 1e3).toFixed(3)} ms${reached}`;
}

export function weightText(w: WeightAnswer): string {
  return [
    `${bold(w.key)}: ${w.type}, ${bytes(w.bytes)}`,
    `  lines     ${w.lines.join(", ")}`,
    bold("  read by"),
    ...w.readers.map((r) => `    ${r}`),
    ...(w.prepared.length > 0 ? [bold("  once, at load"), ...most(w.prepared.map((r) => `    ${r}`))] : []),
    bold("  stored as"),
    ...w.constants.map((c) => `    ${c.id}: ${c.type}, ${bytes(c.bytes)} at ${c.offset}${c.keys.length > 1 ? dim(`  with ${c.keys.filter((x) => x !== w.key).join(", ")}`) : ""}`), // prettier-ignore
    bold("  kernels"),
    ...most(w.dispatches.map((d) => `    dispatch ${d.index}: ${cyan(d.kernelName)} (kernel ${d.kernel})`)),
  ].join("\n");
}

export function whyNotText(a: WhyNotAnswer, line: string | undefined): string {
  const where = line === undefined ? "" : ` at line ${line}`;
  const out = [bold(a.rule) + (a.code === undefined ? "" : dim(`  ${a.code}`))];
  if (a.equation !== undefined) out.push(`  ${cyan(a.equation)}`);
  if (a.doc !== undefined) out.push(`  ${a.doc}`);
  out.push("", `  fired ${a.fired} times${where}, refused ${a.refused.length} times${where}`);
  out.push(
    ...most(
      a.refused.map((r) => {
        const rule = r.rule === a.rule ? "" : `${r.rule}: `;
        return `  ${yellow(r.node)} ${r.lines.length > 0 ? dim(`(${r.lines.join(", ")}) `) : ""}${rule}${r.reason}`;
      }),
      40,
    ),
  );
  if (a.fired + a.refused.length === 0)
    out.push("  no node here came near it: none has the ops that it starts at, or it found nothing to do");
  return out.join("\n");
}

export function annotationText(
  doc: ExplainDocument,
  entry: EntryDoc,
  source: number,
  lines: readonly LineCost[],
): string {
  const byLine = new Map(lines.map((l) => [l.line, l]));
  const profiled = entry.profile !== undefined;
  const head = ["live tokens", "FLOP", "bytes", ...(profiled ? ["time"] : []), "at peak"];
  const cells = (c: LineCost | undefined): readonly string[] =>
    !c
      ? head.map(() => "")
      : [
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
  return [
    `${bold(doc.sources[source]!.name)}, ${entry.name} ${dim(`for ${sizesText(entry)}; a line counts all that came from it, calls too`)}`,
    dim(`${put(head)}  ${"".padStart(number)}  `),
    ...text.map((t, i) => {
      const types = byLine.get(i + 1)?.types ?? [];
      const shape = types.length > 0 ? dim(cyan(`  // ${types.slice(0, 2).join(", ")}${types.length > 2 ? ", ..." : ""}`)) : ""; // prettier-ignore
      return `${put(rows[i]!)}  ${dim(String(i + 1).padStart(number))}  ${t}${shape}`;
    }),
    `peak ${bytes(entry.memory.peakBytes)} at dispatch ${entry.memory.peakAt}, arena ${bytes(entry.memory.arenaBytes)}`,
  ].join("\n");
}
