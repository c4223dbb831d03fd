// Code for the body of one fused group: elements are pulled. Reading a parameter is a load; reading a node computes its element at that
// index, right there, and shares it. Reductions and contractions are computed by the kernel around (`computed`).
// Also decides how wide each load is: a vec4 where four neighbours along the vector axis lie side by side, else one by one.

import { Bug } from "../support/bug.ts";
import { constantOf, dim, divideExact, isMultipleOf, sameDim, type Dim } from "../ir/dim.ts";
import {
  add,
  binary,
  bitcast,
  BOOL,
  cast,
  component,
  constant,
  constantValue,
  div,
  F32,
  I32,
  kernelType,
  load,
  mod,
  mul,
  name,
  ne,
  operands,
  select,
  splat,
  sub,
  U32,
  u32,
  vector,
} from "../ir/expr.ts";
import type { Node, Region, ValueId } from "../ir/graph.ts";
import type { BufferDecl, Expr, KernelType, Scalar, Width } from "../ir/kernel.ts";
import type { ElementContext } from "../ir/op.ts";
import { bytesOf, isPacked, stridesOf, type DType, type PackedType, type TensorType } from "../ir/types.ts";
import { AxisSpace, type MergedAxes } from "./axes.ts";
import { Emitter, mentions, substitute } from "./emitter.ts";
import { LIVE, Sizes, type Bounds, type LiveWrites } from "./sizes.ts";
import type { Walk } from "./walk.ts";

/** The placeholder for the index along the vector axis: the first of four neighbours. */
const VECTOR = "@v";

export interface VectorAxis {
  /** Which four: the index along the axis is four times this. */
  readonly group: Expr;
}

export class GroupCode {
  readonly emitter: Emitter;
  readonly sizes: Sizes;
  readonly space: AxisSpace;
  readonly #region: Region;
  readonly #producers = new Map<ValueId, Node>();
  readonly #types = new Map<ValueId, TensorType>();
  readonly #buffers = new Map<ValueId, string>();
  readonly #outputs: string[] = [];
  /** Buffers read or written four at a time, as found by an earlier try. */
  readonly #wide: ReadonlySet<string>;
  /** Found in this one. */
  readonly wideSeen = new Set<string>();
  readonly #narrowSeen = new Set<string>();
  readonly #computed = new Map<ValueId, (index: readonly Expr[]) => Expr>();
  readonly #memo = new Map<string, Expr>();
  readonly #sizeNumbers = new Map<string, number>();
  #vector: VectorAxis | undefined;
  #walk: Walk | undefined;
  readonly #live: LiveWrites | undefined;

  /**
   * `names`: what to call the buffers of some values; others are called after what they are to their readers. `live`: in a kernel that
   * writes live extents.
   */
  constructor(
    region: Region,
    bounds: Bounds = {},
    wide: ReadonlySet<string> = new Set(),
    names: ReadonlyMap<ValueId, string> = new Map(),
    live?: LiveWrites,
  ) {
    this.#region = region;
    this.sizes = new Sizes(bounds, live?.places);
    this.#live = live;
    this.#wide = wide;
    for (const p of region.params) this.#types.set(p.id, p.type);
    for (const n of region.nodes)
      for (const r of n.results) {
        this.#types.set(r.id, r.type);
        this.#producers.set(r.id, n);
      }
    const taken = new Set<string>([LIVE]);
    const claim = (hint: string): string => {
      let text = hint;
      for (let i = 2; taken.has(text); i++) text = `${hint}${i}`;
      taken.add(text);
      return text;
    };
    for (const p of region.params) this.#buffers.set(p.id, claim(names.get(p.id) ?? this.#hint(p.id)));
    region.results.forEach((id, i) =>
      this.#outputs.push(claim(names.get(id) ?? (i === 0 ? "y" : `y${i + 1}`))),
    );
    this.emitter = new Emitter(taken);
    this.space = new AxisSpace(this.emitter, this.sizes);
  }

