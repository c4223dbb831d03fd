// What an op is: one record says what it means (reference), what types it takes (infer), how its axes relate (axes), and how it
// becomes a kernel (lowering). The IR knows this shape and no particular op; the records live in src/ops.

import type { Expr } from "./kernel.ts";
import type { AttrValue, Attrs, GraphBuilder, Seed, ValueId } from "./graph.ts";
import { dim, type Dim } from "./dim.ts";
import type { Program, ProgramCut, ProgramCuts, ProgramFacts } from "./program.ts";
import type { Precision, Tensor } from "./tensor.ts";
import { sharedType, showType, type TensorType } from "./types.ts";

export type OpLookup = (name: string) => OpDefinition | undefined;

/**
 * elementwise: result[i] depends on each input at i alone (after broadcasting)
 * linear: f(a x + b y) = a f(x) + b f(y) in its first input
 * commutative: the first two inputs may be swapped
 * movement: only moves or repeats values (or puts zeros where there are none), computes nothing
 * view: each result is one element of the input or a given number, so it may be computed wherever it is read
 * reduction: removes axes by an associative operation
 * contraction: a sum of products over shared axes
 * unpacking: its result is computed wherever it is read, and never kept in place of its inputs, which take less memory or fit a binding
 */
export type Trait =
  "elementwise" | "linear" | "commutative" | "movement" | "view" | "reduction" | "contraction" | "unpacking";

export interface InputSpec {
  readonly name: string;
  readonly doc: string;
  readonly optional?: boolean;
  /**
   * Where the input is a parameter of the layer: what the checkpoint holds under `label.name`. A call in the language makes this
   * weight unless it passes `name = value`; `none` leaves an optional one out (`bias = false`).
   */
  readonly weight?: {
    shape(c: InferContext): readonly Dim[];
    readonly axes?: readonly (string | null)[];
    readonly seed?: Seed;
    /** Absent: always. */
    when?(attrs: Attrs): boolean;
  };
}

export type AttrKind =
  | "int" // an integer
  | "ints" // a list of integers
  | "pair" // one integer or [vertical, horizontal]; kept as a list of two
  | "float"
  | "bool"
  | "string" // one of `choices` where given
  | "dtype"
  | "dim" // a symbolic size
  | "dims" // a list of symbolic sizes
  | "axis" // an index or an axis name; kept as a non-negative index
  | "axes"; // a list of them

export interface AttrSpec {
  readonly kind: AttrKind;
  readonly doc: string;
  /** Absent: the attribute must be given. */
  readonly default?: AttrValue;
  readonly choices?: readonly string[];
  /** `weight-shape`: only used in the language, to size weights (`out`, `bias`); not kept on the node. */
  readonly role?: "weight-shape";
  /**
   * Of a `dim`: a bounded symbol whose value this op sets, and at most how large that is. A call in the language does not give it: it
   * declares a new one.
   */
  declares?(types: readonly (TensorType | undefined)[], attrs: Attrs): Dim;
}

/** What a failed constraint points at, for a message that is a short proof. */
export interface ConstraintDetail {
  /** The input at fault, by name, and its axis. */
  readonly input?: string;
  readonly axis?: number;
  readonly got?: string;
  readonly expected?: string;
  /** The input the expectation comes from. */
  readonly from?: string;
}

export interface ConstraintFailure extends ConstraintDetail {
  readonly label: string;
}

export interface InferContext {
  readonly attrs: Attrs;
  /** How many inputs are given: of a variadic op, any number. */
  readonly count: number;
  /** Type of an input that is there. */
  type(name: string): TensorType;
  has(name: string): boolean;
  /** Ends inference with the failure where `ok` is false; `label` is a key of the op's constraints. */
  check(label: string, ok: boolean, detail?: ConstraintDetail): void;
}

