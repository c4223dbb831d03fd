// What a file offers, before anything is elaborated: its models with their parameters, inputs, results, configurations and
// checkpoint maps. For `check`, `--help` of a model, and the choice of an entry point.

import type * as ast from "../parser/ast.ts";
import type { Location } from "../support/source.ts";
import { locationOf } from "../support/source.ts";
import { checkpointMap, type CheckpointMap } from "./checkpoint-map.ts";
import { configsOf } from "./constants.ts";
import type { FileScope } from "./files.ts";
import { showParamType } from "./parameters.ts";
import { sourceText } from "./signature.ts";

export interface ParameterInfo {
  readonly name: string;
  /** `int`, `timm | original`, `[int]`. */
  readonly type: string;
  /** As written; absent where it must be given. */
  readonly default?: string;
}

export interface TensorInfo {
  readonly name: string;
  /** As written: `f32[B, 3, H, W]`. */
  readonly type: string;
  readonly optional: boolean;
}

export interface ConfigInfo {
  readonly name: string;
  readonly extends?: string;
  /** As written. */
  readonly args: readonly { readonly name: string; readonly value: string }[];
}

export interface ModelInfo {
  readonly name: string;
  readonly isDefault: boolean;
  /** The comment right above it. */
  readonly doc: string;
  readonly parameters: readonly ParameterInfo[];
  readonly inputs: readonly TensorInfo[];
  readonly results: readonly TensorInfo[];
  readonly configs: readonly ConfigInfo[];
  readonly checkpoints: readonly CheckpointMap[];
  readonly location: Location;
}

export interface FoundModel {
  /** In the file looked at; an imported one may have another name at home. */
  readonly name: string;
  readonly block: ast.Block;
  readonly file: FileScope;
  readonly imported: boolean;
}

/** Models of a file, its own first. */
export function modelsOf(file: FileScope): readonly FoundModel[] {
  const all: FoundModel[] = [];
  for (const [name, entry] of file.entries)
    if (entry.kind === "block" && entry.item.model)
      all.push({ name, block: entry.item, file: entry.file, imported: entry.file !== file });
  return [...all.filter((m) => !m.imported), ...all.filter((m) => m.imported)];
}

export function modelInfo(root: FileScope, m: FoundModel): ModelInfo {
  const { block } = m;
  const configs = [...configsOf(m.file, block.name.text), ...(m.imported ? configsOf(root, m.name) : [])];
  const scopes = m.imported ? [root, m.file] : [root];
  const checkpoints = scopes.flatMap((scope) =>
    scope.checkpoints.filter((c) => c.model.text === (scope === root ? m.name : block.name.text)),
  );
  return {
    name: m.name,
    isDefault: block.isDefault,
    doc: commentAbove(m.file, block),
    parameters: block.params.map((p) => ({
      name: p.name.text,
      type: showParamType(p.type),
      ...(p.default && { default: sourceText(p.default.span) }),
    })),
    inputs: block.inputs.map((x) => ({
      name: x.name.text,
      type: sourceText(x.type.span),
      optional: x.optional,
    })),
    results: block.results.map((x, i) => ({
      name: x.name?.text ?? (block.results.length === 1 ? "output" : `output${i}`),
      type: sourceText(x.type.span),
      optional: false,
    })),
    configs: configs.map(({ config: c }) => ({
      name: c.name.text,
      ...(c.extends && { extends: c.extends.text }),
      args: c.args.flatMap((a) => (a.name ? [{ name: a.name.text, value: sourceText(a.value.span) }] : [])),
    })),
    checkpoints: checkpoints.map(checkpointMap),
    location: locationOf(block.name.span),
  };
}

/** Comment lines that end right above a block or another item. */
export function commentAbove(file: Pick<FileScope, "ast">, item: Pick<ast.Block, "span">): string {
  const lines: string[] = [];
  let line = locationOf(item.span).line - 1;
  for (const c of [...file.ast.comments].reverse()) {
    const at = locationOf(c.span).line;
    if (at > line || !c.ownLine) continue;
    if (at < line) break;
    lines.unshift(c.text.replace(/^\/\/ ?/, "").trimEnd());
    line--;
  }
  return lines.join("\n");
}
