// How one weight of a model is made from the tensors of a checkpoint that names or shapes them otherwise: the closed set of moves
// that a checkpoint map comes down to. Knows tensors; neither patterns nor files.

import {
  elementCount,
  newData,
  reshaped,
  stridesOfShape,
  type Tensor,
  type TensorData,
} from "../ir/tensor.ts";
import { error, type Diagnostic } from "../support/diagnostic.ts";
import { failed, ok, showShape, type Outcome } from "./bytes.ts";

export type WeightRecipe =
  | { readonly kind: "copy"; readonly key: string }
  | { readonly kind: "reshape"; readonly of: WeightRecipe; readonly shape: readonly number[] }
  | { readonly kind: "transpose"; readonly of: WeightRecipe; readonly perm: readonly number[] }
  | { readonly kind: "concat"; readonly axis: number; readonly parts: readonly WeightRecipe[] }
  | {
      readonly kind: "slice";
      readonly of: WeightRecipe;
      readonly axis: number;
      readonly start: number;
      readonly length: number;
    }
  /** Joins along a new axis. */
  | { readonly kind: "stack"; readonly axis: number; readonly parts: readonly WeightRecipe[] };

/** Checkpoint keys that it reads. */
export function recipeKeys(recipe: WeightRecipe): string[] {
  if (recipe.kind === "copy") return [recipe.key];
  return "parts" in recipe ? recipe.parts.flatMap(recipeKeys) : recipeKeys(recipe.of);
}

/** The shape of the result, or why the checkpoint's shapes do not allow the recipe. `shapeOf` knows every key of the recipe. */
export function recipeShape(
  recipe: WeightRecipe,
  shapeOf: (key: string) => readonly number[],
): { readonly shape: readonly number[] } | { readonly problem: string } {
  if (recipe.kind === "copy") return { shape: shapeOf(recipe.key) };
  const shapes: (readonly number[])[] = [];
  for (const part of "parts" in recipe ? recipe.parts : [recipe.of]) {
    const found = recipeShape(part, shapeOf);
    if ("problem" in found) return found;
    shapes.push(found.shape);
  }
  const first = shapes[0];
  if (!first) return { problem: `${recipe.kind} of nothing` };
  return combine(recipe, first, shapes);
}

function combine(
  recipe: Exclude<WeightRecipe, { kind: "copy" }>,
  of: readonly number[],
  shapes: readonly (readonly number[])[],
): { readonly shape: readonly number[] } | { readonly problem: string } {
  const cannot = (what: string) => ({ problem: `${showShape(of)} cannot be ${what}` });
  const isAxis = (axis: number, rank: number): boolean => Number.isInteger(axis) && axis >= 0 && axis < rank;
  switch (recipe.kind) {
    case "reshape":
      return elementCount(recipe.shape) === elementCount(of)
        ? { shape: recipe.shape }
        : cannot(`reshaped to ${showShape(recipe.shape)}`);
    case "transpose": {
      const sorted = [...recipe.perm].sort((a, b) => a - b);
      if (sorted.length !== of.length || sorted.some((x, i) => x !== i))
        return cannot(`transposed by ${showShape(recipe.perm)}`);
      return { shape: recipe.perm.map((axis) => of[axis]!) };
    }
    case "slice": {
      const { axis, start, length } = recipe;
      if (!isAxis(axis, of.length) || start < 0 || length < 0 || start + length > of[axis]!)
        return cannot(`cut at ${start} to ${start + length} of axis ${axis}`);
      return { shape: of.with(axis, length) };
    }
    case "concat": {
      const { axis } = recipe;
      if (!isAxis(axis, of.length)) return cannot(`joined along axis ${axis}`);
      const odd = shapes.find((s) => s.length !== of.length || s.some((x, i) => i !== axis && x !== of[i]));
      if (odd) return cannot(`joined with ${showShape(odd)} along axis ${axis}`);
      return {
        shape: of.with(
          axis,
          shapes.reduce((sum, s) => sum + s[axis]!, 0),
        ),
      };
    }
    case "stack": {
      if (!isAxis(recipe.axis, of.length + 1)) return cannot(`stacked along axis ${recipe.axis}`);
      const odd = shapes.find((s) => s.length !== of.length || s.some((x, i) => x !== of[i]));
      return odd
        ? cannot(`stacked with ${showShape(odd)}`)
        : { shape: of.toSpliced(recipe.axis, 0, shapes.length) };
    }
  }
}

