// `explain` and `annotate`: one page to read a compilation on, and the same answers in the terminal.

import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import type { Command } from "commander";
import {
  annotate as annotateLines,
  explainKernel,
  explainLine,
  explainWeight,
  whyNot,
  type LineRef,
} from "../explain/answers.ts";
import { explain as explainCompilation } from "../explain/build.ts";
import { explainNode } from "../explain/lineage.ts";
import type { EntryDoc, ExplainDocument } from "../explain/document.ts";
import { pageOf } from "../explain/page-file.ts";
import { readProfile } from "../explain/profile.ts";
import type { Compiled } from "../index.ts";
import { error, InputError, type Diagnostic } from "../support/diagnostic.ts";
import { nearest } from "../support/suggest.ts";
import { mebibytes, packageRoot, print, showJson, targetNamed, type ModelFlags } from "./common.ts";
import { compileFile, readModel } from "./model-file.ts";
import { annotationText, kernelText, lineText, nodeText, weightText, whyNotText } from "./explain-text.ts";
import { entryOption, modelOptions } from "./options.ts";
import { dimsOf } from "./run.ts";

interface ExplainFlags extends ModelFlags {
  readonly entry?: string;
  readonly dim?: readonly string[];
  readonly target?: string;
  readonly profile?: string;
  readonly line?: string;
  readonly kernel?: string;
  readonly node?: string;
  readonly weight?: string;
  readonly whyNot?: string;
  readonly output?: string;
  readonly open?: boolean;
  readonly lines?: string;
}

/** A profile holds a line for each dispatch. */
const MAX_PROFILE = 64 * 2 ** 20;

export function explainCommands(program: Command): void {
  explainOptions(
    program
      .command("explain <file>")
      .description(
        "what the compiler made of a model or of graph text (.ir): a page to read, or one answer in the terminal",
      ),
  )
    .option("-o, --output <page>", "where the page goes (default: the model's name with .html)")
    .option("--open", "show the page in a browser")
    .option("--line <line>", "what became of this line: 14, or FILE:14 for a line of an imported file")
    .option("--kernel <kernel>", "one kernel, by number or name")
    .option("--node <id>", "what became of a node, by which passes and which equations: %12")
    .option("--weight <key>", "where a weight goes")
    .option("--why-not <rule[@line]>", "why a rule, or any rule of a pass, did not fire")
    .action(explain);
  explainOptions(
    program
      .command("annotate <file>")
      .description(
        "the model with what each line costs: shape, live tokens, FLOPs, bytes, time, peak memory",
      ),
  )
    .option("--lines <file>", "an imported file to annotate instead, std/metaformer.model")
    .action(annotate);
}

function explainOptions(command: Command): Command {
  return entryOption(modelOptions(command))
    .option("--dim <name=value...>", "sizes that numbers are for")
    .option("--target <name>", "baseline, lavapipe or swiftshader (default: that of the text, else baseline)")
    .option("--profile <file>", "times of each dispatch, from run --profile");
}

function explain(file: string, flags: ExplainFlags): void {
  const { doc, entry } = documentOf(file, flags);
  const answer = answerTo(doc, entry, flags);
  if (answer) {
    if (flags.json) showJson({ format: `tokenloom-explain-${answer.kind}`, version: 1, ...answer.value });
    else print(answer.text);
    return;
  }
  if (flags.json) return showJson(doc);
  const page = pageOf(template(), gzipSync(JSON.stringify(doc), { level: 6 }).toString("base64"), doc.model);
  const output = flags.output ?? `${doc.model}.html`;
  writeFileSync(output, page);
  print(
    `${output}: ${mebibytes(page.length)}, ${doc.entries.map((e) => `${e.nodes.length} nodes, ${e.steps.length} passes, ${e.dispatches.length} dispatches`).join("; ")}`,
  );
  if (flags.open) openInBrowser(output);
}

interface Answer {
  readonly kind: string;
  readonly value: object;
  readonly text: string;
}

function answerTo(doc: ExplainDocument, entry: EntryDoc, flags: ExplainFlags): Answer | undefined {
  if (flags.line !== undefined) {
    const value = explainLine(doc, entry, lineRef(doc, flags.line));
    return { kind: "line", value, text: lineText(doc, entry, value) };
  }
  if (flags.kernel !== undefined) {
    const value = explainKernel(doc, entry, kernelIndex(doc, flags.kernel));
    return { kind: "kernel", value, text: kernelText(doc, value) };
  }
  if (flags.node !== undefined) {
    const id = flags.node.startsWith("%") ? flags.node : `%${flags.node}`;
    const value = explainNode(doc, entry, id);
    if (!value) throw unknown("unknown-node", "node", id, entry.nodes.map((n) => n.id)); // prettier-ignore
    return { kind: "node", value, text: nodeText(entry, value) };
  }
  if (flags.weight !== undefined) {
    const value = explainWeight(doc, entry, flags.weight);
    if (!value) throw unknown("unknown-weight", "weight", flags.weight, entry.weights.map((w) => w.key)); // prettier-ignore
    return { kind: "weight", value, text: weightText(value) };
  }
  if (flags.whyNot !== undefined) {
    const [name = "", line] = flags.whyNot.split("@");
    const known = [...doc.rules, ...doc.passes].map((r) => r.name);
    const inLog = entry.steps.some((s) => [...s.fired, ...s.refused].some((e) => e.rule === name));
    if (!known.includes(name) && !inLog) throw unknown("unknown-rule", "rule or pass", name, known);
    const value = whyNot(doc, entry, name, line === undefined ? undefined : lineRef(doc, line));
    return { kind: "why-not", value, text: whyNotText(value, line) };
  }
  return undefined;
}

