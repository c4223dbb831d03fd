// The rewriting engine: what fires, who keeps which id, line and annotation, what the log says, and what it costs.

import { describe, expect, test } from "vitest";
import type { Graph, Node } from "../../src/ir/graph.ts";
import { printNode } from "../../src/ir/print.ts";
import { mergeDuplicates, removeDead, renameUses, replaceGraphNodes, rewrite } from "../../src/ir/rewrite.ts";
import type { RewriteContext, Rule } from "../../src/ir/rewrite-types.ts";
import { dim } from "../../src/ir/dim.ts";
import { tensorType } from "../../src/ir/types.ts";
import { lookupOp } from "../../src/ops/index.ts";
import { Bug } from "../../src/support/bug.ts";
import { at, sketch, vector } from "./build.ts";

type Apply = (root: Node, c: RewriteContext) => readonly string[] | null;
const rule = (name: string, roots: string | readonly string[], apply: Apply): Rule => ({
  name,
  equation: "",
  doc: "",
  roots: typeof roots === "string" ? [roots] : roots,
  apply,
});
const run = (g: Graph, ...rules: Rule[]) => rewrite(g, rules, lookupOp);
const lines = (g: Graph) => g.nodes.map((n) => printNode(n).replace(/ : .*/, ""));
const linesOf = (n: Node) => n.spans.map((s) => s.line);

const doubleNegation = rule("double-negation", "neg", (root, c) => {
  const inner = c.producer(root.inputs[0]!);
  if (inner?.op.name !== "neg") return null;
  c.matched(inner);
  return [inner.inputs[0]!];
});

const mulToSquare = rule("mul-to-square", "mul", (root, c) =>
  root.inputs[0] === root.inputs[1] ? [c.add("square", [root.inputs[0]])] : null,
);

/** neg(relu(x)) as relu(neg(x)): no equation, but it travels. */
const negFirst = rule("neg-first", "neg", (root, c) => {
  const inner = c.soleProducer(root.inputs[0]!, "relu");
  if (!inner) return null;
  c.matched(inner);
  return [c.add("relu", [c.add("neg", [inner.inputs[0]])])];
});

describe("replacing", () => {
  test("a node added takes the root's id, and the lines of all that took part", () => {
    const g = sketch((s) => {
      const x = s.input("x");
      s.output("y", s.call("neg", [s.call("relu", [x])]));
    });
    const { graph, events } = run(g, negFirst);
    expect(lines(graph)).toEqual(["%2 = neg %x", "%1 = relu %2"]);
    expect(graph.nodes.map(linesOf)).toEqual([
      [2, 3],
      [2, 3],
    ]);
    expect(events).toMatchObject([{ rule: "neg-first", removed: ["%0"], added: ["%2"] }]);
    expect(events[0]!.before.map((t) => t.replace(/ : .*/, ""))).toEqual(["%0 = relu %x", "%1 = neg %0"]);
    expect(events[0]!.after.map((t) => t.replace(/ : .*/, ""))).toEqual(["%2 = neg %x", "%1 = relu %2"]);
    expect(graph.nextId).toBe(3);
  });

  test("a value that was there keeps its id, and its node gets the lines", () => {
    const g = sketch((s) => {
      const x = s.call("relu", [s.input("x")]);
      const same = s.call("neg", [s.call("neg", [x])]);
      s.output("y", s.call("add", [same, x]));
      s.output("z", same);
    });
    const { graph, events } = run(g, doubleNegation);
    expect(lines(graph)).toEqual(["%0 = relu %x", "%3 = add %0, %0"]);
    expect(graph.outputs.map((o) => o.value)).toEqual(["%3", "%0"]);
    expect(linesOf(graph.nodes[0]!)).toEqual([2, 3, 4]);
    expect(events).toMatchObject([{ after: ["%2 is now %0"], removed: ["%1", "%2"], added: [] }]);
  });

  test("to a fixed point", () => {
    const g = sketch((s) => {
      let x = s.input("x");
      for (let i = 0; i < 7; i++) x = s.call("neg", [x]);
      s.output("y", s.call("mul", [x, x]));
    });
    const { graph, events } = run(g, mulToSquare, doubleNegation);
    expect(lines(graph).map((l) => l.replace(/%\d+/g, "%"))).toEqual(["% = neg %x", "% = square %"]);
    expect(events.length).toBe(4);
    expect(run(graph, mulToSquare, doubleNegation).graph).toBe(graph);
  });

  test("rules are tried in their order, at each node", () => {
    const g = sketch((s) => s.output("y", s.call("neg", [s.input("x")])));
    const to = (name: string, op: string) => rule(name, "neg", (r, c) => [c.add(op, [r.inputs[0]])]);
    expect(lines(run(g, to("a", "relu"), to("b", "square")).graph)).toEqual(["%0 = relu %x"]);
  });

  test("nodes added by a rule that does not fire leave no trace", () => {
    const g = sketch((s) => s.output("y", s.call("neg", [s.input("x")])));
    const result = run(
      g,
      rule("undecided", "neg", (root, c) => {
        const made = c.add("square", [root.inputs[0]]);
        expect(c.type(made)).toEqual(vector);
        expect(c.producer(made)?.op.name).toBe("square");
        expect(c.isPrepared(made)).toBe(false);
        return null;
      }),
    );
    expect(result).toEqual({ graph: g, events: [], refusals: [] });
  });

  test("nodes added and not used are dropped", () => {
    const g = sketch((s) => s.output("y", s.call("neg", [s.input("x")])));
    const once = rule("wasteful", "neg", (root, c) => {
      c.add("square", [c.add("relu", [root.inputs[0]])]);
      return [c.add("silu", [root.inputs[0]])];
    });
    const { graph, events } = run(g, once);
    expect(lines(graph)).toEqual(["%0 = silu %x"]);
    expect(events[0]!.after.length).toBe(1);
    expect(events[0]!.added).toEqual([]);
  });

  test("names of axes stay where the op added gives none", () => {
    const g = sketch((s) => s.output("y", s.call("neg", [s.input("x")])));
    const reshaped = rule("reshape", "neg", (r, c) => [
      c.add("reshape", [r.inputs[0]], { dims: [dim("B"), dim(8)] }),
    ]);
    expect(run(g, reshaped).graph.nodes[0]!.results[0]!.type.axes).toEqual(["batch", "channels"]);
  });
});

