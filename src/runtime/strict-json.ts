// JSON from untrusted files: limits on depth and count, repeated keys refused, objects as maps (so that `__proto__` is a key like
// any other). JSON.parse keeps the last of repeated keys in silence and has no limits. Knows nothing of what the JSON is about.

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | JsonObject;
export type JsonObject = ReadonlyMap<string, JsonValue>;

export interface JsonLimits {
  readonly depth: number;
  /** Strings, numbers, words, lists and objects, all together. */
  readonly values: number;
}

export interface JsonFailure {
  readonly kind: "syntax" | "duplicate-key" | "depth" | "count";
  readonly message: string;
  /** In characters from the start of the text. */
  readonly offset: number;
}

export type JsonResult = { readonly value: JsonValue } | { readonly failure: JsonFailure };

export function isObject(value: JsonValue | undefined): value is JsonObject {
  return value instanceof Map;
}

export function isList(value: JsonValue | undefined): value is readonly JsonValue[] {
  return Array.isArray(value);
}

/** Leaves the recursion of this file, and is caught in it. */
class Stop extends Error {
  readonly failure: JsonFailure;

  constructor(failure: JsonFailure) {
    super(failure.message);
    this.failure = failure;
  }
}

export function parseJson(text: string, limits: JsonLimits): JsonResult {
  try {
    return { value: new Parser(text, limits).whole() };
  } catch (cause) {
    if (cause instanceof Stop) return { failure: cause.failure };
    throw cause;
  }
}

const blank = /[ \t\r\n]*/y;
const number = /-?(?:0|[1-9]\d{0,399})(?:\.\d{1,400})?(?:[eE][+-]?\d{1,6})?/y;
const word = /true|false|null/y;

class Parser {
  readonly #text: string;
  readonly #limits: JsonLimits;
  #at = 0;
  #values = 0;

  constructor(text: string, limits: JsonLimits) {
    this.#text = text;
    this.#limits = limits;
  }

  whole(): JsonValue {
    const value = this.#value(0);
    this.#match(blank);
    if (this.#at < this.#text.length) this.#stop("syntax", "there is more after the value");
    return value;
  }

  #value(depth: number): JsonValue {
    if (++this.#values > this.#limits.values)
      this.#stop("count", `there are more than ${this.#limits.values} values`);
    this.#match(blank);
    const c = this.#text[this.#at];
    if (c === '"') return this.#string();
    if (c === "{" || c === "[") {
      if (depth >= this.#limits.depth)
        this.#stop("depth", `it is nested more than ${this.#limits.depth} deep`);
      this.#at++;
      return c === "{" ? this.#object(depth + 1) : this.#list(depth + 1);
    }
    const digits = this.#match(number);
    if (digits !== undefined) return Number(digits);
    const found = this.#match(word);
    if (found === undefined) this.#stop("syntax", "a value is expected here");
    return found === "null" ? null : found === "true";
  }

  #object(depth: number): JsonObject {
    const out = new Map<string, JsonValue>();
    if (this.#take("}")) return out;
    do {
      this.#match(blank);
      const start = this.#at;
      if (this.#text[start] !== '"') this.#stop("syntax", "a key in quotes is expected here");
      const key = this.#string();
      if (out.has(key)) this.#stop("duplicate-key", JSON.stringify(key.slice(0, 100)), start);
      this.#want(":");
      out.set(key, this.#value(depth));
    } while (this.#take(","));
    this.#want("}");
    return out;
  }

  #list(depth: number): JsonValue[] {
    const out: JsonValue[] = [];
    if (this.#take("]")) return out;
    do out.push(this.#value(depth));
    while (this.#take(","));
    this.#want("]");
    return out;
  }

  /** By hand: a regular expression keeps a stack as long as the string. */
  #string(): string {
    const text = this.#text;
    const start = this.#at;
    let escapes = false;
    for (let i = start + 1; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code < 0x20) this.#stop("syntax", "this string holds a character that must be escaped", i);
      if (code === 0x5c) {
        escapes = true;
        i++;
      } else if (code === 0x22) {
        this.#at = i + 1;
        return escapes ? this.#unescape(start) : text.slice(start + 1, i);
      }
    }
    this.#stop("syntax", "this string does not end");
  }

  #unescape(start: number): string {
    try {
      return JSON.parse(this.#text.slice(start, this.#at)) as string;
    } catch {
      this.#stop("syntax", "this string holds an unknown escape", start);
    }
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #take(c: string): boolean {
    this.#match(blank);
    if (this.#text[this.#at] !== c) return false;
    this.#at++;
    return true;
  }

  #want(c: string): void {
    if (!this.#take(c)) this.#stop("syntax", `${c} is expected here`);
  }

  #stop(kind: JsonFailure["kind"], message: string, offset = this.#at): never {
    throw new Stop({ kind, message, offset });
  }
}
