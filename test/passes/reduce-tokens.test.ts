// What is asked for and cannot be is an error with a reason, and what was done to a real encoder.

import { describe, expect, it } from "vitest";
import { InputError } from "../../src/index.ts";
import { parseReduction, tomeSchedule } from "../../src/passes/reduction-methods.ts";
import { compileExample, compileText } from "../models/support.ts";

const tokensOf = (reduce: string): string[] => {
  const [steps] = compileExample("digits_vit", { reduce: [reduce] }).steps;
  const step = steps!.find((s) => s.pass.name === "reduce-tokens")!;
  return step.events.map((e) => e.after[0]!.slice("// ".length));
};

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (e) {
    if (e instanceof InputError) return e.diagnostics.map((d) => `${d.code}: ${d.message}`).join("\n");
    throw e;
  }
  return "nothing was wrong";
}

describe("digits_vit", () => {
  it.each([
    ["tome:r=8", [57, 49, 41, 33]],
    ["tome:r=16,inflect=-1", [33, 17, 9]],
    ["tome:r=[8,0,4]", [57, 53]],
    ["pitome:ratio=0.9", [59, 54, 49, 45]],
    ["evit:keep_rate=0.7", [47, 35, 26]],
    ["evit:keep_rate=0.5,fuse=false,layers=[2]", [33]],
    ["dynamicvit:ratio=0.7", [45, 32, 22]],
    ["avg_pool:size=2,layers=[1]", [17]],
    ["avg_pool:size=3,layers=[0]", [10]],
  ])("%s leaves %o tokens", (reduce, expected) => {
    expect(tokensOf(reduce).map((line) => Number(/become (\d+)$/.exec(line)![1]))).toEqual(expected);
  });

  it("merges nothing in layers that are left out", () => {
    const { steps, optimized } = compileExample("digits_vit", {
      reduce: ["drop_layers:layers=[2,3]", "tome:r=8"],
    });
    const step = steps[0]!.find((s) => s.pass.name === "reduce-tokens")!;
    expect(step.events.map((e) => [e.rule, e.after[0]!.slice("// ".length)])).toEqual([
      ["tome", "blocks.0: 65 tokens become 57"],
      ["tome", "blocks.1: 57 tokens become 49"],
      ["drop_layers", "blocks.2: 49 tokens become 49"],
      ["drop_layers", "blocks.3: 49 tokens become 49"],
    ]);
    expect(optimized.graphs[0]!.nodes.filter((n) => n.scope.startsWith("blocks.3"))).toEqual([]);
  });

  it("is as it was where nothing asks", () => {
    const { steps } = compileExample("digits_vit");
    expect(steps[0]!.some((s) => s.pass.name === "reduce-tokens")).toBe(false);
  });

  it.each([
    ["tome", "tome: r is an integer or a list of them, 0 or more"],
    ["tome:r=-1", "tome: r is an integer or a list of them, 0 or more"],
    ["tome:q=1", "tome: it has no parameter q"],
    ["tomato:r=1", "there is no such method"],
    ["evit:layers=[7]", "evit: there is no layer 7: there are 4, counted from 0"],
    ["pitome:ratio=0.3", "pitome: ratio is from 0.5 to 1"],
    ["avg_pool:size=2", "avg_pool: layers says in front of which layers"],
    ["tome r=8", "tome r=8 asks for no token reduction"],
  ])("%s is refused", (reduce, message) => {
    expect(messageOf(() => compileExample("digits_vit", { reduce: [reduce] }))).toContain(message);
  });
});

it("needs a number of tokens that is known", () => {
  const text = `model m (x: f32[B, T, 4]) -> f32[B, T, 4] {
    q = reshape(x, dims = [B, T, 2, 2])
    return x + reshape(attention(q, q, q), dims = [B, T, 4])
  }`;
  expect(messageOf(() => compileText(text, { reduce: ["tome:r=1"] }))).toBe(
    "reduce: tokens cannot be reduced here: the number of tokens, T, is not known while compiling",
  );
});

it("needs attention", () => {
  expect(messageOf(() => compileExample("digits_poolformer", { reduce: ["tome:r=1"] }))).toBe(
    "reduce: tokens cannot be reduced here: there is no attention here",
  );
});

it("is asked for in the file too", () => {
  const text = `model m (x: f32[B, 9, 4]) -> f32[B, N, 4] {
    repeat 2 @blocks with reduce tome(r = 2) {
      q = reshape(x, dims = [B, x.shape[1], 2, 2])
      x = x + reshape(attention(q, q, q), dims = [B, x.shape[1], 4])
    }
    return x
  }`;
  const [steps] = compileText(text).steps;
  expect(steps!.find((s) => s.pass.name === "reduce-tokens")!.events).toHaveLength(2);
});

describe("schedules", () => {
  it("are those of ToMe's code", () => {
    expect(tomeSchedule(12, 8, -1)).toEqual([16, 14, 13, 11, 10, 8, 7, 5, 4, 2, 1, 0]);
    expect(tomeSchedule(3, 8, 0)).toEqual([8, 8, 8]);
    expect(tomeSchedule(4, [3, 1], 0)).toEqual([3, 1, 0, 0]);
  });

  it("are read from text", () => {
    expect(parseReduction("evit:keep_rate=0.7,layers=[1,2],fuse=false")).toEqual({
      name: "reduce",
      call: "evit",
      args: { keep_rate: 0.7, layers: [1, 2], fuse: false },
    });
    expect(parseReduction("tome:r=x")).toBeUndefined();
  });
});
