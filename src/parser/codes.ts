// Codes of the errors of this folder, with the paragraph that docs/errors.md has for each.

export const parserCodes: Readonly<Record<string, string>> = {
  "bad-character":
    'A character stands in the file that is no part of the language. Strings take `"`, comments `//`, operators are those of docs/language.md; the help names what is usually meant.',
  "bad-escape":
    'A string holds a backslash that starts no escape. The escapes are `\\n`, `\\t`, `\\"`, `\\\\` and `\\u{...}` with at most `10FFFF`.',
  "bad-number":
    "A number is not written as numbers are: decimal, with a digit on either side of the point, and not beyond what a 64-bit float holds. Write `0.5`, `1e-6`, `1_000`.",
  "comparison-chain":
    "`a < b < c` is not allowed, for it means different things in different languages. Write `a < b and b < c`.",
  "file-too-large":
    "A file has more text, or more words and signs, than a model file may have. Split it, and `import` the parts.",
  "nesting-too-deep":
    "Brackets, blocks or operators stand within one another deeper than the parser goes. Give parts of the expression names of their own.",
  "pipe-needs-call":
    "`|>` hands the value on its left to a call as the first input. What stands on its right must be a call: `x |> gelu()`, not `x |> gelu`.",
  "reserved-word": "A word of the language stands where a name is needed. Choose another name.",
  syntax:
    "Something else stands here than what the language wants at this place. The message says what was expected; the note points at a bracket that was never closed, where there is one.",
  "unterminated-string":
    "A string has no closing quote in its line. A line break inside a string is written `\\n`.",
};
