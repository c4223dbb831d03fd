// Random `.model` texts for the tests of parser and formatter: valid ones by the grammar, with needless parentheses,
// odd spacing and comments, and broken ones by mutation. Everything follows from the seed.

export type Random = () => number;

/** mulberry32 */
export function random(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  };
}

export const pick = <T>(next: Random, all: readonly T[]): T => all[Math.floor(next() * all.length)]!;

const names =
  "x y dim conv2d gelu B H a_long_name_for_a_tensor model state weight output shared default config of from axis block preprocess checkpoint extends".split(
    " ",
  );
const operators = ["+", "-", "*", "/", "%", "**", "==", "<", "<=", "and", "or", "|>"];

/** A valid file as a list of tokens; `spell` puts space and comments between. */
export function randomFile(next: Random): string[] {
  return Array.from({ length: 1 + Math.floor(next() * 3) }, () => item(next)).flat();
}

/** Joins tokens with random space; with comments where `comments` is set. */
export function spell(next: Random, tokens: readonly string[], comments: boolean): string {
  let depth = 0;
  const parts: string[] = [];
  tokens.forEach((token, i) => {
    const glued = token === "shared" || token === "with";
    const newStatement = /^\u0001/.test(token);
    const text = token.replace(/^[\u0001\u0002]/, "");
    if (i > 0) {
      const roll = next();
      if (newStatement) {
        if (comments && roll < 0.15) parts.push(` // trailing ${i}`);
        parts.push(roll < 0.3 ? "\n\n\n" : "\n");
        if (comments && roll > 0.85) parts.push(`// own ${i}\n`);
      } else if (glued || token.startsWith("\u0002")) parts.push(" ");
      else if (comments && roll < 0.02) parts.push(` // odd ${i}\n`);
      else if (comments && roll < 0.04) parts.push(`\n // line ${i}\n`);
      else parts.push(roll < 0.1 ? "\n" : roll < 0.13 ? "\t" : " ");
    }
    if ("([{".includes(text)) depth++;
    parts.push(text);
  });
  if (comments && next() < 0.3) parts.push(" // last");
  return depth >= 0 ? parts.join("") : "";
}

/** Marks the first token as the start of a statement, which needs a line of its own. */
const start = (tokens: string[]): string[] => [`\u0001${tokens[0]}`, ...tokens.slice(1)];
/** Marks a token that must stay on the line of the one before. */
const stay = (token: string): string => `\u0002${token}`;

const maybe = (next: Random, chance: number, make: () => string[]): string[] =>
  next() < chance ? make() : [];

function commaList(next: Random, count: number, make: () => string[], trailing = true): string[] {
  const result = Array.from({ length: count }, (_, i) => (i > 0 ? [",", ...make()] : make())).flat();
  return count > 0 && trailing && next() < 0.2 ? [...result, ","] : result;
}

const few = (next: Random, most = 4): number => Math.floor(next() * (most + 1));
const some = (next: Random, most = 4): number => 1 + Math.floor(next() * most);
const name = (next: Random): string => pick(next, names);

function item(next: Random): string[] {
  const roll = next();
  if (roll < 0.1) {
    const one = () => [name(next), ...maybe(next, 0.3, () => ["as", name(next)])];
    return start(["import", "{", ...commaList(next, some(next, 6), one), "}", "from", '"std/x"']);
  }
  if (roll < 0.2) {
    return start([
      "const",
      name(next),
      ...maybe(next, 0.3, () => [":", ...paramType(next, 2)]),
      "=",
      ...expr(next, 3),
    ]);
  }
  if (roll < 0.35) {
    const base = maybe(next, 0.5, () => ["extends", name(next)]);
    return start(["config", "c", "of", "m", ...base, ...maybe(next, 0.7, () => args(next, 2))]);
  }
  if (roll < 0.45) {
    const rules = Array.from({ length: few(next) }, () => rule(next)).flat();
    return start(["checkpoint", name(next), "of", "m", "{", ...rules, "}"]);
  }
  const head = [...maybe(next, 0.2, () => ["default"]), pick(next, ["block", "model"]), name(next)];
  const param = () => [
    name(next),
    ":",
    ...paramType(next, 2),
    ...maybe(next, 0.5, () => ["=", ...expr(next, 1)]),
  ];
  const input = () => [name(next), ...maybe(next, 0.2, () => ["?"]), ":", ...tensor(next)];
  const result = () => [...maybe(next, 0.5, () => [name(next), ":"]), ...tensor(next)];
  return start([
    ...head,
    ...maybe(next, 0.6, () => ["(", ...commaList(next, few(next), param), ")"]),
    ...["(", ...commaList(next, few(next), input), ")", "->"],
    ...(next() < 0.5 ? tensor(next) : ["(", ...commaList(next, some(next), result), ")"]),
    ...body(next, 2),
  ]);
}

