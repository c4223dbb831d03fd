// Diagnostics as text: frames, wide lines, several lines, the end of a file, and hostile characters.

import { expect, test } from "vitest";
import { error, warning } from "../../src/support/diagnostic.ts";
import { render, renderJson } from "../../src/support/render.ts";
import { sourceFile, type Span } from "../../src/support/source.ts";

const file = sourceFile("a.model", "one two\n\tthree = four\n\nfive\n");
const span = (start: number, end: number): Span => ({ file, start, end });
const lines = (...all: string[]) => `${all.join("\n")}\n`;

test("a frame with label, note and help", () => {
  const diagnostic = error("pool_last.C2", "mask must be i32", {
    span: span(4, 7),
    label: "this is f32[B]",
    notes: [{ message: "declared here", span: span(0, 3) }, { message: "of the whole" }],
    help: "cast it",
  });
  expect(render([diagnostic])).toBe(
    lines(
      "error[pool_last.C2]: mask must be i32",
      "  --> a.model:1:5",
      "   |",
      " 1 | one two",
      "   |     ^^^ this is f32[B]",
      "   |",
      "  note: declared here",
      "  --> a.model:1:1",
      "   |",
      " 1 | one two",
      "   | ---",
      "   |",
      "  note: of the whole",
      "  help: cast it",
    ),
  );
});

test("several diagnostics, without a place, none", () => {
  expect(render([error("a", "x"), warning("b", "y")])).toBe("error[a]: x\n\nwarning[b]: y\n");
  expect(render([])).toBe("");
});

test("a tab stands for columns", () => {
  expect(render([error("a", "x", { span: span(17, 21) })])).toBe(
    lines(
      "error[a]: x",
      "  --> a.model:2:10",
      "   |",
      " 2 |     three = four",
      "   |             ^^^^",
      "   |",
    ),
  );
});

test("a span over several lines", () => {
  expect(render([error("a", "x", { span: span(4, 25), label: "all this" })])).toBe(
    lines(
      "error[a]: x",
      "  --> a.model:1:5",
      "   |",
      " 1 | one two",
      "   |     ^^^",
      " . |",
      " 4 | five",
      "   | ^^ all this",
      "   |",
    ),
  );
});

test("an empty span at the end of the file", () => {
  expect(render([error("a", "x", { span: span(27, 27) })])).toBe(
    lines("error[a]: x", "  --> a.model:4:5", "   |", " 4 | five", "   |     ^", "   |"),
  );
  expect(render([error("a", "x", { span: span(28, 28) })])).toBe(
    lines("error[a]: x", "  --> a.model:5:1", "   |", " 5 |", "   | ^", "   |"),
  );
  const empty = sourceFile("e", "");
  expect(render([error("a", "x", { span: { file: empty, start: 0, end: 0 } })])).toContain(" 1 |\n   | ^\n");
});

test("frames of one diagnostic share a gutter", () => {
  const long = sourceFile("long", "x\n".repeat(120));
  const notes = [{ message: "there", span: { file: long, start: 0, end: 1 } }];
  const text = render([error("a", "x", { span: { file: long, start: 200, end: 201 }, notes })]);
  expect(text).toContain(" 101 | x\n");
  expect(text).toContain("   1 | x\n");
});

test("a wide line is cut around the span", () => {
  const text = `${"a".repeat(500)} HERE ${"b".repeat(500)}`;
  const wide = sourceFile("w", text);
  const shown = render([error("a", "x", { span: { file: wide, start: 501, end: 505 } })], {
    width: 60,
  }).split("\n");
  expect(shown[3]!.length).toBeLessThanOrEqual(60);
  expect(shown[3]).toMatch(/^ 1 \| \.\.\.a+ HERE b+\.\.\.$/);
  const at = shown[4]!.indexOf("^^^^");
  expect(shown[3]!.slice(at, at + 4)).toBe("HERE");
  expect(shown[4]).not.toContain("^^^^^");
});

test("every span of a mixed line can be shown", () => {
  const text = `\t\u{1f600}x\u0007\t${"y".repeat(150)}\ud800\n z`;
  const mixed = sourceFile("m", text);
  for (let start = 0; start <= text.length; start++) {
    for (const length of [0, 1, 5, 200]) {
      const end = Math.min(text.length, start + length);
      for (const row of render([error("a", "x", { span: { file: mixed, start, end } })], { width: 50 }).split(
        "\n",
      )) {
        expect(row.length).toBeLessThanOrEqual(52);
      }
    }
  }
});

test("nothing in a file can command a terminal", () => {
  const evil = sourceFile("evil\u001b[2J", "x \u001b[31m\u009b2J\u202e \u0007 y\r");
  const text = render([
    error("a", "m\u001b[0m\nsecond", {
      span: { file: evil, start: 2, end: 4 },
      label: "l\u001b",
      help: "h\u0008",
    }),
  ]);
  expect(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/.test(text)).toBe(false);
  expect(text.split("\n")).toHaveLength(8);
});

test("colour is asked for", () => {
  const diagnostic = error("a", "x", { span: span(0, 3), help: "h" });
  expect(render([diagnostic])).not.toContain("\u001b");
  expect(render([diagnostic], { color: true })).toContain("\u001b[31m");
  const plain = render([diagnostic], { color: true }).replace(/\u001b\[\d+m/g, "");
  expect(plain).toBe(render([diagnostic]));
});

test("as plain objects", () => {
  const notes = [{ message: "n", span: span(8, 14) }, { message: "m" }];
  expect(renderJson([error("a", "x", { span: span(4, 7), label: "l", help: "h", notes })])).toEqual([
    {
      ...{ severity: "error", code: "a", message: "x", label: "l", help: "h" },
      ...{ file: "a.model", line: 1, column: 5, endLine: 1, endColumn: 8 },
      notes: [
        { message: "n", file: "a.model", line: 2, column: 1, endLine: 2, endColumn: 7 },
        { message: "m" },
      ],
    },
  ]);
  expect(renderJson([error("a", "x")])).toEqual([{ severity: "error", code: "a", message: "x", notes: [] }]);
});
