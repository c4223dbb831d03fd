// The words and signs of the language, and the lexer. Knows characters only.
// Every text lexes: what is no token is reported by the lexer as an error range (bad characters) or kept as a token
// that literals.ts rejects (a string without an end, `1_`), so that parsing goes on behind it. Keywords here are the
// reserved ones; words such as `model` are plain names until contextual.ts has looked at their neighbours.

import { createToken, Lexer, type ILexingResult, type ITokenConfig, type TokenType } from "chevrotain";

const all: TokenType[] = [];

function token(config: ITokenConfig): TokenType {
  const type = createToken(config);
  all.push(type);
  return type;
}

const sign = (name: string, text: string, categories: TokenType[] = []): TokenType =>
  token({ name, pattern: text, label: `\`${text}\``, categories });

// Categories: what a grammar rule asks for where several token types will do.
export const Name = token({ name: "Name", pattern: Lexer.NA, label: "a name" });
export const BinaryOperator = token({ name: "BinaryOperator", pattern: Lexer.NA, label: "an operator" });
export const PrefixOperator = token({ name: "PrefixOperator", pattern: Lexer.NA, label: "an operator" });

token({ name: "Whitespace", pattern: /[ \t\r\n]+/, group: Lexer.SKIPPED });
token({ name: "Comment", pattern: /\/\/[^\n\r]*/, group: "comments" });

// Strings, numbers and stray characters are scanned by hand: a regular expression with an alternative inside a loop
// uses stack for each turn, and a literal may be as long as the file.
export const Str = token({
  name: "Str",
  label: "a string",
  pattern: scanString,
  start_chars_hint: ['"'],
  line_breaks: false,
});
export const Num = token({
  name: "Num",
  label: "a number",
  pattern: scanNumber,
  start_chars_hint: [..."0123456789."],
  line_breaks: false,
});

// Words. A keyword gives way to a longer name that starts with it.
const identifier = createToken({
  name: "Identifier",
  pattern: /[A-Za-z_]\w*/,
  label: "a name",
  categories: [Name],
});
const word = (name: string, text: string, categories: TokenType[] = []): TokenType =>
  token({ name, pattern: text, label: `\`${text}\``, longer_alt: identifier, categories });

export const Import = word("Import", "import");
export const Assert = word("Assert", "assert"); // before `as`, which it starts with
export const As = word("As", "as");
export const Const = word("Const", "const");
export const Return = word("Return", "return");
export const If = word("If", "if");
export const Then = word("Then", "then");
export const Else = word("Else", "else");
export const For = word("For", "for");
export const In = word("In", "in");
export const Repeat = word("Repeat", "repeat");
export const With = word("With", "with");
export const Match = word("Match", "match");
export const True = word("True", "true");
export const False = word("False", "false");
export const None = word("None", "none");
export const Not = word("Not", "not", [PrefixOperator]);
export const And = word("And", "and", [BinaryOperator]);
export const Or = word("Or", "or", [BinaryOperator]);
all.push(identifier);
export const Identifier = identifier;

/** The words that can never be a name. */
export const reservedWords: ReadonlySet<TokenType> = new Set([
  ...[Import, As, Const, Return, If, Then, Else, For, In, Repeat],
  ...[Assert, With, Match, True, False, None, Not, And, Or],
]);

// Never made by the lexer: contextual.ts turns an Identifier into one of these where it stands as a keyword.
const contextual = (name: string, text: string): TokenType =>
  token({ name, pattern: Lexer.NA, label: `\`${text}\`` });

export const From = contextual("From", "from");
export const BlockWord = contextual("BlockWord", "block");
export const ModelWord = contextual("ModelWord", "model");
export const Default = contextual("Default", "default");
export const Config = contextual("Config", "config");
export const Of = contextual("Of", "of");
export const Extends = contextual("Extends", "extends");
export const Checkpoint = contextual("Checkpoint", "checkpoint");
export const State = contextual("State", "state");
export const Output = contextual("Output", "output");
export const Weight = contextual("Weight", "weight");
export const Preprocess = contextual("Preprocess", "preprocess");
export const Shared = contextual("Shared", "shared");
export const Axis = contextual("Axis", "axis");
/** A name at the start of an assignment. Its own type, so that recovery resumes there and not at just any name. */
export const Target = token({ name: "Target", pattern: Lexer.NA, label: "a name", categories: [Name] });