  /** Named by what it is to the first node that reads it: `weight`, `x`; so equal groups of other layers get equal names. */
  #hint(id: ValueId): string {
    for (const n of this.#region.nodes) {
      const at = n.inputs.indexOf(id);
      if (at >= 0) return n.op.inputs[Math.min(at, n.op.inputs.length - 1)]!.name;
    }
    return "x";
  }

  type(id: ValueId): TensorType {
    const type = this.#types.get(id);
    if (!type) throw new Bug(`no value ${id} in the group`);
    return type;
  }

  producer(id: ValueId): Node | undefined {
    return this.#producers.get(id);
  }

  /** Says how a reduction or a contraction of the group is had at an index. */
  compute(id: ValueId, at: (index: readonly Expr[]) => Expr): void {
    this.#computed.set(id, at);
    this.#memo.clear();
  }

  /** A value that was kept for one place is read again. */
  forget(id: ValueId): void {
    this.#computed.delete(id);
    this.#memo.clear();
  }

  /** The index along the vector axis; `read` then gives four neighbours. */
  openVector(group: Expr): Expr {
    this.#vector = { group };
    this.#memo.clear();
    return name(VECTOR, U32);
  }
  closeVector(): void {
    this.#vector = undefined;
    this.#memo.clear();
  }

  /** One turn of a walk: its windows are read first, then `body`. */
  walk(walk: Walk, body: () => void): void {
    this.#memo.clear();
    this.#walk = walk;
    walk.windows(() => walk.nodes.forEach((id) => this.read(id, walk.index)));
    body();
    walk.turn();
    this.#walk = undefined;
    this.#memo.clear();
  }

  read(id: ValueId, index: readonly Expr[]): Expr {
    const key = `${id}@${index.map((e) => this.emitter.key(e)).join(";")}`;
    const known = this.#memo.get(key);
    if (known && this.emitter.isLive(known)) return known;
    const value = this.#fresh(id, index);
    this.#memo.set(key, value);
    return value;
  }

  #fresh(id: ValueId, index: readonly Expr[]): Expr {
    const computed = this.#computed.get(id);
    if (computed) return computed(index);
    const node = this.#producers.get(id);
    if (!node) return this.#load(id, index);
    const result = node.results.findIndex((r) => r.id === id);
    const lowering = node.op.lowering;
    if (lowering.kind !== "element" || result !== 0)
      throw new Bug(`${node.op.name} is read inside a kernel that does not compute it`);
    const at = (place: readonly Expr[]): Expr => lowering.element(this.#context(node, place), place);
    return this.emitter.bind(node.op.name, this.#finishAt(at, index));
  }

  /**
   * A value that is a number for each lane made of the index alone is computed lane by lane: its steps have names then. Written out from
   * one expression with the lane put in, steps that are used twice would be there twice, and twice again.
   */
  #finishAt(element: (at: readonly Expr[]) => Expr, index: readonly Expr[]): Expr {
    const value = element(index);
    if (!this.#vector || value.type.width > 1 || !mentions(value, VECTOR)) return this.finish(value);
    const base = this.#vectorBase();
    const lanes = [0, 1, 2, 3].map((lane) =>
      this.finish(element(index.map((e) => this.space.resolve(this.#lane(e, base, lane))))),
    );
    return vector(lanes);
  }

  /** Placeholders written out; where the vector index itself is part of the value, one expression a lane. */
  finish(e: Expr): Expr {
    if (this.#vector && mentions(e, VECTOR)) {
      const base = this.#vectorBase();
      const lanes = [0, 1, 2, 3].map((lane) =>
        component(this.space.resolve(substitute(e, VECTOR, add(base, u32(lane)))), lane),
      );
      return vector(lanes);
    }
    return this.space.resolve(e);
  }

  #vectorBase(): Expr {
    if (!this.#vector) throw new Bug("no vector axis is open");
    return this.emitter.bind("v", mul(this.#vector.group, u32(4)));
  }

  #context(node: Node, at: readonly Expr[]): ElementContext {
    return {
      attrs: node.attrs,
      count: node.inputs.length,
      type: (input) => this.type(node.inputs[input]!),
      has: (input) => (node.inputs[input] ?? "") !== "",
      result: node.results[0]!.type,
      size: (d) => this.size(d),
      read: (input, index) => this.read(node.inputs[input]!, index),
      readInside: (input, index, inside, fill) => this.#readInside(node, at, input, index, inside, fill),
      readOr: (input, index, inside, otherwise) => this.#readOr(node, at, input, index, inside, otherwise),
      bind: (hint, value) => (hasPlaceholder(value) ? value : this.emitter.bind(hint, value)),
      ...(this.#walk && { walked: this.#walk.axis }),
      sliding: (window, index, tap) =>
        this.#walk?.sliding(window, index, (t) => this.finish(tap(t, true))) ??
        Array.from({ length: window.size }, (_, t) => tap(t, false)),
    };
  }

  #readInside(
    node: Node,
    at: readonly Expr[],
    input: number,
    index: readonly Expr[],
    inside: Expr,
    fill: number,
  ): Expr {
    const here = mentions(inside, VECTOR) ? inside : this.emitter.bind("inside", this.space.resolve(inside));
    const sizes = this.type(node.inputs[input]!).shape;
    const safe = index.map((e, axis) =>
      // An index of the result is in bounds of an axis of the same size.
      at.some((own, i) => own === e && sameDim(node.results[0]!.type.shape[i]!, sizes[axis]!))
        ? e
        : this.#onlyInside(e, here, sizes[axis]!),
    );
    const value = this.read(node.inputs[input]!, safe);
    const scalar = value.type.scalar;
    const filler = constant(scalar === "bool" ? fill !== 0 : fill, kernelType(scalar));
    return select(here, value, splat(filler, value.type.width));
  }

  /** By a branch. Where the condition differs between lanes, both are read, each where it can be. */
  #readOr(
    node: Node,
    at: readonly Expr[],
    input: number,
    index: readonly Expr[],
    inside: Expr,
    otherwise?: () => Expr,
  ): Expr {
    if (mentions(inside, VECTOR)) {
      const value = this.#readInside(node, at, input, index, inside, 0);
      return otherwise ? select(inside, value, otherwise()) : value;
    }
    if (!otherwise) return this.read(node.inputs[input]!, index);
    const e = this.emitter;
    const wide = this.#vector !== undefined && index.some((x) => mentions(x, VECTOR) || x.type.width > 1);
    const { scalar } = computedIn(node.results[0]!.type.dtype);
    const zero = constant(scalar === "bool" ? false : 0, kernelType(scalar));
    const value = e.variable("either", splat(zero, wide ? 4 : 1));
    e.when(
      e.bind("here", this.space.resolve(inside)),
      () => e.set(value, this.finish(this.read(node.inputs[input]!, index))),
      () => e.set(value, this.finish(otherwise())),
    );
    return e.bind("chosen", value);
  }

  /** Where it is outside, any index in bounds will do. A number is not in bounds for being one: taps of a window stand beside a short axis. */
  #onlyInside(e: Expr, inside: Expr, size: Dim): Expr {
    const at = constantValue(e);
    if (at === 0 || (typeof at === "number" && at < (constantOf(size) ?? 0))) return e;
    return select(inside, e, constant(0, U32));
  }

  size(d: Dim): Expr {
    const known = constantOf(d);
    if (known === 1) return u32(1);
    // Numbered in order of use, not named by their text: where other layers have other sizes, the kernel is the same.
    const number = this.#sizeNumbers.get(d.key) ?? this.#sizeNumbers.size;
    this.#sizeNumbers.set(d.key, number);
    return this.sizes.of(`size${number}`, d);
  }

  // ---- memory -------------------------------------------------------------------------------------------------

  #load(id: ValueId, index: readonly Expr[]): Expr {
    const type = this.type(id);
    const buffer = this.#buffers.get(id)!;
    const strides = stridesOf(type);
    const run = this.#runIn(index);
    if (run) return this.#loadOfRun(run, buffer, type, index, strides);
    const vectorAt = index.findIndex((e) => e.kind === "name" && e.name === VECTOR);
    const others = index.filter((_, i) => i !== vectorAt);
    if (this.#vector && index.some((e) => mentions(e, VECTOR) || e.type.width > 1)) {
      const sideBySide =
        vectorAt >= 0 &&
        constantOf(strides[vectorAt]!) === 1 &&
        !others.some((e) => mentions(e, VECTOR) || e.type.width > 1) &&
        strides.every((s, i) => i === vectorAt || isMultipleOf(s, 4) || isUnmoved(type, i, index[i]!));
      if (sideBySide) return this.#loadFour(buffer, type, index, strides, vectorAt);
      const base = this.#vectorBase();
      const lanes = [0, 1, 2, 3].map((lane) =>
        this.#loadOne(
          buffer,
          type,
          index.map((e) => this.#lane(e, base, lane)),
          strides,
        ),
      );
      return this.emitter.bind(buffer, vector(lanes));
    }
    return this.#loadOne(buffer, type, index, strides);
  }

  /** The axes that the vector axis is made of together, where it is of several, and this index has one of them. */
  #runIn(index: readonly Expr[]): MergedAxes | undefined {
    const run = this.#vector && this.space.countedBy(VECTOR);
    return run?.parts.some((p) => index.some((e) => mentions(e, p.placeholder))) ? run : undefined;
  }

  /** Where in a tensor the run is: its axes at 0, and which of them is the innermost; undefined where four of it are no neighbours there. */
  #foursOfRun(
    run: MergedAxes,
    type: TensorType,
    index: readonly Expr[],
    strides: readonly Dim[],
  ): { readonly at: readonly Expr[]; readonly vectorAt: number } | undefined {
    if (!this.space.isRun(run, index, strides)) return undefined;
    const vectorAt = index.findIndex((e) => e.kind === "name" && e.name === run.parts.at(-1)!.placeholder);
    const at = index.map((e) => (run.parts.some((p) => mentions(e, p.placeholder)) ? u32(0) : e));
    const isAligned = strides.every((s, i) => isMultipleOf(s, 4) || isUnmoved(type, i, at[i]!));
    return isAligned ? { at, vectorAt } : undefined;
  }

  #loadOfRun(
    run: MergedAxes,
    buffer: string,
    type: TensorType,
    index: readonly Expr[],
    strides: readonly Dim[],
  ): Expr {
    const fours = this.#foursOfRun(run, type, index, strides);
    if (fours) return this.#loadFour(buffer, type, fours.at, strides, fours.vectorAt);
    const base = this.#vectorBase();
    const lanes = [0, 1, 2, 3].map((lane) => {
      const counter = this.emitter.bind("v", add(base, u32(lane)));
      return this.#loadOne(buffer, type, this.space.counted(run, index, counter), strides);
    });
    return this.emitter.bind(buffer, vector(lanes));
  }

  /** One of four indices: beside the vector axis, or each read from memory. */
  #lane(e: Expr, base: Expr, lane: number): Expr {
    const own = substitute(e, VECTOR, add(base, u32(lane)));
    return own.type.width > 1 ? component(own, lane) : own;
  }

  #loadFour(
    buffer: string,
    type: TensorType,
    index: readonly Expr[],
    strides: readonly Dim[],
    vectorAt: number,
  ): Expr {
    const rest = index.map((e, i) => (i === vectorAt ? u32(0) : e));
    const quarter = strides.map((s, i) => (i === vectorAt ? dim(1) : (divideExact(s, dim(4)) ?? s)));
    const start = this.space.address(`${buffer}_q`, rest, quarter);
    const at = this.emitter.bind("i", add(start, this.#vector!.group));
    if (isPacked(type.dtype)) return this.#unpacked(buffer, type.dtype, at, 4);
    this.wideSeen.add(buffer);
    const raw = load(buffer, at, kernelType(storedAs(type.dtype), 4));
    return this.emitter.bind(buffer, fromStored(raw, type.dtype));
  }

  #loadOne(buffer: string, type: TensorType, index: readonly Expr[], strides: readonly Dim[]): Expr {
    this.#narrowSeen.add(buffer);
    const at = this.emitter.bind("i", this.space.address(buffer, index, strides));
    if (isPacked(type.dtype)) return this.#unpacked(buffer, type.dtype, at, 1);
    const scalar = storedAs(type.dtype);
    const raw = this.#wide.has(buffer)
      ? component(load(buffer, div(at, u32(4)), kernelType(scalar, 4)), mod(at, u32(4)))
      : load(buffer, at, kernelType(scalar));
    return this.emitter.bind(buffer, fromStored(raw, type.dtype));
  }

  /** Was a buffer that is read four at a time somewhere taken for one of single elements elsewhere? Then this try is not the last. */
  get isMistaken(): boolean {
    return [...this.wideSeen].some((b) => this.#narrowSeen.has(b) && !this.#wide.has(b));
  }

  /** `width` integers, 1 or 4, out of the word they are in; `at` counts them by `width`. Their sign comes with the shift back. */
  #unpacked(buffer: string, dtype: PackedType, at: Expr, width: 1 | 4): Expr {
    const bits = 8 * bytesOf[dtype];
    const each = 32 / bits / width;
    const word = this.emitter.bind(buffer, load(buffer, div(at, u32(each)), U32));
    const first = sub(u32(32 - bits), mul(mod(at, u32(each)), u32(bits * width)));
    const lanes = [0, 1, 2, 3].map((lane) => u32(bits * lane));
    const left = width === 1 ? first : sub(splat(first, 4), vector(lanes));
    const high = bitcast(binary("shift_left", splat(word, width), left), "i32");
    return this.emitter.bind(buffer, binary("shift_right", high, splat(constant(32 - bits, I32), width)));
  }

  /** Stores result `i` of the group at an index: four neighbours where the vector axis is open and among the indices. */
  write(i: number, index: readonly Expr[], value: Expr): void {
    const id = this.#region.results[i]!;
    const type = this.type(id);
    const buffer = this.#outputs[i]!;
    const strides = stridesOf(type);
    const run = this.#runIn(index);
    const fours = run && this.#foursOfRun(run, type, index, strides);
    if (run && !fours) throw new Bug(`${buffer} has no neighbours where four of it are written`);
    const vectorAt = fours?.vectorAt ?? index.findIndex((e) => e.kind === "name" && e.name === VECTOR);
    const ready = this.finish(value);
    if (vectorAt < 0) {
      this.#narrowSeen.add(buffer);
      if (this.#wide.has(buffer)) throw new Bug(`${buffer} is written one by one and four at a time`);
      this.emitter.store(buffer, this.space.address(buffer, index, strides), toStored(ready, type.dtype));
      return;
    }
    const isFours =
      constantOf(strides[vectorAt]!) === 1 &&
      strides.every((s, a) => a === vectorAt || isMultipleOf(s, 4) || isUnmoved(type, a, index[a]!));
    if (fours || isFours) {
      this.wideSeen.add(buffer);
      const rest = (fours?.at ?? index).map((e, a) => (a === vectorAt ? u32(0) : e));
      const quarter = strides.map((s, a) => (a === vectorAt ? dim(1) : (divideExact(s, dim(4)) ?? s)));
      const at = add(this.space.address(`${buffer}_q`, rest, quarter), this.#vector!.group);
      this.emitter.store(buffer, at, toStored(splat(ready, 4), type.dtype));
      return;
    }
    const base = this.#vectorBase();
    const wide = this.emitter.bind("four", splat(ready, 4));
    for (let lane = 0; lane < 4; lane++) {
      const at = this.space.address(
        buffer,
        index.map((e, a) => (a === vectorAt ? add(base, u32(lane)) : e)),
        strides,
      );
      this.emitter.store(buffer, at, toStored(component(wide, lane), type.dtype));
    }
  }

  /** Sets the live value of a bounded symbol, at its place in the extents, and the grids that follow from it. */
  setLive(symbol: string, value: Expr): void {
    const grids = this.#live?.grids.get(symbol) ?? [];
    const live = grids.length > 0 ? this.emitter.bind("live_rows", value) : value;
    this.emitter.store(LIVE, this.sizes.placeOf(symbol), live);
    if (grids.length > 0) this.sizes.know(symbol, live);
    grids.forEach(({ place, grid }, i) => {
      const first = this.sizes.placeOfGrid(i, place);
      grid.forEach((count, axis) =>
        this.emitter.store(LIVE, add(first, u32(axis)), this.sizes.of(`grid ${i} ${"xyz"[axis]!}`, count)),
      );
    });
  }

  /** Declarations, parameters first, results last; the widths are those found. */
  buffers(): readonly BufferDecl[] {
    const declare = (text: string, type: TensorType, access: BufferDecl["access"]): BufferDecl => ({
      name: text,
      type: kernelType(storedAs(type.dtype), this.wideSeen.has(text) ? 4 : 1),
      access,
    });
    return [
      ...this.#region.params.map((p) => declare(this.#buffers.get(p.id)!, p.type, "read")),
      ...this.#region.results.map((id, i) => declare(this.#outputs[i]!, this.type(id), "write")),
      ...(this.#live ? [{ name: LIVE, type: U32, access: "read_write" as const }] : []),
    ];
  }
}

/** An axis along which nothing is added to the address: of size 1, or read at 0. */
const isUnmoved = (type: TensorType, axis: number, index: Expr): boolean =>
  constantOf(type.shape[axis]!) === 1 || constantValue(index) === 0;

function hasPlaceholder(e: Expr, seen = new Set<Expr>()): boolean {
  if (e.kind === "name") return e.name.startsWith("@");
  // What a load is made of has been written out.
  if (e.kind === "load" || seen.has(e)) return false;
  seen.add(e);
  return operands(e).some((x) => hasPlaceholder(x, seen));
}

/** bool is stored as u32, and so are words of packed integers. */
export function storedAs(dtype: DType): Scalar {
  return dtype === "bool" || isPacked(dtype) ? "u32" : dtype;
}

/** Arithmetic on f16 is in f32: loads widen. */
function fromStored(raw: Expr, dtype: DType): Expr {
  if (dtype === "bool") return ne(raw, splat(u32(0), raw.type.width as Width));
  return dtype === "f16" ? cast(raw, "f32") : raw;
}

function toStored(value: Expr, dtype: DType): Expr {
  if (dtype === "bool") return select(value, u32(1), u32(0));
  const scalar = storedAs(dtype);
  return value.type.scalar === scalar ? value : cast(value, scalar);
}

/** The type arithmetic is done in. */
export function computedIn(dtype: DType): KernelType {
  if (isPacked(dtype)) return I32;
  return dtype === "bool" ? BOOL : dtype === "f16" ? F32 : kernelType(dtype);
}