describe("annotations", () => {
  const annotated = (g: Graph, op: string): Graph => ({
    ...g,
    nodes: g.nodes.map((n) =>
      n.op.name === op ? { ...n, annotations: [{ name: "reduce", call: "tome", args: { r: 8 } }] } : n,
    ),
  });
  const g = sketch((s) => s.output("y", s.call("neg", [s.call("relu", [s.input("x")])])));

  test("of the root and of what is absorbed go to the replacement", () => {
    for (const op of ["neg", "relu"]) {
      const { graph } = run(annotated(g, op), negFirst);
      expect(graph.nodes.map((n) => n.annotations.map((a) => a.name))).toEqual([[], ["reduce"]]);
    }
  });

  test("are never lost: without a node to carry them the rewrite is refused", () => {
    const twice = sketch((s) => s.output("y", s.call("neg", [s.call("neg", [s.input("x")])])));
    const { graph, refusals } = run(annotated(twice, "neg"), doubleNegation);
    expect(graph.nodes.length).toBe(2);
    expect(refusals).toMatchObject([
      { rule: "double-negation", node: "%1", reason: "the annotation `reduce tome` would be lost" },
    ]);
  });
});

describe("what a rule sees", () => {
  test("uses and sole producers count outputs and reads that are still there", () => {
    const g = sketch((s) => {
      const x = s.call("relu", [s.input("x")]);
      s.call("square", [x]); // dead
      const y = s.call("neg", [x]);
      s.output("y", s.call("mul", [y, y]));
    });
    const seen: unknown[] = [];
    run(
      g,
      rule("look", ["neg", "mul"], (root, c) => {
        seen.push([root.op.name, c.uses(root.inputs[0]!), c.soleProducer(root.inputs[0]!)?.op.name]);
        return null;
      }),
    );
    expect(seen).toEqual([
      ["neg", 1, "relu"],
      ["mul", 2, undefined],
    ]);
    const withOutput = { ...g, outputs: [...g.outputs, { name: "x", value: "%0", spans: [] }] };
    let sole: unknown = "unset";
    run(
      withOutput,
      rule("look", "neg", (root, c) => ((sole = c.soleProducer(root.inputs[0]!)), null)),
    );
    expect(sole).toBeUndefined();
  });

  test("prepared values, also those that became so", () => {
    const g = sketch((s) => {
      const x = s.input("x");
      const w = s.weight("w");
      const zero = s.call("sub", [x, x]);
      const sum = s.call("reshape", [s.call("mean", [zero], { axes: [0] })], { dims: [dim(8)] });
      s.output("y", s.call("mul", [x, s.call("add", [sum, w])]));
    });
    const zero = rule("zero", "sub", (r, c) =>
      r.inputs[0] === r.inputs[1] ? [c.add("constant", [], { value: 0, shape: vector.shape })] : null,
    );
    const seen: boolean[] = [];
    const look = rule("look", "mul", (r, c) => (seen.push(c.isPrepared(r.inputs[1]!)), null));
    run(g, look);
    expect(seen).toEqual([false]);
    run(g, zero, look);
    expect(seen.slice(1)).toEqual([true, true]);
  });

  test("constants, through ops that only move values", () => {
    const g = sketch((s) => {
      const x = s.input("x");
      const half = s.call("constant", [], { value: 0.5 });
      const splat = s.call("broadcast_to", [s.call("reshape", [half], { dims: [dim(1)] })], {
        dims: [dim(8)],
      });
      const padded = s.call("pad", [splat], { before: [1], after: [0], value: 3 });
      s.output("y", s.call("mul", [x, splat]));
      s.output("z", s.call("mul", [padded, padded]));
    });
    const seen: unknown[] = [];
    run(
      g,
      rule("look", "mul", (r, c) => (seen.push(c.constant(r.inputs[0]!), c.constant(r.inputs[1]!)), null)),
    );
    expect(seen).toEqual([undefined, 0.5, undefined, undefined]);
  });
});

