// Model lines by number: the same few are on thousands of nodes.

import type { Location } from "../support/source.ts";
import type { PlaceDoc, SourceDoc } from "./document.ts";

export class Places {
  readonly list: PlaceDoc[] = [];
  readonly sources: SourceDoc[] = [];
  readonly #read: (name: string) => string | undefined;
  readonly #byKey = new Map<string, number>();
  readonly #bySpan = new Map<Location, number>();
  readonly #bySource = new Map<string, number>();

  /** `read` gives the text of a source file; what it cannot give is shown without text. */
  constructor(read: (name: string) => string | undefined) {
    this.#read = read;
  }

  of(spans: readonly Location[]): readonly number[] {
    return spans.map((s) => this.#bySpan.get(s) ?? this.#add(s));
  }

  #add(span: Location): number {
    const index = this.#index(span);
    this.#bySpan.set(span, index);
    return index;
  }

  #index({ file, ...range }: Location): number {
    const place: PlaceDoc = { source: this.source(file), ...range };
    const key = JSON.stringify(Object.values(place));
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    this.#byKey.set(key, this.list.length);
    return this.list.push(place) - 1;
  }

  source(name: string): number {
    const known = this.#bySource.get(name);
    if (known !== undefined) return known;
    this.#bySource.set(name, this.sources.length);
    return this.sources.push({ name, text: this.#read(name) ?? "" }) - 1;
  }
}
