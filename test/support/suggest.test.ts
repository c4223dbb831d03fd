import { expect, test } from "vitest";
import { editDistance, nearest } from "../../src/support/suggest.ts";

test.each([
  ["conv2", "conv2d"],
  ["covn2d", "conv2d"],
  ["Conv2D", "conv2d"],
  ["lineer", "linear"],
  ["layernorm", "layer_norm"],
  ["x", undefined],
  ["something_else", undefined],
  ["", undefined],
])("nearest to %s is %s", (word, found) => {
  expect(nearest(word, ["conv2d", "linear", "layer_norm", "y"])).toBe(found);
});

test("of equals the first, and never the word itself", () => {
  expect(nearest("abcd", ["abcx", "abcy"])).toBe("abcx");
  expect(nearest("abcd", ["abcd"])).toBe(undefined);
});

test("distance", () => {
  expect(editDistance("kitten", "sitting", 10)).toBe(3);
  expect(editDistance("ab", "ba", 10)).toBe(1);
  expect(editDistance("abc", "xyz", 2)).toBe(2);
  expect(editDistance("", "abc", 10)).toBe(3);
});

test("words without measure", () => {
  expect(nearest("a".repeat(1e6), ["a".repeat(1e6 - 1)])).toBe(undefined);
});
