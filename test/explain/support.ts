// Models that the tests of `explain` read.

import { readFileSync } from "node:fs";
import { explain, type ExplainOptions } from "../../src/explain/build.ts";
import type { ExplainDocument } from "../../src/explain/document.ts";
import { compile, type CompileOptions, type Compiled } from "../../src/index.ts";

const resolve: NonNullable<CompileOptions["resolve"]> = (_, name) => ({
  name,
  text: readFileSync(name, "utf8"),
});

export interface Explained {
  readonly compiled: Compiled;
  readonly doc: ExplainDocument;
}

export function explainedFile(
  path: string,
  options: CompileOptions = {},
  more: Partial<ExplainOptions> = {},
): Explained {
  return explainedText(path, readFileSync(path, "utf8"), options, more);
}

export function explainedText(
  name: string,
  text: string,
  options: CompileOptions = {},
  more: Partial<ExplainOptions> = {},
): Explained {
  const compiled = compile({ name, text }, { resolve, ...options });
  const source = (file: string): string => (file === name ? text : readFileSync(file, "utf8"));
  return { compiled, doc: explain(compiled, { root: name, source, ...more }) };
}

export const poolformer = "examples/poolformer.model";

/** Only the first token is read, so that most of the layer is dead; a comparison of two columns is refused. */
export const firstToken = `model first_token (x: f32[B, T, 8]) -> f32[B, 4] {
  h = x |> linear(out = 16) @up
  g = h |> gelu()
  one = g |> slice(axis = 1, start = 0, end = 1) |> reshape(dims = [B, 16])
  return one |> linear(out = 4) @down
}
`;
