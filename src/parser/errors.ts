// Wording of syntax errors. chevrotain says which token was expected where; this file turns that into one sentence in
// the reader's words, finds the bracket that was never closed, and drops errors that only follow from an earlier one.

import {
  tokenLabel,
  type IParserErrorMessageProvider,
  type IRecognitionException,
  type IToken,
} from "chevrotain";
import { EOF, type TokenType } from "chevrotain";
import { error, type Diagnostic, type Note } from "../support/diagnostic.ts";
import type { SourceFile, Span } from "../support/source.ts";
import { contextualWords, onOneLine, type Brackets } from "./contextual.ts";
import { didYouMean } from "./literals.ts";
import * as t from "./tokens.ts";

/** Ends a parse that finds errors without end; parse.ts catches it. */
export class TooManyErrors extends Error {}

/** How many errors chevrotain may still find before the parse is ended. Many of them are dropped as consequences. */
export const errorBudget = { left: 0 };

function spend<T>(value: T): T {
  if (errorBudget.left-- <= 0) throw new TooManyErrors();
  return value;
}

const itemWords = ["import", "const", "block", "model", "default", "config", "checkpoint"];
const statementWords = [
  "return",
  "if",
  "for",
  "repeat",
  "state",
  "output",
  "weight",
  "preprocess",
  "assert",
  "with",
];
const anItem = "`import`, `const`, `block`, `model`, `config` or `checkpoint`";

/** What a rule with several ways to go on asks for. */
const wanted: Readonly<Record<string, string>> = {
  file: anItem,
  item: anItem,
  blockItem: "`block` or `model`",
  type: "a type",
  parameterType: "a type",
  results: "a tensor type",
  statement: "a statement",
  withStatement: "`with`",
  pattern: "a name",
  patterns: "a string",
  annotationValue: "a call",
  list: "`,` or `]`",
  arm: "a pattern",
};

/** A closing brace is missing, or what stands there is nothing that may stand between the braces. */
const wantedInBraces: Readonly<Record<string, string>> = {
  body: "a statement or `}`",
  checkpointItem: "a rule or `}`",
  matchExpression: "another arm or `}`",
};

/** Gives chevrotain what was expected as the message; `explain` makes the sentence. */
export const expectations: IParserErrorMessageProvider = {
  buildMismatchTokenMessage({ expected, ruleName }) {
    const inBraces = expected === t.RightBrace ? wantedInBraces[ruleName] : undefined;
    return spend(inBraces ?? (expected === EOF ? anItem : tokenLabel(expected)));
  },
  buildNotAllInputParsedMessage: () => spend(anItem),
  buildNoViableAltMessage: ({ ruleName }) => spend(wanted[ruleName] ?? "an expression"),
  buildEarlyExitMessage: ({ ruleName }) => spend(wanted[ruleName] ?? "an expression"),
};

const startsSomething = new Set<TokenType>([
  ...[t.Target, t.Return, t.If, t.For, t.Repeat, t.Assert, t.With, t.State, t.Output, t.Weight, t.Preprocess],
  ...[t.Import, t.Const, t.BlockWord, t.ModelWord, t.Default, t.Config, t.Checkpoint, t.RightBrace],
]);

/** Diagnostics for the errors of one parse, without those that only follow from one before. */
export function explainErrors(
  errors: readonly IRecognitionException[],
  tokens: readonly IToken[],
  brackets: Brackets,
  file: SourceFile,
  strays: readonly Span[],
): Diagnostic[] {
  const indexOf = new Map(tokens.map((token, i) => [token, i]));
  const placed = errors.map((exception) => ({
    exception,
    at: indexOf.get(exception.token) ?? tokens.length,
  }));
  placed.sort((a, b) => a.at - b.at);
  const diagnostics: Diagnostic[] = [];
  const named = new Set<number>(); // unclosed brackets that have been pointed out
  let last = -1;
  for (const { exception, at } of placed) {
    // A line between two items stands for itself.
    const betweenItems = exception.message === anItem && brackets.opener[at] === -1 && startsLine(tokens, at);
    if (last >= 0 && !betweenItems && !freshStartIn(tokens, last, at)) continue;
    // Recovery left a block too early: its braces pair up, and what is in it or closes it is at fault for nothing.
    const leftEarly = last >= 0 && exception.message === anItem && brackets.opener[at] !== -1;
    if (leftEarly || followsStray(tokens[at - 1], tokens[at], strays)) continue;
    diagnostics.push(explain(exception, at, tokens, brackets, file, named));
    last = at;
  }
  return diagnostics;
}

function freshStartIn(tokens: readonly IToken[], from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (isFreshStart(tokens, i, tokens[i]!)) return true;
  return false;
}

/** The character that was left out between the two has been reported, and is the reason. */
function followsStray(
  before: IToken | undefined,
  found: IToken | undefined,
  strays: readonly Span[],
): boolean {
  const [from, to] = [before?.startOffset ?? 0, found?.startOffset ?? Infinity];
  return strays.some((span) => span.start > from && span.start <= to);
}

/** Parsing was certainly on its feet again here: the first word of a line starts something. */
function isFreshStart(tokens: readonly IToken[], i: number, token: IToken): boolean {
  return startsSomething.has(token.tokenType) && startsLine(tokens, i);
}