function rule(next: Random): string[] {
  const patterns = () =>
    next() < 0.5 ? ['"a.{i}"'] : ["[", ...commaList(next, some(next), () => ['"b.c"']), "]"];
  const axis = maybe(next, 0.3, () => ["axis", ...maybe(next, 0.3, () => ["-"]), "1"]);
  return start([
    pick(next, ["rename", "strip", "concat"]),
    ...patterns(),
    ...maybe(next, 0.5, () => ["=", ...patterns()]),
    ...axis,
  ]);
}

function paramType(next: Random, depth: number): string[] {
  const question = maybe(next, 0.2, () => ["?"]);
  const roll = depth === 0 ? 0 : next();
  if (roll < 0.5) return [name(next), ...question];
  if (roll < 0.7) return [name(next), "|", name(next), ...question];
  if (roll < 0.85) return ["[", ...paramType(next, depth - 1), "]", ...question];
  return ["(", ...commaList(next, some(next, 3), () => paramType(next, depth - 1), false), ")", ...question];
}

function tensor(next: Random): string[] {
  const dim = () => [
    ...maybe(next, 0.3, () => [name(next), "="]),
    ...(next() < 0.7
      ? [name(next)]
      : ["(", ...expr(next, 1), ")", ...maybe(next, 0.3, () => ["<=", name(next)])]),
  ];
  const dims = Array.from({ length: few(next, 5) }, dim);
  if (next() < 0.2) dims[few(next, dims.length)] = ["..."];
  let i = 0;
  return ["f32", "[", ...commaList(next, dims.length, () => dims[i++]!), "]"];
}

function body(next: Random, depth: number): string[] {
  return ["{", ...Array.from({ length: few(next, 3) }, () => start(statement(next, depth - 1))).flat(), "}"];
}

function statement(next: Random, depth: number): string[] {
  const compound = depth > 0 && next() < 0.4;
  const value = () => expr(next, 2);
  if (compound) {
    const tail = () => [...maybe(next, 0.5, () => label(next)), ...maybe(next, 0.3, () => annotation(next))];
    switch (Math.floor(next() * 4)) {
      case 0: {
        const elses = maybe(next, 0.3, () => ["else", "if", ...value(), ...body(next, depth)]);
        return [
          "if",
          ...value(),
          ...body(next, depth),
          ...elses,
          ...maybe(next, 0.4, () => ["else", ...body(next, depth)]),
        ];
      }
      case 1: {
        const pattern = next() < 0.5 ? [name(next)] : ["(", name(next), ",", name(next), ")"];
        return ["for", ...pattern, "in", ...value(), ...tail(), ...body(next, depth)];
      }
      case 2:
        return [
          "repeat",
          ...value(),
          ...maybe(next, 0.3, () => ["as", name(next)]),
          ...tail(),
          ...body(next, depth),
        ];
      default:
        return [...annotation(next), ...body(next, depth)];
    }
  }
  switch (Math.floor(next() * 8)) {
    case 0:
      return [
        "return",
        ...commaList(
          next,
          some(next, 3),
          () => [...maybe(next, 0.3, () => [name(next), "="]), ...value()],
          false,
        ),
      ];
    case 1:
      return ["state", name(next), ":", ...tensor(next), "=", ...value()];
    case 2:
      return ["output", name(next), ...maybe(next, 0.4, () => ["[", ...expr(next, 1), "]"]), "=", ...value()];
    case 3:
      return ["weight", name(next), ":", ...tensor(next), ...maybe(next, 0.5, () => label(next))];
    case 4:
      return ["preprocess", name(next), ...args(next, 2)];
    case 5:
      return ["assert", ...value(), ...maybe(next, 0.5, () => [",", ...value()])];
    default:
      return [...commaList(next, some(next, 2), () => [name(next)], false), "=", ...value()];
  }
}

function label(next: Random): string[] {
  const part = () => [name(next), ...maybe(next, 0.3, () => ["[", ...expr(next, 1), "]"])];
  const from = () => [stay("from"), name(next)];
  if (next() < 0.1) return from();
  return [
    "@",
    ...part(),
    ...maybe(next, 0.5, () => [".", ...part()]),
    ...maybe(next, 0.15, () => ["shared"]),
    ...maybe(next, 0.1, from),
  ];
}

