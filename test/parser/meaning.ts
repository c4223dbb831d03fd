// An AST without places, so that two of them can be compared for what they say.

import type { File } from "../../src/parser/ast.ts";

export function meaning(ast: File): unknown {
  return strip(ast.items);
}

export function strip(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(strip);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([key]) => key !== "span");
  return Object.fromEntries(entries.map(([key, child]) => [key, strip(child)]));
}