function startsLine(tokens: readonly IToken[], i: number): boolean {
  const [before, token] = [tokens[i - 1], tokens[i]];
  return before === undefined || token === undefined || !onOneLine(before, token);
}

function explain(
  exception: IRecognitionException,
  at: number,
  tokens: readonly IToken[],
  brackets: Brackets,
  file: SourceFile,
  named: Set<number>,
): Diagnostic {
  const found = tokens[at];
  const before = tokens[at - 1];
  const after = tokens[at + 1];
  const expected = exception.message;
  const span = found ? spanOfToken(file, found) : endSpan(file, before);
  const opener = brackets.opener[at] ?? -1;
  const notes: Note[] = [];
  if (opener >= 0 && !brackets.partner.has(opener) && !named.has(opener)) {
    named.add(opener);
    const open = tokens[opener]!;
    notes.push({ message: `this \`${open.image}\` is never closed`, span: spanOfToken(file, open) });
  }

  if (found && t.reservedWords.has(found.tokenType) && expected === "a name") {
    return error("reserved-word", `\`${found.image}\` is a word of the language and cannot be a name`, {
      ...{ span, notes, help: `choose another name, such as \`${found.image}_\`` },
    });
  }
  if (found && expected.startsWith("a statement") && isWord(found) && after?.tokenType === t.LeftParen) {
    return error("syntax", "a call alone is no statement", {
      ...{ span, notes, label: "its result goes nowhere" },
      help: didYouMean(found.image, statementWords) ?? `give its result a name: \`y = ${found.image}(...)\``,
    });
  }
  const closes = expected === "`)`" || expected === "`]`";
  const purpose = closes && opener >= 0 ? ` to close ${describeBracket(tokens, opener)}` : "";
  return error("syntax", `expected ${expected}${purpose}, found ${describe(found)}`, {
    ...{ span, notes, help: helpFor(expected, closes, before, found, after) },
  });
}

function helpFor(
  expected: string,
  closes: boolean,
  before: IToken | undefined,
  found: IToken | undefined,
  after: IToken | undefined,
): string | undefined {
  if (!found) return undefined;
  const next = after?.tokenType;
  if (found.tokenType === t.Slash && (next === t.Star || next === t.Power))
    return "a comment starts with `//` and ends with its line";
  if (found.tokenType === t.Equal && before?.tokenType === t.RightParen)
    return "several names are assigned without parentheses: `a, b = f(x)`";
  if (found.tokenType === t.Equal && expected === "`{`") return "to compare two values, write `==`";
  if (found.tokenType === t.Bar && next === t.Bar) return "write `or`";
  if (found.tokenType === t.If && expected === "an expression") return "put the inner `if` in parentheses";
  if (isWord(found) && expected === anItem) return didYouMean(found.image, itemWords);
  if (isWord(found) && expected.startsWith("a statement")) return didYouMean(found.image, statementWords);
  if (isWord(found) && before && isWord(before) && onOneLine(before, found) && expected === "`=`")
    return didYouMean(before.image, statementWords);
  if (found.tokenType === t.FatArrow && expected === "`->`") return "the result's type stands behind `->`";
  if (closes && before && onOneLine(before, found) && startsOperand.has(found.tokenType))
    return "is a `,` missing before it?";
  return undefined;
}

const startsOperand = new Set<TokenType>([
  ...[t.Identifier, t.Target, t.Num, t.Str, t.True, t.False, t.None, t.Ellipsis],
]);

function isWord(token: IToken): boolean {
  return token.tokenType === t.Identifier || token.tokenType === t.Target || contextualWords.has(token.image);
}

function describe(token: IToken | undefined): string {
  if (!token) return "the end of the file";
  if (token.tokenType === t.Str) return "a string";
  const text = token.image.length > 24 ? `${token.image.slice(0, 24)}...` : token.image;
  return `\`${text}\``;
}

/** `the arguments of f`, `the inputs`, `the list`: what a bracket holds, by what stands before it. */
function describeBracket(tokens: readonly IToken[], opener: number): string {
  const open = tokens[opener]!;
  const before = tokens[opener - 1];
  const beforeName = tokens[opener - 2]?.tokenType;
  const behindName = before !== undefined && isWord(before);
  if (open.tokenType === t.LeftParen) {
    if (before?.tokenType === t.ThinArrow) return "the results";
    if (before?.tokenType === t.RightParen) return "the inputs";
    if (!behindName) return "the parentheses";
    const declares = beforeName === t.BlockWord || beforeName === t.ModelWord;
    if (declares) return `the parameters of \`${before.image}\``;
    return beforeName === t.Preprocess ? "the preprocessing" : `the arguments of \`${before.image}\``;
  }
  if (!behindName) return "the list";
  if (beforeName === t.Colon || beforeName === t.ThinArrow) return "the shape";
  return `the index of \`${before.image}\``;
}

function spanOfToken(file: SourceFile, token: IToken): Span {
  return { file, start: token.startOffset, end: token.startOffset + token.image.length };
}

function endSpan(file: SourceFile, last: IToken | undefined): Span {
  const end = last ? last.startOffset + last.image.length : 0;
  return { file, start: end, end };
}