/** Makes the weight. `read` gives the tensors of the checkpoint, in the element type of the weight. */
export async function applyRecipe(
  recipe: WeightRecipe,
  read: (key: string) => Promise<Outcome<Tensor>>,
): Promise<Outcome<Tensor>> {
  if (recipe.kind === "copy") return read(recipe.key);
  const parts: Tensor[] = [];
  const diagnostics: Diagnostic[] = [];
  for (const part of "parts" in recipe ? recipe.parts : [recipe.of]) {
    const made = await applyRecipe(part, read);
    if (made.value) parts.push(made.value);
    diagnostics.push(...made.diagnostics);
  }
  const of = parts[0];
  if (parts.length < ("parts" in recipe ? recipe.parts.length : 1)) return failed(...diagnostics);
  const result = of
    ? combine(
        recipe,
        of.shape,
        parts.map((p) => p.shape),
      )
    : { problem: `${recipe.kind} of nothing` };
  if (!of || "problem" in result)
    return failed(
      ...diagnostics,
      error("checkpoint-rule", "problem" in result ? result.problem : recipe.kind),
    );
  return ok(compute(recipe, of, parts, result.shape), diagnostics);
}

function compute(
  recipe: Exclude<WeightRecipe, { kind: "copy" }>,
  of: Tensor,
  parts: readonly Tensor[],
  shape: readonly number[],
): Tensor {
  switch (recipe.kind) {
    case "reshape":
      return reshaped(of, shape);
    case "transpose":
      return transpose(of, recipe.perm, shape);
    case "slice": {
      const { outer, inner } = around(of.shape, recipe.axis);
      const row = of.shape[recipe.axis]! * inner;
      const data = newData(of.dtype, elementCount(shape));
      for (let o = 0; o < outer; o++) {
        const from = o * row + recipe.start * inner;
        data.set(of.data.subarray(from, from + recipe.length * inner), o * recipe.length * inner);
      }
      return { dtype: of.dtype, shape, data };
    }
    case "concat":
      return { dtype: of.dtype, shape, data: join(parts, recipe.axis, shape) };
    case "stack": {
      // A stack is a concatenation of tensors with one more axis of size 1.
      const widened = parts.map((p) => reshaped(p, p.shape.toSpliced(recipe.axis, 0, 1)));
      return { dtype: of.dtype, shape, data: join(widened, recipe.axis, shape) };
    }
  }
}

/** Elements before and after an axis. */
function around(shape: readonly number[], axis: number): { readonly outer: number; readonly inner: number } {
  return { outer: elementCount(shape.slice(0, axis)), inner: elementCount(shape.slice(axis + 1)) };
}

function join(parts: readonly Tensor[], axis: number, shape: readonly number[]): TensorData {
  const data = newData(parts[0]!.dtype, elementCount(shape));
  const { outer, inner } = around(shape, axis);
  let to = 0;
  for (let o = 0; o < outer; o++)
    for (const p of parts) {
      const row = p.shape[axis]! * inner;
      data.set(p.data.subarray(o * row, (o + 1) * row), to);
      to += row;
    }
  return data;
}

function transpose(of: Tensor, perm: readonly number[], shape: readonly number[]): Tensor {
  const data = newData(of.dtype, of.data.length);
  const sourceStrides = stridesOfShape(of.shape);
  const strides = perm.map((axis) => sourceStrides[axis]!);
  const index = shape.map(() => 0);
  let from = 0;
  for (let to = 0; to < data.length; to++) {
    data[to] = of.data[from]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      if (++index[axis]! < shape[axis]!) break;
      from -= strides[axis]! * shape[axis]!;
      index[axis] = 0;
    }
  }
  return { dtype: of.dtype, shape, data };
}
