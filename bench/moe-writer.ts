// What the forms of a layer of routed experts in ONNX have in common: router, gated networks, what goes in and comes out.

import { constantOf } from "../src/ir/dim.ts";
import type { Graph } from "../src/ir/graph.ts";
import type { Tensor } from "../src/ir/tensor.ts";
import { dimOf } from "../src/ops/define.ts";
import { elementType, encodeModel } from "../src/onnx/proto.ts";
import { OnnxWriter, tensorProto } from "../src/onnx/writer.ts";

/** Where onnxruntime's own operators are. */
export const MICROSOFT = "com.microsoft";

/** A layer of `examples/moe_layers.model` with softmax scores that are not divided by their sum: `x` [T, dim] to `y`. */
export class MoeWriter {
  readonly w = new OnnxWriter({}, new Map());
  readonly k: number;
  readonly tokens: number;
  readonly dim: number;
  readonly experts: number;
  /** Gate and up [E, hidden, dim], down [E, dim, hidden]. */
  readonly stacks: readonly Tensor[];
  readonly #graph: Graph;
  readonly #weights: (key: string) => Tensor;

  constructor(graph: Graph, weights: (key: string) => Tensor, tokens: number) {
    const route = graph.nodes.find((n) => n.op.name === "route")!;
    this.k = constantOf(dimOf(route.attrs, "k"))!;
    this.tokens = tokens;
    [this.experts, this.dim] = weights("gate.weight").shape as [number, number];
    this.#graph = graph;
    this.#weights = weights;
    this.stacks = this.#named("experts.*");
  }

  /** Logits of the router, [T, E]. */
  logits(): string {
    return this.w.node("MatMul", ["x", this.#matrix("gate", this.#weights("gate.weight"))]);
  }

  /** The largest scores of each token and whose they are, [T, k]. */
  chosen(logits = this.logits()): { readonly best: string; readonly ids: string } {
    const scores = this.w.node("Softmax", [logits], { axis: { int: -1 } });
    const [best, ids] = this.w.outputs("TopK", [scores, this.w.integers([this.k])], 2, { axis: { int: -1 } });
    return { best: best!, ids: ids! };
  }

  /** A gated network on rows; weights as a checkpoint has them. */
  network(x: string, names: string, tensors: readonly Tensor[]): string {
    const { w } = this;
    const [gate, up, down] = tensors.map((t, i) => this.#matrix(`${names}.${i}`, t));
    const a = w.node("MatMul", [x, gate!]);
    const hidden = w.node("Mul", [w.node("Mul", [a, w.node("Sigmoid", [a])]), w.node("MatMul", [x, up!])]);
    return w.node("MatMul", [hidden, down!]);
  }

  /** Of all tokens; undefined where there are no shared experts. */
  shared(): string | undefined {
    const has = this.#graph.weights.some((x) => x.key.startsWith("shared_experts."));
    return has ? this.network("x", "shared", this.#named("shared_experts")) : undefined;
  }

  zeros(): string {
    const zero = tensorProto({ dtype: "f32", shape: [1], data: new Float32Array(1) });
    const shape = this.w.integers([this.tokens, this.dim]);
    return this.w.node("ConstantOfShape", [shape], { value: { tensor: zero } });
  }

  /** The model whose result is `y`. */
  finish(y: string): Uint8Array {
    const { w, tokens, dim } = this;
    w.alias(y, "y");
    const shape = { dim: [{ dimValue: tokens }, { dimValue: dim }] };
    const info = (name: string) => ({ name, type: { tensorType: { elemType: elementType.f32, shape } } });
    return encodeModel({
      irVersion: 8,
      opsetImport: [{ version: 18 }, { domain: MICROSOFT, version: 1 }],
      producerName: "tokenloom-bench",
      graph: {
        name: "experts",
        node: w.nodes,
        initializer: w.initializers,
        input: [info("x")],
        output: [info("y")],
      },
    });
  }

  #named(scope: string): readonly Tensor[] {
    return ["gate", "up", "down"].map((part) => this.#weights(`${scope}.${part}_proj.weight`));
  }

  /** Stored for a product from the left. */
  #matrix(name: string, t: Tensor): string {
    const [out, into] = t.shape as [number, number];
    const data = new Float32Array(out * into);
    for (let o = 0; o < out; o++) for (let i = 0; i < into; i++) data[i * out + o] = t.data[o * into + i]!;
    return this.w.initializer(name, tensorProto({ dtype: "f32", shape: [into, out], data }));
  }
}

/** One matrix of a stack. */
export function stackAt({ dtype, shape, data }: Tensor, at: number): Tensor {
  const [, ...inner] = shape;
  const size = inner.reduce((a, b) => a * b, 1);
  return { dtype, shape: inner, data: data.slice(at * size, (at + 1) * size) };
}
