// An ONNX file with all of its f32 in f16, as converters for f16 inference make it: what other runtimes are given where we store in f16.
// Inputs and outputs keep their types. Numbers beyond f16 become its largest ones.

import {
  attributeType,
  decodeModel,
  elementType,
  encodeModel,
  type AttributeProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from "../src/onnx/proto.ts";
import { bitsOfNumbers } from "../src/support/half.ts";

const { f32, f16 } = elementType;
const LARGEST = 65504;

export function allInHalf(bytes: Uint8Array): Uint8Array {
  const model = decodeModel(bytes);
  const { graph } = model;
  const isWide = (x: ValueInfoProto): boolean => x.type.tensorType.elemType === f32;
  const [inputs, outputs] = [graph.input.filter(isWide), graph.output.filter(isWide)];
  const half = new Map([...inputs, ...outputs].map(({ name }) => [name, `${name}/f16`]));
  const renamed = (name: string): string => half.get(name) ?? name;
  const node = (n: NodeProto): NodeProto => ({
    ...n,
    input: n.input.map(renamed),
    output: n.output.map(renamed),
    attribute: n.attribute.map((a) => attribute(n, a)),
  });
  return encodeModel({
    ...model,
    graph: {
      ...graph,
      node: [
        ...inputs.map(({ name }) => cast(name, renamed(name), f16)),
        ...graph.node.map(node),
        ...outputs.map(({ name }) => cast(renamed(name), name, f32)),
      ],
      initializer: graph.initializer.map(narrowed),
    },
  });
}

const cast = (from: string, to: string, type: number): NodeProto => ({
  name: `${to}/Cast`,
  opType: "Cast",
  input: [from],
  output: [to],
  attribute: [{ name: "to", type: attributeType.int, i: type }],
});

function attribute(n: NodeProto, a: AttributeProto): AttributeProto {
  if (a.t) return { ...a, t: narrowed(a.t) };
  return n.opType === "Cast" && a.name === "to" && a.i === f32 ? { ...a, i: f16 } : a;
}

function narrowed(t: TensorProto): TensorProto {
  if (t.dataType !== f32) return t;
  // A copy: the bytes lie anywhere in those of the file, and floats begin at multiples of four. Not `slice`, which shares in Buffer.
  const values = new Float32Array(new Uint8Array(t.rawData).buffer);
  const finite = (x: number): number => (Number.isFinite(x) ? Math.min(Math.max(x, -LARGEST), LARGEST) : x);
  return { ...t, dataType: f16, rawData: new Uint8Array(bitsOfNumbers(values.map(finite)).buffer) };
}
