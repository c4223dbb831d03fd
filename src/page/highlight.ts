// Colours for the four languages of the page: .model, graph IR, kernel IR and WGSL. Their words look alike enough for one scanner.

import { h } from "./dom.ts";

export type Language = "model" | "graph" | "kernel" | "wgsl";

const words: Readonly<Record<Language, ReadonlySet<string>>> = {
  model: set("model block config checkpoint import from extends of return output if else for in repeat match let preprocess state rename stack namespace true false"), // prettier-ignore
  graph: set("graph in body return weight input state output"),
  kernel: set("kernel workgroup param buffer read write read_write shared let var if else for in step return barrier loc while break"), // prettier-ignore
  wgsl: set("struct var let const fn if else for loop while return break continue switch case default enable override alias storage uniform workgroup private function read read_write write true false"), // prettier-ignore
};
const types =
  /^(?:f16|f32|f64|u32|i32|bool|int|float|string|vec[234][fuih]?|mat\dx\d[fh]?|array|atomic|ptr)$/;

function set(text: string): ReadonlySet<string> {
  return new Set(text.split(" "));
}

/** comment | string | attribute or label | value or weight | number | word */
const token =
  /(\/\/[^\n]*)|("(?:[^"\\\n]|\\.)*")|(@[A-Za-z_][\w.]*)|([%$][\w.]+)|(\b\d[\w.]*)|([A-Za-z_][\w.]*)/g;

/** One line; lines of the four languages have no tokens across them. */
export function highlight(text: string, language: Language): DocumentFragment {
  const out = document.createDocumentFragment();
  let last = 0;
  for (const m of text.matchAll(token)) {
    const kind = kindOf(m, language, text);
    if (!kind) continue;
    out.append(text.slice(last, m.index), h("span", { class: `t-${kind}` }, m[0]));
    last = m.index + m[0].length;
  }
  out.append(text.slice(last));
  return out;
}

function kindOf(m: RegExpMatchArray, language: Language, text: string): string | undefined {
  const [all, comment, string, at, value, number, word] = m;
  if (comment) return "comment";
  if (string) return "string";
  if (at) return "label";
  if (value) return value.startsWith("$") ? "weight" : "value";
  if (number) return "number";
  if (word && types.test(word)) return "type";
  if (word && words[language].has(word)) return "word";
  return text[m.index! + all.length] === "(" ? "call" : undefined;
}

/** A listing with line numbers. */
export function listing(text: string, language: Language): HTMLElement {
  const lines = text.replace(/\n$/, "").split("\n");
  return h(
    "pre",
    { class: "listing" },
    lines.map((l, i) => h("div", { class: "code-line" }, h("span", { class: "number" }, String(i + 1)), highlight(l, language))), // prettier-ignore
  );
}
