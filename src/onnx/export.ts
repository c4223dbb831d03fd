// A graph as an ONNX file. What is exported is the graph as it was elaborated, before any pass: readable, and independent of what the
// optimizer does, so that another runtime can serve as an oracle for it. Knows how a graph is put together; ops are in op-table.ts.

import { Bug } from "../support/bug.ts";
import { error, InputError, type Diagnostic } from "../support/diagnostic.ts";
import { showLocation } from "../support/source.ts";
import { constantOf, symbolsOf } from "../ir/dim.ts";
import { GraphBuilder, typesOf, type Graph, type Node, type ValueId } from "../ir/graph.ts";
import { evaluatePrepared } from "../ir/evaluate.ts";
import type { OpLookup } from "../ir/op.ts";
import type { Tensor } from "../ir/tensor.ts";
import { bytesOf, type TensorType } from "../ir/types.ts";
import { contextOf, NoOperator } from "./context.ts";
import { finiteResults, infiniteResults, opTable, withoutOperator } from "./op-table.ts";
import {
  elementType,
  encodeModel,
  type DimensionProto,
  type ModelProto,
  type ValueInfoProto,
} from "./proto.ts";
import { OnnxWriter, tensorProto, UnknownSize, type SymbolSource } from "./writer.ts";

/** LayerNormalization came with 17; every operator written here is the same up to 17. */
const plain = { opset: 17, irVersion: 8 };
/** Integers of 4 bits, and scales of blocks. */
const withBlocks = { opset: 21, irVersion: 10 };
/** Of one protobuf message. */
const maxBytes = 2 ** 31 - 1;

export interface OnnxOptions {
  /** Numbers for dimensions; the others stay open, under their names. */
  readonly dims?: Readonly<Record<string, number>>;
  /** Ops by name: one that ONNX does not have is written as its decomposition, which may use any of them. */
  readonly lookup?: OpLookup;
}

/** The bytes of a `.onnx` file. Throws InputError with every op and size that ONNX cannot have. */
export function exportOnnx(
  graph: Graph,
  weights: (key: string) => Tensor,
  options: OnnxOptions = {},
): Uint8Array {
  checkBytes(graph);
  return encodeModel(onnxModel(graph, weights, options));
}

function onnxModel(graph: Graph, weights: (key: string) => Tensor, options: OnnxOptions): ModelProto {
  const sources = symbolSources(graph);
  const writer = new OnnxWriter(options.dims ?? {}, sources);
  const names = new Map<ValueId, string>();
  const states = graph.states.map((s) => ({ ...s, after: `${s.name}.next` }));
  const outputs = [
    ...graph.outputs.map((o) => ({ name: o.name, value: o.value })),
    ...states.map((s) => ({ name: s.after, value: s.next })),
  ];
  // Names that the caller sees come first, so that no node takes them.
  for (const x of [...graph.inputs, ...states]) names.set(x.id, writer.unique(x.name));
  for (const o of outputs) writer.unique(o.name);
  const { needed, quantized } = quantizedIn(graph, weights);
  for (const w of graph.weights) {
    if (!needed.has(w.id)) continue;
    const name = writer.unique(w.key);
    writer.initializer(name, tensorProto({ ...weights(w.key), dtype: w.type.dtype }));
    names.set(w.id, name);
  }

  const types = new Map(typesOf(graph));
  const diagnostics: Diagnostic[] = [];
  const wanted = new Map<ValueId, string>();
  for (const o of outputs) if (!wanted.has(o.value)) wanted.set(o.value, o.name);
  const infinite = infinityOf(graph.nodes);
  for (const node of graph.nodes) {
    if (!node.results.some((r) => needed.has(r.id))) continue;
    const first = writer.nodes.length;
    writer.at(node.scope, node.spans[0] ? showLocation(node.spans[0]) : "");
    if (node.op.name === "quantize") {
      for (const [i, r] of node.results.entries()) {
        const name = writer.unique(`${String(node.attrs["of"])}.${node.op.results[i]!}`);
        names.set(r.id, writer.initializer(name, tensorProto(quantized.get(r.id)!)));
      }
      continue;
    }
    const problem = translate(writer, node, names, types, infinite, options.lookup);
    if (problem) {
      diagnostics.push(problem);
      // Later nodes are looked at all the same: the name stands for what is missing.
      for (const r of node.results) names.set(r.id, `missing ${r.id}`);
    }
    for (const r of node.results) {
      const name = wanted.get(r.id);
      const made = names.get(r.id)!;
      if (name !== undefined && writer.rename(first, made, name)) names.set(r.id, name);
      addSources(sources, names.get(r.id)!, r.type);
    }
  }
  if (diagnostics.length > 0) throw new InputError(diagnostics);

  writer.at("", "");
  for (const o of outputs) {
    const name = names.get(o.value);
    if (name === undefined) throw new Bug(`output ${o.name} has no value`);
    // A value under two names, or one that is an input or a constant.
    if (name !== o.name) writer.alias(name, o.name);
  }

  if (quantized.size > 0) writer.axesAsInputs();
  const { opset, irVersion } = quantized.size > 0 ? withBlocks : plain;
  const info = (name: string, type: TensorType): ValueInfoProto => valueInfo(writer, name, type);
  return {
    irVersion,
    opsetImport: [{ version: opset }],
    producerName: "tokenloom",
    graph: {
      name: graph.name,
      node: writer.nodes,
      initializer: writer.initializers,
      input: [...graph.inputs, ...states].map((x) => info(names.get(x.id)!, x.type)),
      output: outputs.map((o) => info(o.name, types.get(o.value)!)),
    },
  };
}

