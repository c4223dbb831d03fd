// Is this JSON a plan? Checks every field that running relies on, so that a damaged or hostile file is refused with a reason.
// Pure; the schema in words is plan.ts.

import { parseDim } from "./dim-parse.ts";
import { extentsId } from "./plan.ts";
import { dtypes, modelTypes, type DType } from "./types.ts";

type Fields = Readonly<Record<string, unknown>>;

/** Problems found, in the reader's words; empty where the plan can be run. */
export function checkPlan(data: unknown): readonly string[] {
  const problems: string[] = [];
  const say = (where: string, what: string): void => {
    if (problems.length < 50) problems.push(`${where} ${what}`);
  };
  if (!isObject(data)) return ["the plan is not an object"];
  const kernels = list(data, "kernels", say);
  kernels.forEach((k, i) => checkKernel(k, `kernel ${i}`, say));
  const constants = list(data, "constants", say);
  constants.forEach((c, i) => {
    checkTensor(c, `constant ${i}`, say, dtypes);
    for (const name of ["offset", "bytes"])
      if (!isCount(c[name])) say(`constant ${i}`, `has no valid ${name}`);
  });
  const shared = new Set(constants.map((c) => c["id"]));
  const entries = list(data, "entries", say);
  if (entries.length === 0) say("the plan", "has no entry point");
  entries.forEach((e, i) => {
    if (typeof e["name"] !== "string") say(`entry ${i}`, "has no name");
    else if (entries.findIndex((x) => x["name"] === e["name"]) !== i)
      say(`entry ${i}`, `has the name of another, ${e["name"].slice(0, 100)}`);
    checkEntry(e, `entry ${i}`, kernels, shared, say);
  });
  return problems;
}

type Say = (where: string, what: string) => void;

function checkKernel(k: Fields, where: string, say: Say): void {
  if (typeof k["name"] !== "string") say(where, "has no name");
  if (typeof k["wgsl"] !== "string") say(where, "has no shader");
  for (const b of list(k, "buffers", say))
    if (!isCount(b["binding"]) || typeof b["name"] !== "string") say(where, "has a buffer without a binding");
  for (const p of list(k, "params", say))
    if (!isCount(p["offset"])) say(where, "has a parameter without an offset");
  const uniform = k["uniform"];
  if (
    uniform !== undefined &&
    !(isObject(uniform) && isCount(uniform["binding"]) && isCount(uniform["bytes"]))
  )
    say(where, "has a uniform block without a binding and size");
}

function checkTensor(t: Fields, where: string, say: Say, known: readonly DType[] = modelTypes): void {
  if (typeof t["id"] !== "string") say(where, "has no id");
  if (!known.some((d) => d === t["dtype"])) say(where, `has the unknown element type ${String(t["dtype"])}`);
  const shape = t["shape"];
  if (!Array.isArray(shape) || shape.length > 16 || !shape.every(isSize))
    say(where, "has a shape that cannot be read");
  const order = t["order"];
  if (order !== undefined) {
    const rank = Array.isArray(shape) ? shape.length : 0;
    const ok =
      Array.isArray(order) &&
      order.length === rank &&
      [...order].sort((a, b) => a - b).every((x, i) => x === i);
    if (!ok) say(where, "has an order that is no permutation of its axes");
  }
}

/** Words. */
const MOST_EXTENTS = 1_000_000;

function checkEntry(
  e: Fields,
  where: string,
  kernels: readonly Fields[],
  shared: ReadonlySet<unknown>,
  say: Say,
): void {
  const known = new Set<unknown>(shared);
  const extents = e["extents"] ?? 0;
  for (const part of ["inputs", "values", "states"])
    list(e, part, say).forEach((t, i) => {
      checkTensor(t, `${where}, ${part} ${i}`, say);
      known.add(t["id"]);
    });
  list(e, "symbols", say).forEach((s, i) => {
    // Kernels write the live number of a bounded symbol, and read it.
    if (s["kind"] === "bounded") known.add(extentsId);
    if (typeof s["name"] !== "string") say(`${where}, symbol ${i}`, "has no name");
    if (s["kind"] === "bounded" && !(isSize(s["bound"]) && isCount(s["slot"])))
      say(`${where}, symbol ${i}`, "has no valid bound");
    if (s["live"] !== undefined && !isCount(s["live"]))
      say(`${where}, symbol ${i}`, "has no valid live value");
  });
  if (!isCount(extents) || Number(extents) > MOST_EXTENTS) say(where, "has no valid number of extents");
  if (e["limits"] !== undefined)
    list(e, "limits", say).forEach((l, i) => {
      if (!isSize(l["size"]) || typeof l["text"] !== "string") say(`${where}, limit ${i}`, "cannot be read");
    });
  list(e, "outputs", say).forEach((o, i) => {
    if (!known.has(o["value"]) || !isObject(o["tensor"]))
      say(`${where}, output ${i}`, "names a value that is not there");
  });
  list(e, "dispatches", say).forEach((d, i) => {
    const at = `${where}, dispatch ${i}`;
    const kernel = kernels[Number(d["kernel"])];
    if (!isCount(d["kernel"]) || !kernel) return say(at, "names a kernel that is not there");
    const buffers = d["buffers"];
    const params = d["params"];
    const grid = d["grid"];
    if (
      !Array.isArray(buffers) ||
      buffers.length !== lengthOf(kernel["buffers"]) ||
      !buffers.every((b) => known.has(b))
    )
      say(at, "binds values that are not there");
    if (!Array.isArray(params) || params.length !== lengthOf(kernel["params"]) || !params.every(isSize))
      say(at, "passes sizes that cannot be read");
    if (!Array.isArray(grid) || grid.length !== 3 || !grid.every(isSize))
      say(at, "has a grid that cannot be read");
    const place = d["indirect"];
    if (place !== undefined && !(isCount(place) && Number(place) + 3 <= Number(extents)))
      say(at, "takes its grid from a place that is not there");
  });
}

function isObject(x: unknown): x is Fields {
  return typeof x === "object" && x !== null && !Array.isArray(x);
}

/** The list may not be there: that its owner lacks it has been said. */
function lengthOf(x: unknown): number | undefined {
  return Array.isArray(x) ? x.length : undefined;
}

function isCount(x: unknown): boolean {
  return typeof x === "number" && Number.isSafeInteger(x) && x >= 0;
}

function isSize(x: unknown): boolean {
  return typeof x === "string" && x.length <= 4096 && parseDim(x) !== undefined;
}

function list(of: Fields, name: string, say: Say): readonly Fields[] {
  const found = of[name];
  if (Array.isArray(found) && found.every(isObject)) return found as Fields[];
  say("the plan", `has no list of ${name}`);
  return [];
}
