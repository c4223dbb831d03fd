// The fitted layer against the definition of Gaussian naive Bayes: scores with their squares, densities with Bayes' rule.

import { describe, expect, it } from "vitest";
import { parseGraphs } from "../../src/ir/parse.ts";
import { lookupOp } from "../../src/ops/index.ts";
import {
  featuresGraph,
  layerBehind,
  layerIn,
  naiveBayes,
  shareOfRows,
  type LinearHead,
} from "../../src/tune/naive-bayes.ts";

const scores = ({ classes, features, weight, bias }: LinearHead, x: readonly number[]): number[] =>
  Array.from({ length: classes }, (_, k) =>
    x.reduce((sum, v, j) => sum + weight[k * features + j]! * v, bias[k]!),
  );

const softmax = (z: readonly number[]): number[] => {
  const e = z.map((v) => Math.exp(v - Math.max(...z)));
  return e.map((v) => v / e.reduce((a, b) => a + b, 0));
};

/** Rows of two unequal classes and a third, drawn by a fixed rule. */
const rows = Array.from({ length: 23 }, (_, r) =>
  Array.from({ length: 4 }, (_, j) => Math.sin(r * 7.3 + j * 1.7) * (j + 1) + (r % 3) * j),
);
const labels = rows.map((_, r) => (r < 4 ? 0 : r % 3 === 0 ? 1 : 2));

describe("naiveBayes", () => {
  it("gives the layer of the worked example", () => {
    const s = Math.sqrt(0.5);
    const x = [
      [1, s],
      [-1, -s],
      [3, 1 + s],
      [1, 1 - s],
    ];
    const head = naiveBayes(x.flat(), [0, 0, 1, 1], 2, 1e-12);
    const wanted = [0, 0, 2, 2];
    wanted.forEach((w, i) => expect(head.weight[i]).toBeCloseTo(w, 9));
    expect(head.bias[0]).toBeCloseTo(-0.693147, 6);
    expect(head.bias[1]).toBeCloseTo(-3.693147, 6);
    const [a, b] = scores(head, [1.5, 0.2]);
    expect(a).toBeCloseTo(-0.693147, 6);
    expect(b).toBeCloseTo(-0.293147, 6);
  });

  it("gives the posterior that Bayes' rule gives from densities", () => {
    const epsilon = 0.01;
    const head = naiveBayes(rows.flat(), labels, 3, epsilon);
    const of = (k: number) => rows.filter((_, r) => labels[r] === k);
    const mean = (v: readonly number[]) => v.reduce((a, b) => a + b, 0) / v.length;
    const means = [0, 1, 2].map((k) => [0, 1, 2, 3].map((j) => mean(of(k).map((x) => x[j]!))));
    const priors = [0, 1, 2].map((k) => of(k).length / rows.length);
    const variances = [0, 1, 2, 3].map((j) =>
      [0, 1, 2].reduce(
        (sum, k) => sum + priors[k]! * (mean(of(k).map((x) => (x[j]! - means[k]![j]!) ** 2)) + epsilon),
        0,
      ),
    );
    for (const x of [[0, 0, 0, 0], [1, -2, 3, 5], rows[5]!]) {
      const joint = priors.map((p, k) =>
        x.reduce((product, v, j) => {
          const density = Math.exp(-((v - means[k]![j]!) ** 2) / variances[j]! / 2);
          return (product * density) / Math.sqrt(2 * Math.PI * variances[j]!);
        }, p),
      );
      const evidence = joint.reduce((a, b) => a + b, 0);
      softmax(scores(head, x)).forEach((p, k) => expect(p).toBeCloseTo(joint[k]! / evidence, 12));
    }
  });

  it("gives no weight to a feature that never changes, and counts those that change between classes only", () => {
    const x = [
      [7, 0, 1],
      [7, 0, 3],
      [7, 2, 0],
      [7, 2, 5],
    ];
    const head = naiveBayes(x.flat(), [0, 0, 1, 1], 2, 1e-3);
    expect([head.constant, head.degenerate]).toEqual([1, 1]);
    expect([head.weight[0], head.weight[3]]).toEqual([0, 0]);
    expect(head.weight[4]).toBeCloseTo(2000, 9);
    expect(shareOfRows(head, x.flat(), [0, 0, 1, 1])).toBe(1);
    expect(shareOfRows(head, x.flat(), [0, 1, 1, 1])).toBe(0.75);
  });
});

describe("the layer that is fitted", () => {
  const { module } = parseGraphs(
    `graph @g(%x: f32[B, 4]) -> (logits: f32[B, 2], hidden: f32[B, 3], bare: f32[B, 2]) {
  dims B
  weight $fc.weight: f32[3, 4]
  weight $fc.bias: f32[3]
  weight $head.weight: f32[2, 3]
  weight $head.bias: f32[2]
  weight $bare.weight: f32[2, 3]

  %0 = linear %x, $fc.weight, $fc.bias
  %1 = linear %0, $head.weight, $head.bias
  %2 = linear %0, $bare.weight, _
  return %1, %0, %2
}
`,
    "a.ir",
    lookupOp,
  );
  const graph = module!.graphs[0]!;

  it("is the one behind the first output, or the one named", () => {
    expect(layerIn(graph, undefined)).toEqual({
      weight: "head.weight",
      bias: "head.bias",
      features: "%0",
      classes: 2,
    });
    expect(layerIn(graph, "fc")).toMatchObject({ features: "%x", classes: 3 });
    expect(layerIn(graph, "neck")).toBe("the model has no linear layer neck");
    expect(layerIn(graph, "bare")).toContain("has no bias");
    expect(layerBehind(graph, "hidden", "h")).toEqual({ weight: "h.weight", bias: "h.bias", features: "%0" });
    expect(layerBehind(graph, "hiden", "h")).toContain("it has logits, hidden, bare");
  });

  it("needs only the weights in front of it", () => {
    const cut = featuresGraph(graph, layerIn(graph, undefined) as never);
    expect(cut.weights.map((w) => w.key)).toEqual(["fc.weight", "fc.bias"]);
    expect(cut.outputs).toMatchObject([{ name: "features", value: "%0" }]);
    expect(cut.nodes).toHaveLength(1);
  });
});