/** The integers and scales of a graph behind `quantize-weights`, and the values that are written: not what they are made of. */
function quantizedIn(
  graph: Graph,
  weights: (key: string) => Tensor,
): { readonly needed: ReadonlySet<ValueId>; readonly quantized: ReadonlyMap<ValueId, Tensor> } {
  const isMade = (n: Node): boolean => n.op.name === "quantize";
  const made = graph.nodes.filter(isMade).flatMap((n) => n.results.map((r) => r.id));
  if (made.length === 0)
    return { needed: new Set(typesOf(graph).keys()), quantized: new Map<ValueId, Tensor>() };
  const needed = new Set<ValueId>([
    ...graph.inputs.map((x) => x.id),
    ...graph.states.flatMap((s) => [s.id, s.next]),
    ...graph.outputs.map((o) => o.value),
  ]);
  for (const n of [...graph.nodes].reverse())
    if (!isMade(n) && n.results.some((r) => needed.has(r.id))) for (const x of n.inputs) needed.add(x);
  return { needed, quantized: evaluatePrepared(graph, weights, made) };
}

/** Adds the nodes of one op, or says why that cannot be. */
function translate(
  writer: OnnxWriter,
  node: Node,
  names: Map<ValueId, string>,
  types: Map<ValueId, TensorType>,
  infinite: (id: ValueId) => boolean,
  lookup: OpLookup | undefined,
): Diagnostic | undefined {
  const table = Object.hasOwn(opTable, node.op.name) ? opTable[node.op.name] : undefined;
  try {
    if (table) {
      const made = [table(contextOf(writer, node, names, types, infinite))].flat();
      node.results.forEach((r, i) => names.set(r.id, made[i]!));
      return undefined;
    }
    const { lowering } = node.op;
    const decompose = "decompose" in lowering ? lowering.decompose : undefined;
    if (decompose && lookup) return expand(writer, node, decompose, names, types, lookup);
    const why = Object.hasOwn(withoutOperator, node.op.name) ? `: ${withoutOperator[node.op.name]}` : "";
    throw new NoOperator(`ONNX has no operator for it${why}`);
  } catch (e) {
    if (e instanceof NoOperator) {
      const [symbol] = e.open ? symbolsOf(e.open) : [];
      return problemAt(node, symbol === undefined ? "onnx.operator" : "onnx.dimension", e.message, symbol);
    }
    if (e instanceof UnknownSize)
      return problemAt(node, "onnx.dimension", `no axis of an input says what ${e.symbol} is`, e.symbol);
    throw e;
  }
}

