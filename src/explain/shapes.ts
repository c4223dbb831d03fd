// Types of values, short: `64×56×56` for `f32[B, C=64, H=floor((H + 1)/4), W=...]`, with the sizes of the document put in.

import { evaluateDim } from "../ir/dim.ts";
import { parseDim } from "../ir/dim-parse.ts";
import type { EntryDoc } from "./document.ts";

export class Shapes {
  readonly #known = new Map<string, string>();
  readonly #sizes: Readonly<Record<string, number>>;

  constructor(entry: EntryDoc) {
    this.#sizes = entry.dims;
  }

  /** The type as people say it; the dtype only where it is not f32. A size that is bound while it runs stays a name. */
  short(type: string): string {
    const known = this.#known.get(type);
    if (known !== undefined) return known;
    if (type === "") return "";
    const [, dtype = "", axes = ""] = /^(\w+)\[(.*)\](?:\{.*\})?$/.exec(type) ?? [];
    const sizes = splitAxes(axes).map((axis) => this.#size(axis.replace(/^\w+=(?!=)/, "")));
    const shape = sizes.length > 0 ? sizes.join("×") : "scalar";
    const text = dtype === "f32" ? shape : `${dtype} ${shape}`;
    this.#known.set(type, text);
    return text;
  }

  #size(text: string): string {
    const dim = parseDim(text);
    if (!dim) return text;
    try {
      return String(evaluateDim(dim, this.#sizes));
    } catch {
      return text;
    }
  }
}

/** Commas between parentheses divide nothing. */
function splitAxes(text: string): readonly string[] {
  const out: string[] = [];
  let [depth, start] = [0, 0];
  for (let i = 0; i <= text.length; i++) {
    const c = text[i];
    if (c === "(") depth++;
    else if (c === ")") depth--;
    else if (c === undefined || (c === "," && depth === 0)) {
      const axis = text.slice(start, i).trim();
      if (axis !== "") out.push(axis);
      start = i + 1;
    }
  }
  return out;
}
