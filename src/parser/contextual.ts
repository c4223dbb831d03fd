// Reads the token list once before parsing: pairs brackets, measures their depth, and turns contextual words
// (`model`, `state`, `weight`, ...) into keywords where they stand as such.
//
// The rule is exact because two names never stand side by side in an expression: `state` behind something that can end
// a statement and before another name is the keyword, and everywhere else it is a name (`state = 3`, `f(weight = w)`).
// `model m (` and the like on one line are keywords behind anything, so that an error in what comes before stays there.

import type { IToken, TokenType } from "chevrotain";
import * as t from "./tokens.ts";

export interface Brackets {
  /** For each token, the index of the bracket it stands in, its own for a closing one; -1 outside all. One more entry, for the end of the file. */
  readonly opener: readonly number[];
  /** For each opening bracket, the index of its partner; absent when it is never closed. */
  readonly partner: ReadonlyMap<number, number>;
  /** The first bracket that is deeper than allowed. */
  readonly tooDeep?: IToken;
}

const closerOf = new Map<TokenType, TokenType>([
  [t.LeftParen, t.RightParen],
  [t.LeftSquare, t.RightSquare],
  [t.LeftBrace, t.RightBrace],
]);
const closers = new Set(closerOf.values());

export function pairBrackets(tokens: readonly IToken[], maxDepth: number): Brackets {
  const opener: number[] = [];
  const partner = new Map<number, number>();
  const stack: number[] = [];
  let tooDeep: IToken | undefined;
  tokens.forEach((token, i) => {
    opener.push(stack.at(-1) ?? -1);
    if (closers.has(token.tokenType)) {
      // A closing bracket that fits one further out closes that; those between are unclosed.
      const at = stack.findLastIndex((open) => closerOf.get(tokens[open]!.tokenType) === token.tokenType);
      const crossesBrace =
        token.tokenType !== t.RightBrace &&
        stack.slice(at + 1).some((open) => tokens[open]!.tokenType === t.LeftBrace);
      if (at >= 0 && !crossesBrace) {
        partner.set(stack[at]!, i);
        stack.length = at;
      }
    }
    if (closerOf.has(token.tokenType) && tooDeep === undefined) {
      stack.push(i);
      if (stack.length > maxDepth) tooDeep = token;
    }
  });
  opener.push(stack.at(-1) ?? -1);
  return { opener, partner, ...(tooDeep && { tooDeep }) };
}

/** What may come right before a statement or an item, next to the start of the file. */
const enders = new Set<TokenType>([
  ...[t.Identifier, t.Target, t.Shared, t.Num, t.Str, t.True, t.False, t.None, t.Ellipsis],
  ...[t.RightParen, t.RightSquare, t.RightBrace, t.LeftBrace],
]);

/** Words that declare something, and what follows the declared name: with it the keyword is certain in any place. */
const declaring = new Map<string, { type: TokenType; then: readonly string[] }>([
  ["block", { type: t.BlockWord, then: ["("] }],
  ["model", { type: t.ModelWord, then: ["("] }],
  ["default", { type: t.Default, then: [] }],
  ["config", { type: t.Config, then: ["of"] }],
  ["checkpoint", { type: t.Checkpoint, then: ["of"] }],
  ["state", { type: t.State, then: [":"] }],
  ["output", { type: t.Output, then: ["["] }],
  ["weight", { type: t.Weight, then: [":"] }],
  ["preprocess", { type: t.Preprocess, then: ["("] }],
]);

/** Behind these only a name can stand: `@a.checkpoint shared` and then `of, b = f(x)`. */
const namesAPart = new Set<TokenType | undefined>([t.Dot, t.At, t.With, t.Of, t.Extends, t.From]);

/** Every word that is a keyword in places. */
export const contextualWords: ReadonlySet<string> = new Set([
  ...declaring.keys(),
  "from",
  "of",
  "extends",
  "shared",
  "axis",
]);

/** Gives each token its final type, in place. */
export function markKeywords(tokens: readonly IToken[], brackets: Brackets): void {
  const frame: number[] = []; // closed brackets around the token
  tokens.forEach((token, i) => {
    if (frame.length > 0 && brackets.partner.get(frame.at(-1)!) === i) frame.pop();
    if (token.tokenType === t.Identifier) {
      const inBraces = frame.length === 0 || tokens[frame.at(-1)!]!.tokenType === t.LeftBrace;
      retype(token, keywordAt(tokens, i, inBraces));
    }
    if (brackets.partner.has(i)) frame.push(i);
  });
}

function keywordAt(tokens: readonly IToken[], i: number, inBraces: boolean): TokenType | undefined {
  const [previous, next] = [tokens[i - 1], tokens[i + 1]];
  const token = tokens[i]!;
  const before = previous?.tokenType;
  const after = next?.tokenType;
  const behindName = before === t.Identifier || before === t.Target;
  const startsItem = before === undefined || enders.has(before);
  switch (token.image) {
    case "of":
    case "extends":
      if (behindName && after === t.Identifier) return token.image === "of" ? t.Of : t.Extends;
      break;
    case "from":
      if (before === t.RightBrace && after === t.Str) return t.From;
      // Behind a call, a label, or the list or count of a loop.
      if (startsItem && before && onOneLine(previous!, token) && after === t.Identifier) return t.From;
      break;
    case "axis":
      if ((before === t.Str || before === t.RightSquare) && (after === t.Num || after === t.Minus))
        return t.Axis;
      break;
    case "shared":
      if ((behindName || before === t.RightSquare) && onOneLine(previous!, token) && after !== t.Equal)
        return t.Shared;
      break;
    default: {
      const keyword = declaring.get(token.image);
      const hasTail = keyword?.then.includes(tokens[i + 2]?.image ?? "") === true;
      const declares = hasTail && onOneLine(token, next!) && !namesAPart.has(before);
      const certain = startsItem || before === t.Default || declares;
      if (keyword && after === t.Identifier && certain) return keyword.type;
    }
  }
  if (startsItem && inBraces && (after === t.Equal || after === t.Comma)) return t.Target;
  return undefined;
}

function retype(token: IToken, type: TokenType | undefined): void {
  if (type === undefined) return;
  token.tokenType = type;
  token.tokenTypeIdx = type.tokenTypeIdx!;
}

export function onOneLine(a: IToken, b: IToken): boolean {
  return a.endLine === b.startLine;
}
