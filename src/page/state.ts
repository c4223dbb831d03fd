// What the reader looks at, and its permanent link: everything of it is in the hash of the address. Pure.

import type { ExplainDocument } from "../explain/document.ts";

export const tabs = ["graph", "changes", "kernels", "run"] as const;
export type Tab = (typeof tabs)[number];

export type Selection =
  | { readonly kind: "nothing" }
  | { readonly kind: "line"; readonly source: number; readonly line: number }
  | { readonly kind: "node"; readonly id: string }
  | { readonly kind: "scope"; readonly path: string }
  | { readonly kind: "kernel"; readonly index: number }
  | { readonly kind: "dispatch"; readonly index: number }
  | { readonly kind: "weight"; readonly key: string }
  | { readonly kind: "rule"; readonly name: string };

export interface View {
  readonly entry: number;
  /** 0: as the model says it; n: after the n-th pass. */
  readonly step: number;
  readonly tab: Tab;
  readonly selection: Selection;
}

export const nothing: Selection = { kind: "nothing" };

export function hashOf(doc: ExplainDocument, v: View): string {
  const parts: (readonly [string, string])[] = [];
  const pass = doc.entries[v.entry]!.steps[v.step - 1];
  if (v.entry > 0) parts.push(["entry", doc.entries[v.entry]!.name]);
  if (pass) parts.push(["pass", doc.passes[pass.pass]!.name]);
  if (v.tab !== "graph") parts.push(["tab", v.tab]);
  const s = v.selection;
  if (s.kind === "line")
    parts.push(["line", (s.source === 0 ? "" : `${doc.sources[s.source]!.name}:`) + s.line]);
  else if (s.kind === "node") parts.push(["node", s.id]);
  else if (s.kind === "scope") parts.push(["scope", s.path]);
  else if (s.kind === "kernel" || s.kind === "dispatch") parts.push([s.kind, String(s.index)]);
  else if (s.kind === "weight") parts.push(["weight", s.key]);
  else if (s.kind === "rule") parts.push(["rule", s.name]);
  // Slashes, colons and commas are allowed in a fragment, and links are to be read.
  const encode = (text: string): string =>
    encodeURIComponent(text).replace(/%(2F|3A|2C|24)/g, decodeURIComponent);
  return parts.map(([k, x]) => `${k}=${encode(x)}`).join("&");
}

/** What a link does not say, or says of something that is not there, is as at the beginning. */
export function viewOf(doc: ExplainDocument, hash: string): View {
  const given = new URLSearchParams(hash.replace(/^#/, "").replace(/\+/g, "%2B"));
  const entry = Math.max(
    0,
    doc.entries.findIndex((e) => e.name === given.get("entry")),
  );
  const { steps } = doc.entries[entry]!;
  const step = 1 + steps.findIndex((s) => doc.passes[s.pass]!.name === given.get("pass"));
  const tab = tabs.find((t) => t === given.get("tab")) ?? "graph";
  return { entry, step, tab, selection: selectionOf(doc, entry, given) };
}

function selectionOf(doc: ExplainDocument, entry: number, given: URLSearchParams): Selection {
  const { dispatches, weights, scopes } = doc.entries[entry]!;
  const numbered = (text: string, most: number): number | undefined =>
    /^\d{1,7}$/.test(text) && Number(text) < most ? Number(text) : undefined;
  for (const [key, text] of given) {
    if (key === "node" && text !== "") return { kind: "node", id: text };
    if (key === "scope" && scopes.some((s) => s.path === text)) return { kind: "scope", path: text };
    if (key === "weight" && weights.some((w) => w.key === text)) return { kind: "weight", key: text };
    if (key === "rule" && text !== "") return { kind: "rule", name: text };
    const index = numbered(text, key === "kernel" ? doc.kernels.length : dispatches.length);
    if ((key === "kernel" || key === "dispatch") && index !== undefined) return { kind: key, index };
    if (key === "line") {
      const [, file, line = ""] = /^(?:(.+):)?(\d{1,7})$/.exec(text) ?? [];
      const source = file === undefined ? 0 : doc.sources.findIndex((s) => s.name === file);
      if (source >= 0 && line !== "") return { kind: "line", source, line: Number(line) };
    }
  }
  return nothing;
}
