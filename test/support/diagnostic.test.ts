import { expect, it } from "vitest";
import { error } from "../../src/support/diagnostic.ts";

it("keeps texts as they are up to a length that can be read", () => {
  const long = "n".repeat(2000);
  expect(error("syntax", long, { label: long, help: long, notes: [{ message: long }] })).toEqual({
    ...{ severity: "error", code: "syntax", message: long, label: long, help: long },
    notes: [{ message: long }],
  });
});

it("shortens every text that quotes something endless", () => {
  const endless = "n".repeat(2001);
  const short = `${"n".repeat(1997)}...`;
  const d = error("syntax", endless, { label: endless, help: endless, notes: [{ message: endless }] });
  expect([d.message, d.label, d.help, d.notes[0]!.message]).toEqual([short, short, short, short]);
});

it("cuts no character in two", () => {
  const { message } = error("syntax", `${"n".repeat(1996)}${"\u{1f600}".repeat(10)}`);
  expect(message).toBe(`${"n".repeat(1996)}...`);
});
