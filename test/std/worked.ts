// Reads the worked examples of this folder: Markdown, where each heading is followed by a model and by what goes in and must come out.
//
//   ## mean of the tokens that the mask keeps
//   ```model
//   ...
//   ```
//   ```json
//   { "inputs": { "x": [[1, 2]] }, "outputs": { "y": [1.5] } }
//   ```

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { NestedNumbers } from "../../src/ir/op.ts";

/** What is written under a model. Inputs and weights that are left out are made from their names. */
export interface Run {
  readonly inputs?: Readonly<Record<string, NestedNumbers>>;
  readonly weights?: Readonly<Record<string, NestedNumbers>>;
  /** Sizes of symbols that no written input binds. */
  readonly sizes?: Readonly<Record<string, number>>;
  readonly set?: Readonly<Record<string, string>>;
  /** The numbers of the definition; without them the run is held against the oracle and the kernels alone. */
  readonly outputs?: Readonly<Record<string, NestedNumbers>>;
  /** Absolute, for digits that were rounded; default 1e-6. */
  readonly tolerance?: number;
}

export interface WorkedExample {
  readonly title: string;
  /** `test/std/heads.md:12`. */
  readonly place: string;
  readonly code: string;
  readonly runs: readonly Run[];
}

const folder = import.meta.dirname;

function readWorked(file: string): readonly WorkedExample[] {
  const text = readFileSync(join(folder, file), "utf8");
  return [...text.matchAll(/^## (.*)\n([\s\S]*?)(?=^## |$(?![\s\S]))/gm)].map((m): WorkedExample => {
    const [, title, body] = m as unknown as [string, string, string];
    const blocks = (language: string): string[] =>
      [...body.matchAll(new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map((b) => b[1]!);
    const place = `test/std/${file}:${text.slice(0, m.index).split("\n").length}`;
    const [code, ...more] = blocks("model");
    const runs = blocks("json").map((json) => JSON.parse(json) as Run);
    if (code === undefined || more.length > 0 || runs.length === 0)
      throw new Error(`${place} needs one block of model, and one or more of json`);
    return { title, place, code, runs };
  });
}

export const workedFiles: readonly { readonly name: string; readonly examples: readonly WorkedExample[] }[] =
  readdirSync(folder)
    .filter((f) => f.endsWith(".md"))
    .map((f) => ({ name: f, examples: readWorked(f) }));