/** How one axis of an input relates to the result: what token liveness, layout and fusion ask. */
export type AxisRelation =
  /** Position p is used for position p of result axis `axis` alone. */
  | { readonly kind: "same"; readonly axis: number }
  /** The same, but the op counts from the end of the axis (a causal mask): of parts, it makes only the last positions of last ones. */
  | { readonly kind: "tail"; readonly axis: number }
  /** Size one against any size of the result axis. */
  | { readonly kind: "broadcast"; readonly axis: number }
  /** Every position is used for every result (summed, contracted). */
  | { readonly kind: "reduced" }
  /** Result position p of `axis` uses positions p*stride - pad + t*dilation, 0 <= t < size. */
  | {
      readonly kind: "window";
      readonly axis: number;
      readonly size: number;
      readonly stride: number;
      readonly pad: number;
      readonly dilation: number;
    }
  /** Result position p of `axis` is position start + p*step where the axis has one; elsewhere it is none of this input's (concat, pad). */
  | { readonly kind: "part"; readonly axis: number; readonly start: Dim; readonly step: number }
  /** Result position p of `axis` is the position that input `by` says for each sample (axis 0), the same for all else of the sample. */
  | { readonly kind: "picked"; readonly axis: number; readonly by: number }
  /** The positions are those of the result axes named, in row-major order (a reshape that splits an axis). */
  | { readonly kind: "joined"; readonly axes: readonly number[] }
  /** Result position p of `axis` is at the same place, and uses every position (softmax, norm statistics). */
  | { readonly kind: "whole"; readonly axis: number }
  /** Result position p of `axis` uses position floor(p / size): neighbours share one (key heads of grouped queries). */
  | { readonly kind: "grouped"; readonly axis: number; readonly size: number }
  /** Anything else: a reshape, a gather. */
  | { readonly kind: "other" };

export interface ReferenceContext {
  readonly attrs: Attrs;
  readonly precision: Precision;
  /** Are integers that stand for numbers (`quantize`) to be left as fractions? */
  readonly unrounded?: boolean;
  readonly count: number;
  /** Input by name; throws Bug when it is not there. */
  input(name: string): Tensor;
  has(name: string): boolean;
  /** Concrete shapes of the results. */
  readonly shapes: readonly (readonly number[])[];
  /** A zeroed tensor for result i (default 0), in the precision asked for. */
  result(i?: number): Tensor;
  /** The number a symbolic size stands for in this run. */
  size(d: Dim): number;
}

/** Builds the kernel expression for one element of the result. */
export interface ElementContext {
  readonly attrs: Attrs;
  readonly count: number;
  type(input: number): TensorType;
  has(input: number): boolean;
  readonly result: TensorType;
  /** A symbolic size as a u32 expression (a kernel parameter, or a constant). */
  size(d: Dim): Expr;
  /** Input element at a logical index, one u32 expression per axis; as wide as the vector being computed, or scalar. */
  read(input: number, index: readonly Expr[]): Expr;
  /** The same where `inside`, else `fill`; the index need not be in bounds where it is not inside. */
  readInside(input: number, index: readonly Expr[], inside: Expr, fill: number): Expr;
  /** Input element where `inside`, else `otherwise`: only the one that is wanted is read. Without `otherwise` it is inside. */
  readOr(input: number, index: readonly Expr[], inside: Expr, otherwise?: () => Expr): Expr;
  /** Gives an expression a name, so that using it twice computes it once. */
  bind(hint: string, value: Expr): Expr;
  /** The axis of the result that the kernel walks along, if it does: the window along it should be the outermost (`sliding`). */
  readonly walked?: number;
  /**
   * What `tap` gives for each position of a window along `axis`, at `index` of the result. One further along, tap `t` is what tap
   * `t + step` was: a kernel that walks along the axis keeps what windows share. `anywhere`: the position may be outside of the input,
   * even where no window of the result would be.
   */
  sliding(
    window: SlidingWindow,
    index: readonly Expr[],
    tap: (t: number, anywhere: boolean) => Expr,
  ): readonly Expr[];
}

export interface SlidingWindow {
  readonly axis: number;
  readonly size: number;
  /** Taps from one window to the next; a fraction where they share none. */
  readonly step: number;
}

