import { describe, expect, it } from "vitest";
import { planCheckpoint, type AvailableTensor } from "../../src/elaborate/checkpoint.ts";
import type { CheckpointMap, CheckpointRuleData } from "../../src/elaborate/checkpoint-map.ts";
import { fillPattern, matchPattern, parsePattern, type Pattern } from "../../src/elaborate/pattern.ts";
import { constantOf } from "./shapes.ts";
import { elaborateFile, graphOf } from "./support.ts";

const tensor = (key: string, ...shape: number[]): AvailableTensor => ({ key, dtype: "f32", shape });
const map = (...rules: Partial<CheckpointRuleData>[]): CheckpointMap => ({
  name: "other",
  model: "m",
  rules: rules.map((r) => ({ verb: "rename", from: [], to: [], axis: 0, ...r })),
});
const pattern = (text: string): Pattern => {
  const p = parsePattern(text);
  if ("problem" in p) throw new Error(p.problem);
  return p;
};

describe("patterns", () => {
  const rename = (from: string, to: string, key: string) => {
    const captures = matchPattern(pattern(from), key);
    return captures && fillPattern(pattern(to), captures);
  };
  it("computes with numbers, and does not match where a sum is no whole number", () => {
    expect(
      rename("network.{i}.{j}.{rest*}", "stages.{i / 2}.blocks.{j}.{rest}", "network.4.1.mlp.fc1.bias"),
    ).toBe("stages.2.blocks.1.mlp.fc1.bias");
    expect(rename("network.{i}.{j}", "stages.{i / 2}.{j}", "network.3.a")).toBeUndefined();
    expect(rename("n.{i}", "s.{(i + 1) * 3 - 2}", "n.2")).toBe("s.7");
    expect(rename("n.{i}", "s.{i + 1}", "n.two")).toBeUndefined();
  });
  it("keeps a plain name within one segment", () => {
    expect(rename("head.{name}", "head.fc.{name}", "head.norm.weight")).toBeUndefined();
    expect(rename("{a}.{a}", "x.{a}", "b.c")).toBeUndefined();
    expect(rename("{a}.{a}", "x.{a}", "b.b")).toBe("x.b");
  });
  it.each(["", "a{", "a}", "{i +}", "{1 2}", "{}", "*.*.*.x", "{(i}", "a".repeat(500)])(
    "refuses %j",
    (text) => {
      expect(parsePattern(text)).toHaveProperty("problem");
    },
  );
});

describe("planCheckpoint", () => {
  it("finds weights, and lists what is missing and unused", () => {
    const plan = planCheckpoint(
      undefined,
      [tensor("fc.weight", 2, 3), tensor("fc.bias", 2), tensor("head.wieght", 4)],
      [
        { key: "fc.weight", shape: [2, 3, 1, 1] },
        { key: "fc.bias", shape: [2] },
        { key: "head.weight", shape: [4] },
      ],
    );
    expect(plan.sources.get("fc.weight")).toEqual({
      kind: "reshape",
      of: { kind: "copy", key: "fc.weight" },
      shape: [2, 3, 1, 1],
    });
    expect(plan.missing).toEqual(["head.weight"]);
    expect(plan.unused).toEqual(["head.wieght"]);
    expect(plan.diagnostics.map((d) => [d.code, d.help])).toEqual([
      ["weights-missing", "it has head.wieght, which no weight needs"],
    ]);
  });

  it("refuses a shape that does not hold the same numbers in the same order", () => {
    const plan = planCheckpoint(undefined, [tensor("w", 3, 2)], [{ key: "w", shape: [2, 3] }]);
    expect(plan.diagnostics.map((d) => d.code)).toEqual(["weights-shape"]);
    expect(plan.missing).toEqual([]);
  });

  it("reshapes freely only where a rule says so", () => {
    const rules = map({ verb: "reshape", from: ["w"] });
    const plan = planCheckpoint(rules, [tensor("w", 3, 2)], [{ key: "w", shape: [6] }]);
    expect(plan.sources.get("w")).toEqual({ kind: "reshape", of: { kind: "copy", key: "w" }, shape: [6] });
  });

  it("strips, ignores and transposes", () => {
    const rules = map(
      { verb: "strip", from: ["module."] },
      { verb: "ignore", from: ["*.num_batches_tracked"] },
      { verb: "transpose", from: ["{a*}.weight"] },
    );
    const available = [tensor("module.a.weight", 3, 2), tensor("module.a.num_batches_tracked")];
    const plan = planCheckpoint(rules, available, [{ key: "a.weight", shape: [2, 3] }]);
    expect(plan.sources.get("a.weight")).toMatchObject({ kind: "transpose", perm: [1, 0] });
    expect(plan.unused).toEqual([]);
    expect(plan.diagnostics).toEqual([]);
  });

  it("concatenates q, k, v, and splits them", () => {
    const parts = ["{p*}.q.weight", "{p*}.k.weight", "{p*}.v.weight"];
    const whole = "{p*}.qkv.weight";
    const joined = planCheckpoint(
      map({ verb: "concat", from: [whole], to: parts }),
      [tensor("b.k.weight", 4, 4), tensor("b.q.weight", 4, 4), tensor("b.v.weight", 4, 4)],
      [{ key: "b.qkv.weight", shape: [12, 4] }],
    );
    expect(joined.sources.get("b.qkv.weight")).toMatchObject({
      kind: "concat",
      parts: ["q", "k", "v"].map((x) => ({ kind: "copy", key: `b.${x}.weight` })),
    });
    const cut = planCheckpoint(
      map({ verb: "split", from: [whole], to: parts }),
      [tensor("b.qkv.weight", 12, 4)],
      [{ key: "b.k.weight", shape: [4, 4] }],
    );
    expect(cut.sources.get("b.k.weight")).toMatchObject({ kind: "slice", axis: 0, start: 4, end: 8 });
  });

  it("stacks experts in the order of their numbers, and unstacks them", () => {
    const [one, all] = ["experts.{i}.w", "experts.w"];
    const available = [10, 2, 0, 1, 3, 4, 5, 6, 7, 8, 9].map((i) => tensor(`experts.${i}.w`, 2));
    const stacked = planCheckpoint(map({ verb: "stack", from: [all], to: [one] }), available, [
      { key: all, shape: [11, 2] },
    ]);
    expect(stacked.sources.get(all)).toMatchObject({
      kind: "stack",
      parts: Array.from({ length: 11 }, (_, i) => ({ key: `experts.${i}.w` })),
    });
    const apart = planCheckpoint(
      map({ verb: "unstack", from: [all], to: [one] }),
      [tensor(all, 3, 2)],
      [{ key: "experts.2.w", shape: [2] }],
    );
    expect(apart.sources.get("experts.2.w")).toMatchObject({
      of: { kind: "slice", start: 2, end: 3 },
      shape: [2],
    });
  });

  it("reports parts that are not all there, and names that collide", () => {
    const concat = map({ verb: "concat", from: ["ab"], to: ["a", "b"] });
    expect(planCheckpoint(concat, [tensor("a", 1)], []).diagnostics.map((d) => d.code)).toEqual([
      "checkpoint-rule",
    ]);
    const rename = map({ from: ["{x}.a"], to: ["same"] });
    const two = [tensor("p.a", 1), tensor("q.a", 1)];
    expect(planCheckpoint(rename, two, []).diagnostics.map((d) => d.code)).toEqual(["checkpoint-collision"]);
  });
});