describe("refusals", () => {
  const shy = rule("shy", "neg", (root, c) => {
    const inner = c.producer(root.inputs[0]!);
    return inner?.op.name === "relu" ? c.refuse("relu is not linear", inner) : doubleNegation.apply(root, c);
  });

  test("are those that are true of the result, once each", () => {
    const g = sketch((s) => {
      const x = s.call("relu", [s.input("x")]);
      s.output("a", s.call("neg", [s.call("neg", [s.call("neg", [x])])]));
      s.output("b", s.call("neg", [x]));
    });
    const { refusals } = run(g, shy);
    expect(refusals).toMatchObject([{ rule: "shy", reason: "relu is not linear", node: "%0" }]);
  });

  test("of nodes that are gone are gone too", () => {
    const g = sketch((s) => s.output("y", s.call("neg", [s.call("relu", [s.input("x")])])));
    const { refusals } = run(
      g,
      shy,
      rule("end", "neg", (root, c) => [c.add("square", [root.inputs[0]])]),
    );
    expect(refusals).toEqual([]);
  });
});

describe("mistakes of rules are named", () => {
  const g = sketch((s) => s.output("y", s.call("add", [s.input("a"), s.input("b")])));
  const neg = sketch((s) => s.output("y", s.call("neg", [s.input("x")])));
  test.each<[string, Graph, Rule, string]>([
    [
      "swapping for ever",
      g,
      rule("swap", "add", (r, c) => [c.add("add", [r.inputs[1], r.inputs[0]])]),
      "swap",
    ],
    [
      "growing for ever",
      neg,
      rule("grow", "neg", (r, c) => [c.add("neg", [c.add("neg", [c.add("neg", [r.inputs[0]])])])]),
      "grow",
    ],
    ["itself", neg, rule("self", "neg", (r) => [r.results[0]!.id]), "by itself"],
    ["around itself", neg, rule("wrap", "neg", (r, c) => [c.add("relu", [r.results[0]!.id])]), "wrap"],
    ["no value", neg, rule("lost", "neg", () => ["%99"]), "%99"],
    ["too few", neg, rule("few", "neg", () => []), "0 values for 1 result"],
    ["other type", neg, rule("typed", "neg", (_, c) => [c.add("constant", [], { value: 1 })]), "f32[]"],
    ["unknown op", neg, rule("op", "neg", (_, c) => [c.add("frobnicate", [])]), "frobnicate"],
    [
      "ill-typed",
      neg,
      rule("ill", "neg", (r, c) => [c.add("reshape", [r.inputs[0]], { dims: [dim(3)] })]),
      "reshape.",
    ],
  ])("%s", (_, graph, broken, message) => {
    expect(() => run(graph, broken)).toThrow(Bug);
    expect(() => run(graph, broken)).toThrow(message);
  });

  test("reading what is made later", () => {
    const later = sketch((s) => {
      const x = s.input("x");
      s.output("a", s.call("neg", [x]));
      s.output("b", s.call("relu", [x]));
    });
    const broken = rule("early", "neg", (_, c) => [c.add("square", ["%1"])]);
    expect(() => run(later, broken)).toThrow("reads %1, which is not made before it");
  });

  test("too many sweeps", () => {
    // Each sweep changes a node above the one that asks for it.
    let calls = 0;
    const slow = rule("slow", "relu", (r, c) => (calls++ % 2 === 0 ? [c.add("relu", [r.inputs[0]])] : null));
    const relu = sketch((s) => s.output("y", s.call("relu", [s.input("x")])));
    expect(() => rewrite(relu, [slow], lookupOp, { maxSweeps: 5 })).toThrow(
      "rule slow still fires after 5 sweeps",
    );
  });
});

