// Small damage to valid inputs, so that most of an input is still as it should be and readers are reached deep inside. Text is changed by
// words and lines, bytes where headers are, JSON by its values.

import type { Random } from "./random.ts";

const word = /[A-Za-z_]\w*|\d[\w.]*|"[^"\n]*"|\s+|[^]/gu;

export function wordsOf(text: string): string[] {
  return text.match(word) ?? [];
}

const numbers = ["0", "1", "-1", "2", "3", "7", "65535", "2147483647", "4294967296", "9007199254740993"];
const moreNumbers = ["1e308", "1e999", "-0", "0.1", "1e-320", "00", "0x10", "1_000", "NaN", "1.", ".5"];
const characters = [
  "\0",
  "\t",
  "\r",
  "\n",
  "\\",
  '"',
  "'",
  "`",
  "é",
  "\u202e",
  "\ud800",
  "\udc00",
  "😀",
  "\ufeff",
  "\u2028",
];

/** One to four changes. `others` are the corpus: words and ends are taken from it. */
export function mutateText(text: string, others: readonly string[], r: Random): string {
  let words = wordsOf(text);
  const changes = 1 + (r.oneIn(2) ? 0 : r.below(4));
  for (let i = 0; i < changes; i++) words = changeWords(words, others, r);
  return words.join("");
}

/** Past this a repetition ends: readers have limits of their own, which are tested one by one. */
const mostCharacters = 400_000;

function changeWords(words: string[], others: readonly string[], r: Random): string[] {
  const at = r.below(words.length + 1);
  const few = 1 + r.below(r.oneIn(4) ? 30 : 4);
  const head = words.slice(0, at);
  const tail = words.slice(at);
  const run = tail.slice(0, few);
  switch (r.below(16)) {
    case 0:
      return [...head, ...tail.slice(few)];
    case 1:
      return [...head, ...run, ...tail];
    case 2: {
      const to = r.below(words.length + 1);
      const rest = [...head, ...tail.slice(few)];
      return [...rest.slice(0, to), ...run, ...rest.slice(to)];
    }
    case 3:
      return [...head, r.pick(wordsOf(r.pick(others))), ...tail.slice(1)];
    case 4:
      return [...head, r.pick(wordsOf(r.pick(others))), ...tail];
    case 5:
      return replaceKind(words, /^\d/, r, () => r.pick(r.oneIn(3) ? moreNumbers : numbers));
    case 6:
      return replaceKind(words, /^\d+$/, r, (n) => String(Number(n) + r.below(3) - 1));
    case 7:
    case 8: {
      // Another name, everywhere: what is left is often valid.
      const names = [...new Set(words.filter((w) => /^[A-Za-z_]/.test(w)))];
      if (names.length === 0) return words;
      const [from, to] = [r.pick(names), r.pick(names)];
      return r.oneIn(2)
        ? words.map((w) => (w === from ? to : w))
        : replaceKind(words, /^[A-Za-z_]/, r, () => to);
    }
    case 9: {
      const other = wordsOf(r.pick(others));
      return [...head, ...other.slice(r.below(other.length + 1))];
    }
    case 10: {
      const lines = words.join("").split("\n");
      const line = lines.splice(r.below(lines.length), r.oneIn(3) ? 0 : 1);
      lines.splice(r.below(lines.length + 1), 0, ...(r.oneIn(3) ? [] : line));
      return [lines.join("\n")].flatMap(wordsOf);
    }
    case 11: {
      const [open, close] = r.pick([
        ["(", ")"],
        ["[", "]"],
        ["{", "}"],
        ["-", ""],
        ["not ", ""],
        ["a(", ")"],
      ] as const);
      const deep = r.oneIn(8) ? 2000 : 1 + r.below(60);
      return [...head, open.repeat(deep), ...run, r.oneIn(4) ? "" : close.repeat(deep), ...tail.slice(few)];
    }
    case 12: {
      const size = Math.max(1, run.join("").length);
      const times = Math.min(r.oneIn(10) ? 3000 : 1 + r.below(20), Math.ceil(mostCharacters / size));
      return [...head, run.join("").repeat(times), ...tail];
    }
    case 13:
      return [...head, r.pick(characters), ...tail.slice(r.below(2))];
    case 14:
      return r.oneIn(4)
        ? head
        : replaceKind(words, /^[^\w\s]$/, r, () => r.pick([..."()[]{}<>=+-*/%@$|,.:;!&~^?#"]));
    default:
      return replaceKind(words, /^"/, r, () =>
        r.pick(['""', '"*"', '"\\u{110000}"', '"../../x"', '"{a}.{b}"', '"']),
      );
  }
}