export interface ContractionSpec {
  /** Axes of the result that come from both operands, from the left one, and from the right one. */
  readonly batch: readonly number[];
  readonly left: readonly number[];
  readonly right: readonly number[];
  /** Sizes of the axes summed over. */
  readonly reduce: readonly Dim[];
  /** Index into the left operand (input 0) for a result index and a reduction index; `inside` false reads 0 (padding). */
  leftIndex(
    c: ElementContext,
    out: readonly Expr[],
    k: readonly Expr[],
  ): { readonly index: readonly Expr[]; readonly inside?: Expr };
  /** Index into the right operand (input 1); `group` is there where the product is grouped. */
  rightIndex(
    c: ElementContext,
    out: readonly Expr[],
    k: readonly Expr[],
    group?: Expr,
  ): { readonly index: readonly Expr[] };
  /** The axis of the result that input 2, a bias vector, runs along; a grouped product has a bias for each group. */
  readonly biasAxis?: number;
  readonly group?: RowGroups;
}

/** Tiles of rows that each have a right operand of their own: the weights of an expert. */
export interface RowGroups {
  /** The input that says which, one u32 for each tile. Where it is `count` or more there is none, and the results are 0. */
  readonly input: number;
  /** The axis of the result that the tiles lie along, the only one of `left`. */
  readonly axis: number;
  readonly tile: number;
  readonly count: Dim;
}

export type Reducer = "sum" | "max" | "min";

export type Lowering =
  /** One expression per element of the result: elementwise, movement, windows, gathers. Can be inlined into what reads it. */
  | {
      readonly kind: "element";
      element(c: ElementContext, index: readonly Expr[]): Expr;
      /** Windows that `element` has by `sliding`, whichever axis is walked along. */
      slides?(attrs: Attrs): readonly SlidingWindow[];
    }
  /** A reduction of input 0 over axes; `element` is applied before, `finish` after (with the number of elements as f32). */
  | {
      readonly kind: "reduce";
      readonly reducer: Reducer;
      axes(type: TensorType, attrs: Attrs): readonly number[];
      keepDims(attrs: Attrs): boolean;
      element?(value: Expr): Expr;
      finish?(total: Expr, count: Expr): Expr;
    }
  | {
      readonly kind: "contraction";
      describe(types: readonly (TensorType | undefined)[], attrs: Attrs, result: TensorType): ContractionSpec;
    }
  /** Written with other ops; expanded by a pass before kernels are formed. */
  | {
      readonly kind: "decompose";
      decompose(b: GraphBuilder, inputs: readonly (ValueId | undefined)[], attrs: Attrs): readonly ValueId[];
    }
  /** Kernels of its own (ir/program.ts): loops that no generator has. */
  | {
      readonly kind: "program";
      /** Inputs whose elements are read about once: movements and elementwise work on them are done in place, not in a kernel before. */
      readonly inPlace?: readonly string[];
      /** Inputs that are read several times: movements of them are done in place, arithmetic is not. */
      readonly moved?: readonly string[];
      /** Result 0 is written once an element, through `write` of the last step: elementwise work that follows is done there. */
      readonly epilogue?: boolean;
      /** `cut`: of `cuts`; absent where it has none. */
      program(facts: ProgramFacts, cut?: ProgramCut): Program;
      readonly cuts?: ProgramCuts;
      /** The same with other ops, where it can be said: exporters write this. */
      decompose?(b: GraphBuilder, inputs: readonly (ValueId | undefined)[], attrs: Attrs): readonly ValueId[];
    }
  /** Runs in the prepare program alone: no kernel stores what it makes. */
  | { readonly kind: "prepare" }
  /** Holds no computation of its own (a fused group). */
  | { readonly kind: "group" };

/** A worked example: nested arrays of numbers for each input. */
export interface OpExample {
  readonly about: string;
  readonly inputs: Readonly<Record<string, NestedNumbers>>;
  readonly dtypes?: Readonly<Record<string, TensorType["dtype"]>>;
  readonly attrs?: Attrs;
  readonly outputs: readonly NestedNumbers[];
  /** Absolute difference allowed where the example's digits were rounded; default 1e-6. */
  readonly tolerance?: number;
}
export type NestedNumbers = number | readonly NestedNumbers[];

