// A cascade from the command line, on the trained models of the digits: what the report counts follows from the answers of each model.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Installed } from "./support.ts";

const model = "examples/cascade.model";
const data = "examples/data/digits_test.safetensors";
const trained = [
  "small=examples/data/digits_linear.safetensors",
  "large=examples/data/digits_poolformer.safetensors",
];

const installed = new Installed();
beforeAll(() => installed.build());
afterAll(() => installed.remove());

interface Row {
  readonly rate: number;
  readonly deferred: number;
  readonly threshold: number;
  readonly accuracy: number;
  readonly flops: number;
  readonly time: number;
  readonly readBack: number;
}

describe("cascade-report", () => {
  it("counts what is deferred, what it costs, and how often the answer is right", async () => {
    const { code, out, err } = await installed.run([
      ...["cascade-report", model, "--weights", ...trained, "--input", data, "--labels", data, "--json"],
      ...["--skip", "180", "--rates", "0,0.2,1", "--runs", "1", "--read-back", "small,large"],
    ]);
    expect(err).not.toContain("error[");
    expect(code).toBe(0);
    const { rows } = JSON.parse(out) as { rows: readonly [Row, Row, Row] };
    const [none, some, all] = rows;
    expect(rows.map((r) => r.deferred)).toEqual([0, 0.2, 1]);
    // 168, 176 and 176 of the 180 images that the small model has not seen.
    expect(none.accuracy).toBeCloseTo(168 / 180, 6);
    expect(some.accuracy).toBeCloseTo(176 / 180, 6);
    expect(all.accuracy).toBeCloseTo(176 / 180, 6);
    // The small model is paid always, the large one for the share of rows that it answers.
    expect((some.flops - none.flops) / (all.flops - none.flops)).toBeCloseTo(0.2, 3);
    for (const r of rows) expect(Math.min(r.time, r.readBack)).toBeGreaterThan(0);
  });

  it("says what is wrong", async () => {
    const refused = async (args: readonly string[], words: string): Promise<void> => {
      const { code, err } = await installed.run(["cascade-report", ...args]);
      expect(err).toContain(words);
      expect(code).toBe(1);
    };
    const digits = ["examples/digits_poolformer.model", "--weights", "seed:0", "--input", data];
    await refused(digits, "error[cascade]");
    await refused(
      [model, "--weights", ...trained, "--input", data, "--skip", "360"],
      "leaves no rows of 360",
    );
    await refused([model, "--weights", ...trained, "--rates", "2"], "shares between 0 and 1");
    await refused([model], "error[weights-missing]");
  });
});

describe("run", () => {
  it("gives a number to an input, where it is one of its type", async () => {
    const of = (...args: string[]) =>
      installed.run(["run", model, "--weights", ...trained, "--input", data, ...args]);
    const half = await of("threshold=0.5");
    expect(half.out).toMatch(/source: u32\[360\] {2}mean 0\.0\d+/);
    expect((await of("threshold=nine")).err).toContain("error[input-spec]");
    const wrong = await of("threshold=1e39");
    expect(wrong.err).toContain("error[tensor-range]");
    expect(wrong.err).toContain("threshold is f32");
  });
});