describe("the authors' names of PoolFormer", () => {
  const elaborated = elaborateFile("examples/poolformer.model", { config: "s12" });
  const wanted = graphOf(elaborated).weights.map((w) => ({
    key: w.key,
    shape: w.type.shape.map(constantOf),
  }));
  /** Section by section the scheme of sail-sg/poolformer, from ours. */
  const theirName = (key: string) =>
    key
      .replace(/^stem\.conv/, "patch_embed.proj")
      .replace(/^stages\.(\d)\.downsample\.conv/, (_, i) => `network.${2 * Number(i) - 1}.proj`)
      .replace(/^stages\.(\d)\.blocks/, (_, i) => `network.${2 * Number(i)}`)
      .replace(/layer_scale(\d)\.scale/, "layer_scale_$1")
      .replace(/^head\.norm/, "norm")
      .replace(/^head\.fc/, "head");

  it("map to all 132 weights", () => {
    const theirs = wanted.map((w) => tensor(theirName(w.key), ...w.shape));
    const original = elaborated.models[0]!.checkpoints.find((c) => c.name === "original");
    const plan = planCheckpoint(original, theirs, wanted);
    expect(plan).toMatchObject({ missing: [], unused: [], diagnostics: [] });
    for (const w of wanted) expect(plan.sources.get(w.key)).toEqual({ kind: "copy", key: theirName(w.key) });
  });
});

describe("stacks", () => {
  const wanted = [{ key: "experts.*.up.weight", shape: [2, 4, 3] }];
  const part = (name: string, shape: readonly number[] = [4, 3]) => ({ key: name, dtype: "f32", shape });

  it("are made of numbered tensors", () => {
    const plan = planCheckpoint(
      undefined,
      [part("experts.1.up.weight"), part("experts.0.up.weight")],
      wanted,
    );
    expect(plan.diagnostics).toEqual([]);
    expect(plan.unused).toEqual([]);
    expect(plan.sources.get("experts.*.up.weight")).toEqual({
      kind: "stack",
      axis: 0,
      parts: [
        { kind: "copy", key: "experts.0.up.weight" },
        { kind: "copy", key: "experts.1.up.weight" },
      ],
    });
  });

  it("or one tensor already", () => {
    const plan = planCheckpoint(undefined, [part("experts.up.weight", [2, 4, 3])], wanted);
    expect(plan.diagnostics).toEqual([]);
    expect(plan.sources.get("experts.*.up.weight")).toEqual({ kind: "copy", key: "experts.up.weight" });
  });

  it("with a part missing, or of another shape", () => {
    const some = planCheckpoint(undefined, [part("experts.0.up.weight")], wanted);
    expect(some.missing).toEqual(["experts.1.up.weight"]);
    const odd = planCheckpoint(
      undefined,
      [part("experts.0.up.weight"), part("experts.1.up.weight", [4, 5])],
      wanted,
    );
    expect(odd.diagnostics[0]!.code).toBe("weights-shape");
  });
});