export interface OpDefinition {
  readonly name: string;
  readonly doc: string;
  /** One line of mathematics. */
  readonly equation: string;
  readonly traits: readonly Trait[];
  readonly inputs: readonly InputSpec[];
  /** The last input may be given any number of times; the further ones are called `x2`, `x3` after it. */
  readonly variadic?: boolean;
  readonly attrs: Readonly<Record<string, AttrSpec>>;
  /** Names of the results; most ops have one, `y`. */
  readonly results: readonly string[];
  /** Label -> sentence; error codes are `op.label`. */
  readonly constraints: Readonly<Record<string, string>>;
  infer(c: InferContext): readonly TensorType[];
  /** Per input, per axis. */
  axes(types: readonly (TensorType | undefined)[], attrs: Attrs): readonly (readonly AxisRelation[])[];
  /** The meaning: plain loops, sharing no code with the lowering. */
  reference(c: ReferenceContext): readonly Tensor[];
  readonly lowering: Lowering;
  /** Sizes that must be 0 or more for the call to mean something, with what it means where they are not. Held against every run. */
  limits?(
    types: readonly (TensorType | undefined)[],
    attrs: Attrs,
  ): readonly { readonly size: Dim; readonly text: string }[];
  /** Calls that the lowering does not take, written with other ops; undefined for those that it does. */
  expand?(
    b: GraphBuilder,
    inputs: readonly (ValueId | undefined)[],
    attrs: Attrs,
  ): readonly ValueId[] | undefined;
  /** Is every result a mean of values of the first input, with weights that sum to 1? A constant then comes out as it went in. */
  keepsConstants?(attrs: Attrs): boolean;
  readonly examples: readonly OpExample[];
  /** Multiply-adds of contractions, for `--stats`; absent means none. */
  macs?(types: readonly (TensorType | undefined)[], attrs: Attrs, result: TensorType): Dim;
  /** False: not callable from a .model file (fused groups, compiler-made ops). Default true. */
  readonly inLanguage?: boolean;
}

/** The attributes that a call gives. */
export const givenAttributes = (op: OpDefinition): readonly (readonly [string, AttrSpec])[] =>
  Object.entries(op.attrs).filter(([, spec]) => !spec.declares);

/** What input `i` is called. */
export function inputName(op: OpDefinition, i: number): string {
  const last = op.inputs.length - 1;
  return i <= last ? op.inputs[i]!.name : `${op.inputs[last]!.name}${i - last + 1}`;
}

/** Which input is called so; -1 where none is. */
export function inputIndex(op: OpDefinition, name: string): number {
  const at = op.inputs.findIndex((x) => x.name === name);
  if (at >= 0 || !op.variadic) return at;
  const last = op.inputs.length - 1;
  const stem = op.inputs[last]!.name;
  const serial = name.startsWith(stem) ? Number(name.slice(stem.length)) : NaN;
  return serial >= 2 ? last + serial - 1 : -1;
}

class ConstraintStop extends Error {
  readonly failure: ConstraintFailure;
  constructor(failure: ConstraintFailure) {
    super(failure.label);
    this.failure = failure;
  }
}

export type Inferred = { readonly types: readonly TensorType[] } | { readonly failure: ConstraintFailure };

/**
 * What an op says of types and attributes. It is a function of these alone, and a model asks the same for each of its layers, again after
 * each pass: each answer is found once.
 */
class Answers<T> {
  readonly #byOp = new WeakMap<OpDefinition, Answered<T>>();
  readonly #find: (op: OpDefinition, types: readonly (TensorType | undefined)[], attrs: Attrs) => T;

  constructor(find: (op: OpDefinition, types: readonly (TensorType | undefined)[], attrs: Attrs) => T) {
    this.#find = find;
  }

