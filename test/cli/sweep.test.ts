import { describe, expect, it } from "vitest";
import { expandSweep } from "../../src/cli/sweep.ts";
import { sweepPlot } from "../../src/cli/sweep-plot.ts";
import { InputError } from "../../src/index.ts";

describe("a sweep", () => {
  it.each([
    ["tome:r=0..2", ["tome:r=0", "tome:r=1", "tome:r=2"]],
    ["tome:r=4..8/4,inflect=-1", ["tome:r=4,inflect=-1", "tome:r=8,inflect=-1"]],
    ["pitome:ratio=0.7..0.9/0.1", ["pitome:ratio=0.7", "pitome:ratio=0.8", "pitome:ratio=0.9"]],
    ["evit:keep_rate=0.7,layers=[1,2]", ["evit:keep_rate=0.7,layers=[1,2]"]],
  ])("%s", (text, expected) => {
    expect(expandSweep(text)).toEqual(expected);
  });

  it.each(["tome:r=4..2", "tome:r=0..1000", "tome:r=0..1/0"])("%s is refused", (text) => {
    expect(() => expandSweep(text)).toThrow(InputError);
  });
});

describe("the plot", () => {
  const point = (method: string, x: number, y: number) => ({ method, label: `<${method}>`, x, y });
  const svg = sweepPlot(
    [point("none", 1, 0.98), point("tome", 0.5, 0.9), point("tome", 0.25, 0.6)],
    "a & b",
    "accuracy",
  );

  it("has a mark for every point, a line for every method, and no text that breaks it", () => {
    expect(svg.match(/<circle [^>]*><title>/g)).toHaveLength(3);
    expect(svg).toContain("<title>a &#38; b</title>");
    expect(svg).toContain("<title>&#60;tome&#62;</title>");
    expect(svg).not.toContain("NaN");
  });

  it("puts less work further left and better answers higher", () => {
    const at = [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)" r="3"/g)].map((m) => [
      Number(m[1]),
      Number(m[2]),
    ]);
    // Points of a method in order of their work: none, then both of tome.
    const [none, mild, strong] = [at[0]!, at[2]!, at[1]!];
    expect(none[0]).toBeGreaterThan(mild[0]!);
    expect(mild[0]).toBeGreaterThan(strong[0]!);
    expect(none[1]).toBeLessThan(mild[1]!);
    expect(mild[1]).toBeLessThan(strong[1]!);
  });
});
