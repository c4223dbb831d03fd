// Text to AST: the whole of the parser behind one function that never throws. Limits come first, so that nothing
// behind them meets a text that is too large or too deep.

import type { CstNode, IRecognitionException, IToken } from "chevrotain";
import { error, type Diagnostic } from "../support/diagnostic.ts";
import { sourceFile, type SourceFile, type Span } from "../support/source.ts";
import type { Comment, File } from "./ast.ts";
import { buildFile } from "./build.ts";
import { markKeywords, onOneLine, pairBrackets } from "./contextual.ts";
import { buildContext, MAX_DEPTH } from "./cst.ts";
import { errorBudget, expectations, explainErrors, TooManyErrors } from "./errors.ts";
import { ModelParser } from "./grammar.ts";
import { numberProblem, strayHelp, stringProblems, type LiteralProblem } from "./literals.ts";
import * as t from "./tokens.ts";

export const limits = {
  /** Characters of a file. */
  length: 4 * 1024 * 1024,
  /** Words and signs; the trees take about 2 KiB for each. */
  tokens: 500_000,
  depth: MAX_DEPTH,
  diagnostics: 50,
} as const;

/** Recovery looks far ahead at each error; in a file with more tokens than this, the first syntax error is the last. */
const RECOVERED_TOKENS = 20_000;
const ERROR_BUDGET = 400;

export interface ParseResult {
  readonly file: SourceFile;
  readonly ast: File;
  /** In the order of the text; at most `limits.diagnostics`. */
  readonly diagnostics: Diagnostic[];
}

let built: ModelParser | undefined;

/** One instance for all, built when first needed: that analyses the grammar, which takes a tenth of a second. */
const theParser = (): ModelParser => (built ??= new ModelParser(expectations));

/** Parses a file. The AST is there even when there are errors; it then lacks what could not be read. */
export function parse(text: string, name = "<input>"): ParseResult {
  const file = sourceFile(name, text);
  const whole: Span = { file, start: 0, end: text.length };
  const nothing: File = { kind: "file", span: whole, items: [], comments: [] };
  const refuse = (diagnostic: Diagnostic): ParseResult => ({ file, ast: nothing, diagnostics: [diagnostic] });
  const start: Span = { file, start: 0, end: 0 };
  if (text.length > limits.length) {
    const megabytes = limits.length / 1024 / 1024;
    return refuse(error("file-too-large", `a file has at most ${megabytes} MiB of text`, { span: start }));
  }
  if (roughTokenCount(text) > limits.tokens) {
    return refuse(
      error("file-too-large", `a file has at most ${limits.tokens} words and signs`, { span: start }),
    );
  }

  const lexed = t.tokenize(text);
  const diagnostics: Diagnostic[] = [];
  const tokens = lexed.tokens.filter((token, i) => checkToken(file, token, lexed.tokens[i - 1], diagnostics));
  const comments = (lexed.groups["comments"] ?? []).map((token) => comment(file, token));
  const brackets = pairBrackets(tokens, limits.depth);
  if (brackets.tooDeep) {
    const span = { file, start: brackets.tooDeep.startOffset, end: brackets.tooDeep.startOffset + 1 };
    const message = `brackets, blocks and operators nest at most ${limits.depth} deep`;
    return refuse(error("nesting-too-deep", message, { span }));
  }
  markKeywords(tokens, brackets);

  // `.5` is no token that a rule could take, so an error at it says nothing new either.
  const isStray = ({ code, span }: Diagnostic) => code === "bad-character" || file.text[span!.start] === ".";
  const strays = diagnostics.filter(isStray).map((diagnostic) => diagnostic.span!);
  let ast: File = { ...nothing, comments };
  try {
    const { tree, errors } = run(tokens);
    diagnostics.push(...explainErrors(errors, tokens, brackets, file, strays));
    if (tree) ast = buildFile(buildContext(file, diagnostics), tree, comments);
  } catch (thrown) {
    // The limit on depth keeps within the usual stack; a caller may have left us less of it.
    if (!(thrown instanceof RangeError)) throw thrown;
    diagnostics.push(
      error("nesting-too-deep", "this file nests too deep for the stack at hand", { span: start }),
    );
  }
  diagnostics.sort((a, b) => a.span!.start - b.span!.start);
  return { file, ast, diagnostics: diagnostics.slice(0, limits.diagnostics) };
}