function annotation(next: Random): string[] {
  return ["with", "reduce", ...maybe(next, 0.7, () => [stay("tome"), ...args(next, 1)])];
}

function args(next: Random, depth: number): string[] {
  const one = () => [...maybe(next, 0.5, () => [name(next), "="]), ...expr(next, depth)];
  return ["(", ...commaList(next, few(next, 3), one), ")"];
}

function call(next: Random, depth: number): string[] {
  return [
    name(next),
    ...args(next, depth - 1),
    ...maybe(next, 0.3, () => label(next)),
    ...maybe(next, 0.1, () => annotation(next)),
  ];
}

/** An expression that can stand anywhere: whatever is loose is put in parentheses. */
function atom(next: Random, depth: number): string[] {
  const roll = next();
  if (depth <= 0 || roll < 0.35) {
    return [
      pick(next, [name(next), name(next), "1", "2.5", "1e-5", "1_000", '"s\\n\\"\\u{7f}"', "true", "none"]),
    ];
  }
  const inner = () => expr(next, depth - 1);
  if (roll < 0.5) return call(next, depth);
  if (roll < 0.6)
    return ["[", ...commaList(next, few(next, 6), () => (next() < 0.1 ? ["..."] : inner())), "]"];
  if (roll < 0.65) {
    return [
      "[",
      ...inner(),
      "for",
      name(next),
      "in",
      ...inner(),
      ...maybe(next, 0.4, () => ["if", ...inner()]),
      "]",
    ];
  }
  if (roll < 0.75) return ["(", ...commaList(next, some(next, 3), inner), ")"];
  if (roll < 0.85) return [name(next), ...(next() < 0.5 ? ["[", ...inner(), "]"] : [".", name(next)])];
  if (roll < 0.9) {
    const arm = () => start([pick(next, ["timm", "_", "1", '"s"', "true"]), "=>", ...inner()]);
    return ["match", ...inner(), "{", ...Array.from({ length: few(next, 3) }, arm).flat(), "}"];
  }
  return ["(", ...inner(), ")"];
}

export function expr(next: Random, depth: number): string[] {
  const roll = next();
  if (depth > 0 && roll < 0.05) {
    return [
      "if",
      ...atom(next, depth - 1),
      "then",
      ...atom(next, depth - 1),
      "else",
      ...expr(next, depth - 1),
    ];
  }
  const operand = () => [...maybe(next, 0.1, () => ["-"]), ...atom(next, depth)];
  if (roll < 0.5) return operand();
  const result = roll < 0.55 ? ["not", ...operand()] : operand();
  let compared = false;
  for (let i = some(next, 4); i > 0; i--) {
    const op = pick(next, operators);
    if (op === "|>") {
      result.push(op, ...call(next, depth));
      if (i > 1) i = 1;
      for (let more = few(next, 3); more > 0; more--) result.push(op, ...call(next, depth));
      return result;
    }
    const compares = ["==", "<", "<="].includes(op);
    if (compares && compared) continue;
    compared ||= compares;
    if (op === "and" || op === "or") compared = false;
    result.push(op, ...operand());
  }
  return result;
}

const soupWords = [
  ...'( ) [ ] { } , : . = == -> => |> | @ ? + - * / % ** < >= " \\ ; # ! // \n'.split(" "),
  ..."import from as const block model default config of extends checkpoint return if then else for in repeat".split(
    " ",
  ),
  ..."state output weight preprocess assert with match shared true false none and or not x f f32 1 2.5 .5 1__0".split(
    " ",
  ),
  ...[
    '"text"',
    '"open',
    "\u00e9",
    "\ud83d",
    "\u0000",
    "f(",
    "f32[B]",
    "x =",
    "block A (x: f32[B]) -> f32[B] {",
    "\r",
  ],
];

export function tokenSoup(next: Random): string {
  return Array.from({ length: few(next, 120) }, () => pick(next, soupWords)).join(next() < 0.8 ? " " : "");
}

/** A few characters or lines taken out, doubled, exchanged or put in. */
export function mutate(next: Random, text: string): string {
  let result = text;
  for (let i = some(next, 4); i > 0; i--) {
    const from = Math.floor(next() * (result.length + 1));
    const to = Math.min(result.length, from + Math.floor(next() * 8));
    const inserted = [() => "", () => pick(next, soupWords), () => result.slice(from, to).repeat(2)];
    result = result.slice(0, from) + pick(next, inserted)() + result.slice(to);
  }
  return result;
}
