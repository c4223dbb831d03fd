// Symbolic dimensions: integer polynomials over named symbols and floor quotients, in a normal form, so that two dimensions are
// equal exactly when their text is equal. Knows nothing of tensors.
//
//   4*dim      B*T + 1      floor((H + 1)/2)      min(T, 8)
//
// Three kinds of symbol share this form; what a name stands for is declared by the graph (`Symbol` in graph.ts).

import { Bug } from "../support/bug.ts";

/** One factor of a term: a symbol, or floor(num/den) that could not be simplified. */
type Atom =
  | { readonly kind: "symbol"; readonly name: string; readonly key: string }
  | { readonly kind: "floor"; readonly num: Dim; readonly den: Dim; readonly key: string }
  | { readonly kind: "min" | "max"; readonly a: Dim; readonly b: Dim; readonly key: string };

interface Term {
  readonly coefficient: number;
  /** Sorted by key; a square is the atom twice. */
  readonly atoms: readonly Atom[];
}

export interface Dim {
  /** The canonical text; equality of keys is equality of dimensions. */
  readonly key: string;
  readonly terms: readonly Term[];
}

/** Values of symbols at run time. */
export type DimEnv = Readonly<Record<string, number>>;

/** Of a product; sums of names multiply without end, and no model needs nearly as many. */
const maxTerms = 100_000;

export function dim(value: number | string): Dim {
  if (typeof value === "string") return symbol(value);
  if (!Number.isSafeInteger(value)) throw new Bug(`a dimension must be an integer, got ${value}`);
  return constant(value);
}

/** Numbers are most of all sizes, and the same few: each is made once. */
const constants = new Map<number, Dim>();
const mostConstants = 4096;

function constant(value: number): Dim {
  const known = constants.get(value);
  if (known) return known;
  const made: Dim =
    value === 0
      ? { key: "0", terms: [] }
      : { key: String(value), terms: [{ coefficient: value, atoms: [] }] };
  if (constants.size < mostConstants) constants.set(value === 0 ? 0 : value, made);
  return made;
}

function symbol(name: string): Dim {
  return fromTerms([{ coefficient: 1, atoms: [{ kind: "symbol", name, key: name }] }]);
}

function fromTerms(terms: readonly Term[]): Dim {
  if (terms.length === 0) return constant(0);
  if (terms.length === 1) {
    const [only] = terms as readonly [Term];
    if (only.coefficient === 0) return constant(0);
    return only.atoms.length === 0 ? constant(only.coefficient) : { key: show(terms), terms };
  }
  const byAtoms = new Map<string, Term>();
  for (const t of terms) {
    const key = t.atoms.map((a) => a.key).join("*");
    const old = byAtoms.get(key);
    byAtoms.set(key, old ? { coefficient: old.coefficient + t.coefficient, atoms: t.atoms } : t);
  }
  const sorted = [...byAtoms.entries()]
    .filter(([, t]) => t.coefficient !== 0)
    // Larger products first, the constant last: `B*T + B + 1`.
    .sort(([x, a], [y, b]) => b.atoms.length - a.atoms.length || (x < y ? -1 : 1))
    .map(([, t]) => t);
  return { key: show(sorted), terms: sorted };
}

function show(terms: readonly Term[]): string {
  if (terms.length === 0) return "0";
  return terms
    .map((t, i) => {
      const atoms = t.atoms.map((a) => a.key).join("*");
      const size = Math.abs(t.coefficient);
      const body = atoms === "" ? String(size) : size === 1 ? atoms : `${size}*${atoms}`;
      if (i === 0) return t.coefficient < 0 ? `-${body}` : body;
      return t.coefficient < 0 ? ` - ${body}` : ` + ${body}`;
    })
    .join("");
}

export function showDim(d: Dim): string {
  return d.key;
}

export function constantOf(d: Dim): number | undefined {
  if (d.terms.length === 0) return 0;
  const only = d.terms.length === 1 ? d.terms[0]! : undefined;
  return only && only.atoms.length === 0 ? only.coefficient : undefined;
}

export function sameDim(a: Dim, b: Dim): boolean {
  return a.key === b.key;
}

export function addDim(a: Dim, b: Dim): Dim {
  if (a.terms.length === 0) return b;
  if (b.terms.length === 0) return a;
  return fromTerms([...a.terms, ...b.terms]);
}

export function negDim(a: Dim): Dim {
  return fromTerms(a.terms.map((t) => ({ coefficient: -t.coefficient, atoms: t.atoms })));
}

export function subDim(a: Dim, b: Dim): Dim {
  return addDim(a, negDim(b));
}