/** Changes one word of a kind; the text as it is where there is none. */
function replaceKind(words: string[], kind: RegExp, r: Random, by: (old: string) => string): string[] {
  const places = words.flatMap((w, i) => (kind.test(w) ? [i] : []));
  if (places.length === 0) return words;
  const at = r.pick(places);
  return words.map((w, i) => (i === at ? by(w) : w));
}

const bytesThatMatter = [0, 1, 0x22, 0x2c, 0x2d, 0x30, 0x39, 0x5b, 0x5d, 0x7b, 0x7d, 0x7f, 0x80, 0xff];

/** One to five changes, most of them early in the file. */
export function mutateBytes(bytes: Uint8Array, others: readonly Uint8Array[], r: Random): Uint8Array {
  let out = Uint8Array.from(bytes);
  const place = (): number => r.below(r.oneIn(3) ? out.length + 1 : Math.min(out.length + 1, 240));
  for (let left = 1 + r.below(5); left > 0; left--) {
    const at = place();
    switch (r.below(8)) {
      case 0:
        if (at < out.length) out[at]! ^= 1 << r.below(8);
        break;
      case 1:
        if (at < out.length) out[at] = r.pick(bytesThatMatter);
        break;
      case 2:
        out = out.slice(0, at);
        break;
      case 3:
        out = joined(out.subarray(0, at), out.subarray(place(), at + 16), out.subarray(at));
        break;
      case 4:
        out = joined(out.subarray(0, at), out.subarray(at + 1 + r.below(4)));
        break;
      case 5:
        out = joined(out.subarray(0, at), Uint8Array.of(r.pick(bytesThatMatter)), out.subarray(at));
        break;
      case 6:
        out = joined(out.subarray(0, at), r.pick(others).subarray(at));
        break;
      default:
        digits(out, r);
    }
  }
  return out;
}

/** Another number of the same length in a textual header. */
function digits(out: Uint8Array, r: Random): void {
  const isDigit = (c: number | undefined): boolean => c !== undefined && c >= 0x30 && c <= 0x39;
  const most = Math.min(out.length, 4000);
  const from = r.below(most + 1);
  for (let i = 0; i < most; i++) {
    let at = (from + i) % most;
    if (!isDigit(out[at])) continue;
    for (; isDigit(out[at]); at++) out[at] = 0x30 + r.below(10);
    return;
  }
}

function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) (out.set(p, at), (at += p.length));
  return out;
}

const odd: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e300,
  "",
  "x",
  "B*T",
  "B*(",
  [],
  [[]],
  {},
  { id: 1 },
  "__proto__",
];

/** One to three values of a JSON text replaced, taken away or doubled. */
export function mutateJson(text: string, r: Random): string {
  const root: unknown = JSON.parse(text);
  for (let left = 1 + r.below(3); left > 0; left--) {
    const holders: object[] = [];
    const visit = (value: unknown): void => {
      if (typeof value !== "object" || value === null) return;
      holders.push(value);
      Object.values(value).forEach(visit);
    };
    visit(root);
    const holder = r.pick(holders) as Record<string, unknown>;
    const keys = Object.keys(holder);
    if (keys.length === 0) continue;
    const key = r.pick(keys);
    const other = r.pick(holders) as Record<string, unknown>;
    switch (r.below(4)) {
      case 0:
        if (Array.isArray(holder)) holder.splice(Number(key), 1);
        else delete holder[key];
        break;
      case 1:
        holder[key] = structuredClone(r.oneIn(3) ? other : (Object.values(other)[0] ?? null));
        break;
      case 2:
        if (Array.isArray(holder)) holder.splice(Number(key), 0, structuredClone(holder[Number(key)]));
        else holder[r.pick(["id", "shape", "kernel", "constructor"])] = structuredClone(holder[key]);
        break;
      default:
        // A copy: the next change may be to it.
        holder[key] = structuredClone(r.pick(odd));
    }
  }
  return JSON.stringify(root);
}
