// Patterns of checkpoint keys: `{i}` is one path segment or part of one, `{rest*}` any text, `*` any text without a name.
// In a result `{i / 2}` computes; a key matches only where every such sum comes out as a whole number.

export type Captures = ReadonlyMap<string, string>;

interface Part {
  readonly kind: "text" | "one" | "any" | "sum";
  /** The text, the name, or the sum. */
  readonly text: string;
}

export interface Pattern {
  readonly text: string;
  readonly parts: readonly Part[];
  readonly expression: RegExp;
  readonly names: readonly string[];
}

export const patternLimits = { length: 400, keyLength: 512, stars: 2, captures: 8 } as const;

export function parsePattern(text: string): Pattern | { readonly problem: string } {
  if (text === "") return { problem: "a pattern is not empty" };
  if (text.length > patternLimits.length)
    return { problem: `a pattern has at most ${patternLimits.length} characters` };
  const parts = partsOf(text);
  if (!Array.isArray(parts)) return { problem: parts as string };
  const stars = parts.filter((p) => p.kind === "any").length;
  if (stars > patternLimits.stars)
    return { problem: `a pattern has at most ${patternLimits.stars} parts with a star` };
  const captures = parts.filter((p) => p.kind === "one" || (p.kind === "any" && p.text !== ""));
  if (captures.length > patternLimits.captures)
    return { problem: `a pattern has at most ${patternLimits.captures} names` };
  const names = captures.map((p) => p.text);
  const escape = (s: string) => s.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const source = parts
    .map((p) => (p.kind === "text" ? escape(p.text) : p.kind === "any" ? "(.+)" : "([^.]+?)"))
    .join("");
  return { text, parts, expression: new RegExp(`^${source}$`), names };
}

function partsOf(text: string): Part[] | string {
  const parts: Part[] = [];
  for (let at = 0; at < text.length;) {
    const next = text.slice(at).search(/[{}*]/);
    if (next !== 0) {
      const end = next < 0 ? text.length : at + next;
      parts.push({ kind: "text", text: text.slice(at, end) });
      at = end;
      continue;
    }
    if (text[at] === "}") return "a } has no {";
    if (text[at] === "*") {
      parts.push({ kind: "any", text: "" });
      at++;
      continue;
    }
    const end = text.indexOf("}", at);
    if (end < 0) return "a { has no }";
    const part = bracedPart(text.slice(at + 1, end).trim());
    if (typeof part === "string") return part;
    parts.push(part);
    at = end + 1;
  }
  return parts;
}

function bracedPart(inside: string): Part | string {
  const named = /^([A-Za-z_]\w*)(\*?)$/.exec(inside);
  if (named) return { kind: named[2] === "*" ? "any" : "one", text: named[1]! };
  const problem = sumProblem(inside);
  return problem ?? { kind: "sum", text: inside };
}

/** Names that the sums of a pattern use. */
export function sumNames(p: Pattern): readonly string[] {
  return p.parts.flatMap((x) => (x.kind === "sum" ? (x.text.match(/[A-Za-z_]\w*/g) ?? []) : []));
}

export function matchPattern(p: Pattern, key: string): Captures | undefined {
  if (key.length > patternLimits.keyLength) return undefined;
  const found = p.expression.exec(key);
  if (!found) return undefined;
  const out = new Map<string, string>();
  let group = 0;
  for (const part of p.parts) {
    if (part.kind === "text") continue;
    const text = found[++group]!;
    if (part.kind === "sum" || part.text === "") continue;
    const old = out.get(part.text);
    if (old !== undefined && old !== text) return undefined;
    out.set(part.text, text);
  }
  return out;
}

/** The key that a result pattern gives; undefined where a sum does not come out, or a name is not known. */
export function fillPattern(p: Pattern, captures: Captures): string | undefined {
  let out = "";
  for (const part of p.parts) {
    const text =
      part.kind === "text"
        ? part.text
        : part.kind === "sum"
          ? sumOf(part.text, captures)
          : captures.get(part.text);
    if (text === undefined) return undefined;
    out += text;
  }
  return out;
}

// Sums: + - * / and brackets over names and numbers. Division must be exact.

type Tokens = { readonly list: readonly string[]; at: number };

function tokensOf(text: string): Tokens | undefined {
  const list = text.match(/[A-Za-z_]\w*|\d+|[-+*/()]|\S/g) ?? [];
  const sound = list.every((t) => /^([A-Za-z_]\w*|\d{1,9}|[-+*/()])$/.test(t));
  return sound && list.length > 0 ? { list, at: 0 } : undefined;
}

function sumProblem(text: string): string | undefined {
  const tokens = tokensOf(text);
  // With every name standing for one number, only the form is looked at.
  if (tokens) {
    sum(tokens, () => 0, { failed: false, formOnly: true });
    if (tokens.at === tokens.list.length) return undefined;
  }
  return `{${text.slice(0, 40)}} is neither a name nor a sum such as {i / 2} or {i + 1}`;
}

function sumOf(text: string, captures: Captures): string | undefined {
  const tokens = tokensOf(text);
  const state = { failed: false, formOnly: false };
  if (!tokens) return undefined;
  const value = sum(tokens, (name) => numberIn(captures, name, state), state);
  return state.failed || !Number.isSafeInteger(value) || value < 0 ? undefined : String(value);
}

interface SumState {
  failed: boolean;
  readonly formOnly: boolean;
}

function numberIn(captures: Captures, name: string, state: SumState): number {
  const text = captures.get(name);
  if (text === undefined || !/^\d{1,9}$/.test(text)) state.failed = true;
  return Number(text ?? 0);
}

function sum(t: Tokens, value: (name: string) => number, state: SumState): number {
  let left = product(t, value, state);
  while (t.list[t.at] === "+" || t.list[t.at] === "-") {
    const sign = t.list[t.at++] === "+" ? 1 : -1;
    left += sign * product(t, value, state);
  }
  return left;
}

function product(t: Tokens, value: (name: string) => number, state: SumState): number {
  let left = factor(t, value, state);
  while (t.list[t.at] === "*" || t.list[t.at] === "/") {
    const divide = t.list[t.at++] === "/";
    const right = factor(t, value, state);
    if (!divide) left *= right;
    else if (!state.formOnly && (right === 0 || left % right !== 0)) state.failed = true;
    else left = state.formOnly ? 0 : left / right;
  }
  return left;
}

function factor(t: Tokens, value: (name: string) => number, state: SumState): number {
  const token = t.list[t.at];
  if (token === undefined) {
    // Past the end: the form is wrong, and stays so.
    t.at = t.list.length + 1;
    state.failed = true;
    return 0;
  }
  t.at++;
  if (token === "(") {
    const inner = sum(t, value, state);
    if (t.list[t.at++] !== ")") t.at = t.list.length + 1;
    return inner;
  }
  if (/^\d/.test(token)) return Number(token);
  if (/^[A-Za-z_]/.test(token)) return value(token);
  t.at = t.list.length + 1;
  state.failed = true;
  return 0;
}