// Signs, longer ones first.
export const Pipe = sign("Pipe", "|>", [BinaryOperator]);
export const ThinArrow = sign("ThinArrow", "->");
export const FatArrow = sign("FatArrow", "=>");
export const Power = sign("Power", "**", [BinaryOperator]);
export const EqualEqual = sign("EqualEqual", "==", [BinaryOperator]);
export const NotEqual = sign("NotEqual", "!=", [BinaryOperator]);
export const LessEqual = sign("LessEqual", "<=", [BinaryOperator]);
export const GreaterEqual = sign("GreaterEqual", ">=", [BinaryOperator]);
export const Less = sign("Less", "<", [BinaryOperator]);
export const Greater = sign("Greater", ">", [BinaryOperator]);
export const Plus = sign("Plus", "+", [BinaryOperator]);
export const Minus = sign("Minus", "-", [BinaryOperator, PrefixOperator]);
export const Star = sign("Star", "*", [BinaryOperator]);
export const Slash = sign("Slash", "/", [BinaryOperator]);
export const Percent = sign("Percent", "%", [BinaryOperator]);
export const Bar = sign("Bar", "|");
export const Equal = sign("Equal", "=");
export const Comma = sign("Comma", ",");
export const Colon = sign("Colon", ":");
export const Ellipsis = sign("Ellipsis", "...");
export const Dot = sign("Dot", ".");
export const Question = sign("Question", "?");
export const At = sign("At", "@");
export const LeftParen = sign("LeftParen", "(");
export const RightParen = sign("RightParen", ")");
export const LeftSquare = sign("LeftSquare", "[");
export const RightSquare = sign("RightSquare", "]");
export const LeftBrace = sign("LeftBrace", "{");
export const RightBrace = sign("RightBrace", "}");

/** Runs of characters that are no part of the language; dropped after they have been reported. */
export const Stray = token({
  name: "Stray",
  label: "a character",
  pattern: scanStray,
  start_chars_hint: strayStarts(),
  line_breaks: false,
});

export const tokenTypes: readonly TokenType[] = all;

let built: Lexer | undefined;

/** The lexer is built when first needed: that analyses every pattern. */
export function tokenize(text: string): ILexingResult {
  built ??= new Lexer(all, { ensureOptimizations: true, positionTracking: "full" });
  return built.tokenize(text);
}

/** From `"` to its partner, or to the end of the line when there is none. */
function scanString(text: string, start: number): [string] | null {
  if (text[start] !== '"') return null;
  let i = start + 1;
  for (; i < text.length; i++) {
    const c = text[i];
    if (c === '"') return [text.slice(start, i + 1)];
    if (c === "\n" || c === "\r") break;
    if (c === "\\" && i + 1 < text.length && text[i + 1] !== "\n" && text[i + 1] !== "\r") i++;
  }
  return [text.slice(start, i)];
}

/** Everything that a reader takes for one number, right or wrong: `1e-6`, `1_000`, `0x1F`, `.5`, `3px`. */
function scanNumber(text: string, start: number): [string] | null {
  const isDigit = (at: number) => text[at] !== undefined && text[at]! >= "0" && text[at]! <= "9";
  if (!isDigit(start) && !(text[start] === "." && isDigit(start + 1))) return null;
  let dotSeen = text[start] === ".";
  let i = start + 1;
  while (i < text.length) {
    const c = text[i]!;
    const signed = (c === "e" || c === "E") && (text[i + 1] === "+" || text[i + 1] === "-") && isDigit(i + 2);
    if (signed) i += 2;
    else if (isWordCharacter(c)) i++;
    else if (c === "." && !dotSeen && !isNameStart(text[i + 1])) {
      dotSeen = true;
      i++;
    } else break;
  }
  return [text.slice(start, i)];
}

function isWordCharacter(c: string): boolean {
  return (c >= "0" && c <= "9") || isNameStart(c);
}

function isNameStart(c: string | undefined): boolean {
  return c !== undefined && ((c >= "a" && c <= "z") || (c >= "A" && c <= "Z") || c === "_");
}

function isStray(code: number): boolean {
  if (code >= 127) return true;
  if (code <= 32) return code !== 9 && code !== 10 && code !== 13 && code !== 32;
  return "#$&';\\^`~!".includes(String.fromCharCode(code));
}

function scanStray(text: string, start: number): [string] | null {
  let i = start;
  if (text[start] === "'") {
    // Most likely a string: taken whole, so that it is one error.
    while (++i < text.length && text[i] !== "'" && text[i] !== "\n" && text[i] !== "\r");
    return [text.slice(start, text[i] === "'" ? i + 1 : start + 1)];
  }
  while (i < text.length && isStray(text.charCodeAt(i)) && !(text[i] === "!" && text[i + 1] === "=")) i++;
  return i === start ? null : [text.slice(start, i)];
}

/** For chevrotain's first-character table: every stray code below 256, and one code of each block of 256 above. */
function strayStarts(): number[] {
  const codes: number[] = [];
  for (let code = 0; code < 256; code++) if (isStray(code)) codes.push(code);
  for (let code = 256; code < 65536; code += 256) codes.push(code);
  return codes;
}
