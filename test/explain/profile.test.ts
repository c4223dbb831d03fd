// Profiles: what is written is a Chrome trace, and reads back; what is not a profile is refused with its reason.

import { describe, expect, it } from "vitest";
import { readProfile, traceOf, type Profile } from "../../src/explain/profile.ts";
import { lavapipe } from "../../src/ir/target.ts";
import { InputError } from "../../src/support/diagnostic.ts";

const profile: Profile = {
  entry: "main",
  target: lavapipe,
  dims: { B: 2 },
  doc: { adapter: "an adapter", method: "timestamps", nanoseconds: [1500, 500] },
};
const trace = traceOf(profile, [
  { kernel: "conv", nanoseconds: 1500, args: { lines: ["a.model:1"] } },
  { kernel: "mean", nanoseconds: 500, args: {} },
]);

describe("a profile", () => {
  it("is complete events in microseconds, one after the other", () => {
    const { traceEvents } = trace as { traceEvents: { ph: string; name: string; ts: number; dur: number }[] };
    const dispatches = traceEvents.filter((e) => e.ph === "X");
    expect(dispatches.map((e) => [e.name, e.ts, e.dur])).toEqual([
      ["conv", 0, 1.5],
      ["mean", 1.5, 0.5],
    ]);
  });

  it("reads back", () => expect(readProfile(JSON.stringify(trace), "p.json")).toEqual(profile));

  it.each([
    ["{", "it is not JSON"],
    ["[]", "not written by run --profile"],
    ['{"traceEvents": []}', "not written by run --profile"],
    [JSON.stringify(trace).replace('"version":1', '"version":9'), "version is not 1"],
    [JSON.stringify(trace).replace('"nanoseconds":[1500,500]', '"nanoseconds":[1500,-1]'), "no times"],
    [JSON.stringify(trace).replace('"B":2', '"B":"2"'), "no sizes"],
    [JSON.stringify(trace).replace('"limits":{', '"limits":{},"x":{'), "no target"],
  ])("refuses %s", (text, why) => {
    const read = (): unknown => readProfile(text, "p.json");
    expect(read).toThrow(InputError);
    expect(read).toThrow(why);
  });
});