/** An op that is defined by other ops: those are written instead. */
function expand(
  writer: OnnxWriter,
  node: Node,
  decompose: (
    b: GraphBuilder,
    inputs: readonly (ValueId | undefined)[],
    attrs: Node["attrs"],
  ) => readonly ValueId[],
  names: Map<ValueId, string>,
  types: Map<ValueId, TensorType>,
  lookup: OpLookup,
): Diagnostic | undefined {
  const builder = new GraphBuilder(node.op.name, lookup);
  const inner = new Map<ValueId, string>();
  const innerTypes = new Map<ValueId, TensorType>();
  const inputs = node.inputs.map((id, i) => {
    if (id === "") return undefined;
    const local = builder.declare(`%input${i}`, types.get(id)!);
    inner.set(local, names.get(id)!);
    innerTypes.set(local, types.get(id)!);
    return local;
  });
  const results = decompose(builder, inputs, node.attrs);
  for (const made of builder.nodes) {
    for (const r of made.results) innerTypes.set(r.id, r.type);
    const problem = translate(
      writer,
      { ...made, spans: node.spans, scope: node.scope },
      inner,
      innerTypes,
      () => true,
      lookup,
    );
    if (problem) return problem;
  }
  node.results.forEach((r, i) => names.set(r.id, inner.get(results[i]!)!));
  return undefined;
}

function problemAt(node: Node, code: string, reason: string, symbol?: string): Diagnostic {
  const at = node.spans[0];
  return error(code, `${node.op.name} cannot be written in ONNX: ${reason}`, {
    notes: at ? [{ message: `${node.op.name} is at ${showLocation(at)}` }] : [],
    help: symbol === undefined ? undefined : `fix it with --dim ${symbol}=NUMBER`,
  });
}

/** Where each symbol can be read when the graph runs: of those of the inputs here, of others once what has them is made. */
function symbolSources(graph: Graph): Map<string, SymbolSource> {
  const sources = new Map<string, SymbolSource>();
  for (const input of graph.inputs) addSources(sources, input.name, input.type);
  return sources;
}

function addSources(sources: Map<string, SymbolSource>, name: string, type: TensorType): void {
  type.shape.forEach((d, axis) => {
    if (constantOf(d) === undefined && !sources.has(d.key)) sources.set(d.key, { input: name, axis });
  });
}

/** Values that could hold an infinity: what comes from outside does, until an op makes it finite. Weights are taken for finite. */
function infinityOf(nodes: readonly Node[]): (id: ValueId) => boolean {
  const finite = new Set<ValueId>();
  const isFinite = (id: ValueId) => id === "" || id.startsWith("$") || finite.has(id);
  for (const { op, attrs, inputs, results } of nodes) {
    const stays =
      op.name === "constant"
        ? Number.isFinite(attrs["value"])
        : inputs.length > 0 && inputs.every(isFinite) && !infiniteResults.has(op.name);
    if (stays || finiteResults.has(op.name)) for (const r of results) finite.add(r.id);
  }
  return (id) => !finite.has(id);
}

function valueInfo(writer: OnnxWriter, name: string, type: TensorType): ValueInfoProto {
  const dim = type.shape.map((d): DimensionProto => {
    const fixed = writer.fix(d);
    const value = constantOf(fixed);
    return value === undefined ? { dimParam: fixed.key } : { dimValue: value };
  });
  return { name, type: { tensorType: { elemType: elementType[type.dtype], shape: { dim } } } };
}

function checkBytes(graph: Graph): void {
  const bytes = graph.weights.reduce(
    (sum, w) => sum + w.type.shape.reduce((n, d) => n * (constantOf(d) ?? 1), bytesOf[w.type.dtype]),
    0,
  );
  if (bytes > maxBytes)
    throw new InputError([
      error(
        "onnx.size",
        `the weights take ${(bytes / 2 ** 30).toFixed(1)} GiB, and an ONNX file holds less than 2`,
      ),
    ]);
}