function annotate(file: string, flags: ExplainFlags): void {
  const { doc, entry } = documentOf(file, flags);
  const source = flags.lines === undefined ? 0 : sourceIndex(doc, flags.lines);
  const lines = annotateLines(doc, entry, source);
  const { name } = doc.sources[source]!;
  if (flags.json)
    showJson({ format: "tokenloom-explain-annotation", version: 1, file: name, dims: entry.dims, lines });
  else print(annotationText(doc, entry, source, lines));
}

// ---- the document ---------------------------------------------------------------------------------------------------

function documentOf(
  file: string,
  flags: ExplainFlags,
): { readonly doc: ExplainDocument; readonly entry: EntryDoc } {
  const profile =
    flags.profile === undefined
      ? undefined
      : readProfile(readModel(flags.profile, MAX_PROFILE).text, flags.profile);
  const asked = flags.target === undefined ? undefined : targetNamed(flags.target);
  const compiled = compileFile(file, flags, profile?.target ?? asked);
  const at = compiled.plan.entries.find((e) => e.name === (profile?.entry ?? e.name));
  if (profile && at?.dispatches.length !== profile.doc.nanoseconds.length)
    throw new InputError([
      error("profile-mismatch", `${flags.profile} is a profile of another model, or of other settings`, {
        help: "profile again, or explain, with the same --model, --config, --set, --dim, --without and --also",
      }),
    ]);
  const doc = explainCompilation(compiled, {
    root: rootOf(file, compiled),
    source: sourceText,
    dims: { ...profile?.dims, ...dimsOf(flags) },
    code: builtFile<Record<string, string>>("code.json", JSON.parse) ?? {},
    ...(profile && { profiles: { [profile.entry]: profile.doc } }),
  });
  const entry = doc.entries.find((e) => e.name === (flags.entry ?? profile?.entry ?? doc.entries[0]!.name));
  if (!entry) throw unknown("unknown-entry", "entry point", flags.entry ?? "", doc.entries.map((e) => e.name)); // prettier-ignore
  return { doc, entry };
}

/** Of graph text the model it was made from, where that is on this machine: its lines are what the reader knows. */
function rootOf(file: string, { module }: Compiled): string {
  if (!file.endsWith(".ir")) return file;
  const { inputs, nodes } = module.graphs[0]!;
  const model = [...inputs, ...nodes].flatMap((x) => x.spans)[0]?.file;
  return model !== undefined && sourceText(model) !== undefined ? model : file;
}

/** Files that were compiled already, read again for their text. */
function sourceText(name: string): string | undefined {
  const path = name.startsWith("std/") ? join(packageRoot, name) : name;
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** What `npm run build` makes of src/page and src/passes. */
function builtFile<T>(name: string, read: (text: string) => T): T | undefined {
  const path = join(packageRoot, "dist", "explain", name);
  return existsSync(path) ? read(readFileSync(path, "utf8")) : undefined;
}

function template(): string {
  const text = builtFile("page.html", (t) => t);
  if (text !== undefined) return text;
  throw new InputError([
    error("page-not-built", "the page has not been built", { help: "npm run build makes it" }),
  ]);
}

function openInBrowser(path: string): void {
  const opener = { darwin: "open", win32: "explorer" }[process.platform as string] ?? "xdg-open";
  const child = spawn(opener, [pathToFileURL(path).href], { stdio: "ignore", detached: true });
  child.on("error", () => print(`no browser could be started: open ${path} yourself`));
  child.unref();
}

// ---- what the user points at ----------------------------------------------------------------------------------------

/** `14`, or `std/metaformer.model:14`. */
function lineRef(doc: ExplainDocument, text: string): LineRef {
  const [, file, number = ""] = /^(?:(.+):)?(\d{1,7})$/.exec(text) ?? [];
  const source = file === undefined ? 0 : sourceIndex(doc, file);
  const line = Number(number);
  const lines = doc.sources[source]!.text.split("\n").length;
  if (line < 1 || line > lines)
    throw new InputError([
      error("line-spec", `${text} is no line of ${doc.sources[source]!.name}`, {
        help: `write a number from 1 to ${lines}, or FILE:LINE`,
      }),
    ]);
  return { source, line };
}

function sourceIndex(doc: ExplainDocument, name: string): number {
  const at = doc.sources.findIndex((s) => s.name === name);
  if (at >= 0) return at;
  throw unknown("unknown-source", "source file", name, doc.sources.map((s) => s.name)); // prettier-ignore
}

function kernelIndex(doc: ExplainDocument, text: string): number {
  const names = doc.kernels.map((k) => k.name);
  const at = /^\d+$/.test(text) ? Number(text) : names.indexOf(text);
  if (doc.kernels[at]) return at;
  throw unknown("unknown-kernel", `kernel, of ${names.length},`, text, names);
}

function unknown(code: string, what: string, name: string, known: readonly string[]): InputError {
  const close = nearest(name, known);
  const few = known.slice(0, 12).join(", ") + (known.length > 12 ? ", ..." : "");
  const d: Diagnostic = error(code, `there is no ${what} ${name}`, {
    help: close === undefined ? `there are ${few}` : `did you mean ${close}?`,
  });
  return new InputError([d]);
}