function run(tokens: IToken[]): { tree: CstNode | undefined; errors: readonly IRecognitionException[] } {
  errorBudget.left = tokens.length > RECOVERED_TOKENS ? 1 : ERROR_BUDGET;
  const parser = theParser();
  parser.input = tokens;
  try {
    const tree = parser.file();
    return { tree, errors: parser.errors };
  } catch (thrown) {
    if (!(thrown instanceof TooManyErrors)) throw thrown;
    return { tree: undefined, errors: parser.errors };
  } finally {
    parser.input = [];
  }
}

/** Reports what is wrong with a token itself; false when it has to be left out. */
function checkToken(
  file: SourceFile,
  token: IToken,
  before: IToken | undefined,
  diagnostics: Diagnostic[],
): boolean {
  const type = token.tokenType;
  if (type === t.Stray) {
    if (token.startOffset === 0 && token.image === "\ufeff") return false;
    diagnostics.push(strayCharacter(file, token));
    return false;
  }
  let problems: readonly LiteralProblem[] = [];
  if (type === t.Str) problems = stringProblems(token.image);
  if (type === t.Num) {
    const problem = numberProblem(token.image);
    if (problem) problems = [problem];
  }
  for (const { code, message, help, start, end } of problems) {
    if (diagnostics.length >= limits.diagnostics) break;
    const span = { file, start: token.startOffset + start, end: token.startOffset + end };
    const touching =
      before !== undefined && onOneLine(before, token) && before.endOffset! + 1 === token.startOffset;
    const isLabelIndex = touching && /^\.\d+$/.test(token.image);
    const better = isLabelIndex ? `an index is written in brackets: \`[${token.image.slice(1)}]\`` : help;
    diagnostics.push(error(code, message, { span, help: better }));
  }
  return true;
}

function strayCharacter(file: SourceFile, token: IToken): Diagnostic {
  const first = String.fromCodePoint(token.image.codePointAt(0)!);
  const shown = /^[\p{L}\p{N}\p{P}\p{S}]$/u.test(first) ? `\`${first}\`` : codePoint(first);
  return error("bad-character", `${shown} is no part of the language`, {
    span: { file, start: token.startOffset, end: token.startOffset + token.image.length },
    help: strayHelp(token.image),
  });
}

function codePoint(character: string): string {
  return `the character U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}`;
}

function comment(file: SourceFile, token: IToken): Comment {
  let i = token.startOffset - 1;
  while (i >= 0 && (file.text[i] === " " || file.text[i] === "\t" || file.text[i] === "\ufeff")) i--;
  const ownLine = i < 0 || file.text[i] === "\n" || file.text[i] === "\r";
  const text = token.image.trimEnd();
  return { text, span: { file, start: token.startOffset, end: token.startOffset + text.length }, ownLine };
}

/** Words and signs, counted without making tokens of them; a sign of two characters counts as two. */
function roughTokenCount(text: string): number {
  let count = 0;
  let inWord = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if (c === '"') {
      while (i + 1 < text.length && text[i + 1] !== "\n" && text[i + 1] !== '"')
        i += text[i + 1] === "\\" ? 2 : 1;
      i++;
    } else if (c === "/" && text[i + 1] === "/") {
      while (i + 1 < text.length && text[i + 1] !== "\n") i++;
    }
    const isWord = (c >= "a" && c <= "z") || (c >= "A" && c <= "Z") || (c >= "0" && c <= "9") || c === "_";
    const isSpace = c === " " || c === "\t" || c === "\n" || c === "\r";
    if (!isSpace && !(isWord && inWord)) count++;
    inWord = isWord;
  }
  return count;
}