test(
  "a node travels through 10,000 others with a number of attempts near their number",
  { timeout: 60_000 },
  () => {
    const length = 10_000;
    const g = sketch((s) => {
      let x = s.input("x");
      for (let i = 0; i < length; i++) x = s.call("relu", [x]);
      s.output("y", s.call("neg", [x]));
    });
    const bare = { ...g, nodes: g.nodes.map((n) => ({ ...n, spans: [at(1)] })) };
    let attempts = 0;
    const counted = rule("neg-first", ["neg", "relu"], (root, c) => {
      attempts++;
      return root.op.name === "neg" ? negFirst.apply(root, c) : null;
    });
    const { graph, events } = run(bare, counted);
    expect(events.length).toBe(length);
    expect(graph.nodes[0]!.op.name).toBe("neg");
    expect(graph.nodes.length).toBe(length + 1);
    expect(attempts).toBeLessThan(5 * length);
  },
);

describe("helpers", () => {
  test("duplicates merge, commuted ones too, with the lines of all", () => {
    const g = sketch((s) => {
      const [x, y] = [s.input("x"), s.input("y")];
      const a = s.call("add", [x, y]);
      const b = s.call("add", [y, x]);
      const c = s.call("sub", [x, y]);
      const d = s.call("sub", [y, x]);
      const sums = [s.call("mean", [a], { axes: [1] }), s.call("mean", [b], { axes: [1] })];
      s.output("p", s.call("mul", [sums[0]!, sums[1]!]));
      s.output("q", s.call("mul", [c, d]));
      s.output("r", s.call("mean", [a], { axes: [0] }));
    });
    const { graph, events } = mergeDuplicates(g);
    expect(lines(graph)).toEqual([
      "%0 = add %x, %y",
      "%2 = sub %x, %y",
      "%3 = sub %y, %x",
      "%4 = mean %0 {axes=[1]}",
      "%6 = mul %4, %4",
      "%7 = mul %2, %3",
      "%8 = mean %0 {axes=[0]}",
    ]);
    expect(graph.nodes[0]!.spans.map((s) => s.line)).toEqual([3, 4]);
    expect(events.map((e) => e.removed)).toEqual([["%1"], ["%5"]]);
    expect(mergeDuplicates(graph)).toEqual({ graph, events: [], refusals: [] });
  });

  test("dead nodes go, weights stay", () => {
    const g = sketch((s) => {
      const x = s.input("x");
      s.call("neg", [s.call("mul", [x, s.weight("w")])]);
      s.output("y", s.call("relu", [x]));
    });
    const clean = removeDead(g);
    expect(lines(clean)).toEqual(["%2 = relu %x"]);
    expect(clean.weights.length).toBe(1);
    expect(removeDead(clean)).toBe(clean);
  });

  test("renaming follows chains and refuses circles", () => {
    const g = sketch((s) => s.output("y", s.call("add", [s.input("a"), s.input("b")])));
    const renamed = renameUses(
      g,
      new Map([
        ["%a", "%b"],
        ["%0", "%a"],
      ]),
    );
    expect(lines(renamed)).toEqual(["%0 = add %b, %b"]);
    expect(renamed.outputs[0]!.value).toBe("%b");
    expect(() =>
      renameUses(
        g,
        new Map([
          ["%a", "%b"],
          ["%b", "%a"],
        ]),
      ),
    ).toThrow("in a circle");
  });

  test("other nodes must be in order; the next id moves past theirs", () => {
    const g = sketch((s) => s.output("y", s.call("neg", [s.call("relu", [s.input("x")])])));
    expect(() => replaceGraphNodes(g, [...g.nodes].reverse())).toThrow("not made before it");
    const relu = g.nodes[0]!;
    const more = { ...relu, results: [{ id: "%41", type: tensorType("f32", ["B", 8]) }] };
    expect(replaceGraphNodes(g, [...g.nodes, more]).nextId).toBe(42);
  });
});