export function mulDim(a: Dim, b: Dim): Dim {
  const x = constantOf(a);
  if (x !== undefined) return scaled(b, x);
  const y = constantOf(b);
  if (y !== undefined) return scaled(a, y);
  if (a.terms.length * b.terms.length > maxTerms)
    throw new Bug(`a dimension has more than ${maxTerms} terms`);
  const out: Term[] = [];
  for (const x of a.terms)
    for (const y of b.terms) {
      const atoms = [...x.atoms, ...y.atoms].sort((p, q) => (p.key < q.key ? -1 : p.key > q.key ? 1 : 0));
      out.push({ coefficient: x.coefficient * y.coefficient, atoms });
    }
  return fromTerms(out);
}

/** A number times a size: its terms stay in order. */
function scaled(d: Dim, by: number): Dim {
  if (by === 1) return d;
  if (by === 0) return constant(0);
  const value = constantOf(d);
  if (value !== undefined) return constant(value * by);
  const terms = d.terms.map((t) => ({ coefficient: t.coefficient * by, atoms: t.atoms }));
  return { key: show(terms), terms };
}

export function productDim(dims: readonly Dim[]): Dim {
  return dims.reduce(mulDim, dim(1));
}

/** a / b where that is provably exact for every value of the symbols (b not zero); undefined otherwise. */
export function divideExact(a: Dim, b: Dim): Dim | undefined {
  const by = b.terms[0];
  if (!by) return undefined;
  // Long division of polynomials; terms are in graded lexicographic order, so the leading term shrinks with every step.
  const out: Term[] = [];
  let rest = a;
  while (rest.terms.length > 0) {
    const quotient = divideTerm(rest.terms[0]!, by);
    if (!quotient) return undefined;
    out.push(quotient);
    rest = subDim(rest, mulDim(fromTerms([quotient]), b));
  }
  return fromTerms(out);
}

function divideTerm(a: Term, b: Term): Term | undefined {
  if (a.coefficient % b.coefficient !== 0) return undefined;
  const atoms = [...a.atoms];
  for (const need of b.atoms) {
    const at = atoms.findIndex((x) => x.key === need.key);
    if (at < 0) return undefined;
    atoms.splice(at, 1);
  }
  return { coefficient: a.coefficient / b.coefficient, atoms };
}

/** floor(a / b) for b > 0; what divides exactly is taken out of the quotient, and nested quotients become one. */
export function floorDiv(a: Dim, b: Dim): Dim {
  const exact = divideExact(a, b);
  if (exact) return exact;
  const y = constantOf(b);
  if (y === undefined || y === 0) return floorAtom(a, b);
  if (y < 0) return floorDiv(negDim(a), negDim(b));
  const whole: Term[] = [];
  const rest: Term[] = [];
  for (const t of a.terms) {
    const q = Math.floor(t.coefficient / y);
    const r = t.coefficient - q * y;
    if (q !== 0) whole.push({ coefficient: q, atoms: t.atoms });
    if (r !== 0) rest.push({ coefficient: r, atoms: t.atoms });
  }
  return addDim(fromTerms(whole), smallQuotient(fromTerms(rest), y));
}

/** floor(a / y) where every coefficient of a lies in [0, y). */
function smallQuotient(a: Dim, y: number): Dim {
  if (constantOf(a) !== undefined) return dim(0);
  // floor((g n + r) / (g m)) = floor((n + floor(r / g)) / m), where g divides every coefficient but the constant's.
  let g = y;
  for (const t of a.terms) if (t.atoms.length > 0) g = greatestCommonDivisor(g, t.coefficient);
  const num = fromTerms(a.terms.map((t) => ({ ...t, coefficient: Math.floor(t.coefficient / g) })));
  const den = dim(y / g);
  // floor((floor(n/m) + r) / y) = floor((n + m r) / (m y)): strided layers give H, floor((H + 1)/4), floor((H + 5)/8), ...
  const inner = soleQuotient(num);
  if (inner) {
    const merged = addDim(inner.num, mulDim(inner.den, subDim(num, inner.value)));
    const by = mulDim(inner.den, den);
    if ([...merged.terms, ...by.terms].every((t) => Number.isSafeInteger(t.coefficient)))
      return floorDiv(merged, by);
  }
  return floorAtom(num, den);
}

