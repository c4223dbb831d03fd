// Text as words and signs, for tools that look at a file while it is being typed.

import { Identifier, tokenize } from "./tokens.ts";

/** Words, signs and literals in order, without space and comments. */
export function wordsOf(text: string): string[] {
  return tokenize(text).tokens.map((t) => t.image);
}

/** A name, and none of the words that are kept for the language. */
export function isIdentifier(text: string): boolean {
  const { tokens, errors } = tokenize(text);
  return (
    errors.length === 0 &&
    tokens.length === 1 &&
    tokens[0]!.image === text &&
    tokens[0]!.tokenType === Identifier
  );
}