  of(op: OpDefinition, types: readonly (TensorType | undefined)[], attrs: Attrs): T {
    let answered = this.#byOp.get(op);
    if (!answered || answered.byText.size >= mostAnswers)
      this.#byOp.set(op, (answered = { byText: new Map(), last: undefined }));
    // Layers of one kind stand in a row: mostly it is the question before, which needs no text.
    const { last } = answered;
    if (last && sameTypes(last.types, types) && sameAttrs(last.attrs, attrs)) return last.answer;
    const question = `${types.map((t) => (t ? showType(t) : "_")).join(" ")} ${attrsKey(attrs)}`;
    let answer = answered.byText.get(question);
    if (answer === undefined) answered.byText.set(question, (answer = this.#find(op, types, attrs)));
    answered.last = { types, attrs, answer };
    return answer;
  }
}

interface Answered<T> {
  readonly byText: Map<string, T>;
  last:
    | {
        readonly types: readonly (TensorType | undefined)[];
        readonly attrs: Attrs;
        readonly answer: T;
      }
    | undefined;
}

/** The same objects, as equal types mostly are (`sharedType`). */
function sameTypes(a: readonly (TensorType | undefined)[], b: readonly (TensorType | undefined)[]): boolean {
  return a.length === b.length && a.every((t, i) => t === b[i]);
}

function sameAttrs(a: Attrs, b: Attrs): boolean {
  if (a === b) return true;
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && sameAttr(a[name]!, b[name]!))
  );
}

function sameAttr(a: AttrValue, b: AttrValue): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object") return false;
  if ("key" in a || "key" in b) return "key" in a && "key" in b && a.key === b.key;
  return a.length === b.length && a.every((x, i) => sameAttr(x, b[i]!));
}

const mostAnswers = 2000;

/** Runs the op's inference; a broken constraint comes back as data. */
export function inferTypes(
  op: OpDefinition,
  types: readonly (TensorType | undefined)[],
  attrs: Attrs,
): Inferred {
  return inferences.of(op, types, attrs);
}

const inferences = new Answers<Inferred>(infer);

/**
 * The shape that the weight at an input must have where the other inputs are of these types, or the constraint that keeps it from having
 * one.
 */
export function weightShape(
  op: OpDefinition,
  input: number,
  types: readonly (TensorType | undefined)[],
  attrs: Attrs,
): readonly Dim[] | ConstraintFailure {
  const known = weightShapes.of(op, types, attrs);
  let found = known.get(input);
  if (!found) known.set(input, (found = findWeightShape(op, input, types, attrs)));
  return found;
}

const weightShapes = new Answers(() => new Map<number, readonly Dim[] | ConstraintFailure>());

function findWeightShape(
  op: OpDefinition,
  input: number,
  types: readonly (TensorType | undefined)[],
  attrs: Attrs,
): readonly Dim[] | ConstraintFailure {
  try {
    // An input with too few axes leaves a size open; inference of the op itself then says so.
    const shape = op.inputs[input]!.weight!.shape(inferContext(op, types, attrs));
    return shape.map((d: Dim | undefined) => d ?? dim(1));
  } catch (e) {
    if (e instanceof ConstraintStop) return e.failure;
    throw e;
  }
}

/** How the axes of each input relate to the result. */
export function axisRelations(
  op: OpDefinition,
  types: readonly (TensorType | undefined)[],
  attrs: Attrs,
): readonly (readonly AxisRelation[])[] {
  return relations.of(op, types, attrs);
}

const relations = new Answers((op, types, attrs) => op.axes(types, attrs));

function infer(op: OpDefinition, types: readonly (TensorType | undefined)[], attrs: Attrs): Inferred {
  try {
    return { types: op.infer(inferContext(op, types, attrs)).map(sharedType) };
  } catch (e) {
    if (e instanceof ConstraintStop) return { failure: e.failure };
    throw e;
  }
}

/** Equal for equal attributes alone. */
function attrsKey(attrs: Attrs): string {
  let key = "";
  for (const [name, value] of Object.entries(attrs)) key += `${name}=${attrKey(value)} `;
  return key;
}

function attrKey(value: AttrValue): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "object") return String(value);
  if ("key" in value) return `#${value.key}`;
  return `[${value.map(attrKey).join()}]`;
}

/** The context that `infer` and weight shapes are given. */
export function inferContext(
  op: OpDefinition,
  types: readonly (TensorType | undefined)[],
  attrs: Attrs,
): InferContext {
  const at = (name: string) => types[inputIndex(op, name)];
  return {
    attrs,
    count: types.length,
    has: (name) => at(name) !== undefined,
    type(name) {
      const type = at(name);
      if (!type) throw new ConstraintStop({ label: "missing", input: name });
      return type;
    },
    check(label, ok, detail = {}) {
      if (!ok) throw new ConstraintStop({ label, ...detail });
    },
  };
}