/** The one term of a that is a plain quotient by a positive constant, where there is exactly one quotient in it. */
function soleQuotient(a: Dim): { value: Dim; num: Dim; den: Dim } | undefined {
  const quotients = a.terms.filter((t) => t.atoms.some((x) => x.kind === "floor"));
  const only = quotients.length === 1 ? quotients[0]! : undefined;
  const atom = only?.atoms.length === 1 && only.coefficient === 1 ? only.atoms[0]! : undefined;
  if (atom?.kind !== "floor" || (constantOf(atom.den) ?? 0) <= 0) return undefined;
  return { value: fromTerms([only!]), num: atom.num, den: atom.den };
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

function floorAtom(num: Dim, den: Dim): Dim {
  const wrap = (d: Dim) => (d.terms.length > 1 ? `(${d.key})` : d.key);
  const below = den.terms.length === 1 && (constantOf(den) !== undefined || den.key.indexOf("*") < 0);
  const key = `floor(${wrap(num)}/${below ? den.key : `(${den.key})`})`;
  return fromTerms([{ coefficient: 1, atoms: [{ kind: "floor", num, den, key }] }]);
}

export function ceilDiv(a: Dim, b: Dim): Dim {
  return floorDiv(subDim(addDim(a, b), dim(1)), b);
}

export function minDim(a: Dim, b: Dim): Dim {
  return choose("min", a, b);
}
export function maxDim(a: Dim, b: Dim): Dim {
  return choose("max", a, b);
}
function choose(kind: "min" | "max", a: Dim, b: Dim): Dim {
  const difference = constantOf(subDim(a, b));
  if (difference !== undefined) return (kind === "min") === difference <= 0 ? a : b;
  const [x, y] = a.key < b.key ? [a, b] : [b, a];
  return fromTerms([{ coefficient: 1, atoms: [{ kind, a: x, b: y, key: `${kind}(${x.key}, ${y.key})` }] }]);
}

/** The number a dimension stands for; throws Bug where a symbol has no value. */
export function evaluateDim(d: Dim, env: DimEnv): number {
  let sum = 0;
  for (const t of d.terms) {
    let product = t.coefficient;
    for (const a of t.atoms) product *= evaluateAtom(a, env);
    sum += product;
  }
  return sum;
}

function evaluateAtom(a: Atom, env: DimEnv): number {
  switch (a.kind) {
    case "symbol": {
      const value = Object.hasOwn(env, a.name) ? env[a.name] : undefined;
      if (value === undefined) throw new Bug(`dimension ${a.name} has no value`);
      return value;
    }
    case "floor":
      return Math.floor(evaluateDim(a.num, env) / evaluateDim(a.den, env));
    case "min":
      return Math.min(evaluateDim(a.a, env), evaluateDim(a.b, env));
    case "max":
      return Math.max(evaluateDim(a.a, env), evaluateDim(a.b, env));
    default:
      return a satisfies never;
  }
}

/** Put dimensions in place of symbols. */
export function substituteDim(d: Dim, env: Readonly<Record<string, Dim>>): Dim {
  if (!mentions(d, env)) return d;
  return d.terms
    .map((t) => t.atoms.reduce((p, a) => mulDim(p, substituteAtom(a, env)), dim(t.coefficient)))
    .reduce(addDim, dim(0));
}

function mentions(d: Dim, env: Readonly<Record<string, Dim>>): boolean {
  return d.terms.some((t) =>
    t.atoms.some((a) =>
      a.kind === "symbol"
        ? Object.hasOwn(env, a.name)
        : a.kind === "floor"
          ? mentions(a.num, env) || mentions(a.den, env)
          : mentions(a.a, env) || mentions(a.b, env),
    ),
  );
}

function substituteAtom(a: Atom, env: Readonly<Record<string, Dim>>): Dim {
  if (a.kind === "symbol") return (Object.hasOwn(env, a.name) ? env[a.name] : undefined) ?? symbol(a.name);
  if (a.kind === "floor") return floorDiv(substituteDim(a.num, env), substituteDim(a.den, env));
  return choose(a.kind, substituteDim(a.a, env), substituteDim(a.b, env));
}

/** Names of the symbols a dimension depends on, in order of first appearance. */
export function symbolsOf(d: Dim, into: Set<string> = new Set()): Set<string> {
  for (const t of d.terms)
    for (const a of t.atoms)
      if (a.kind === "symbol") into.add(a.name);
      else if (a.kind === "floor") (symbolsOf(a.num, into), symbolsOf(a.den, into));
      else (symbolsOf(a.a, into), symbolsOf(a.b, into));
  return into;
}

/** Is the dimension a multiple of n for every value of its symbols? */
export function isMultipleOf(d: Dim, n: number): boolean {
  return d.terms.every((t) => t.coefficient % n === 0);
}
