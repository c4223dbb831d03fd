// The part of ONNX's ModelProto that an exported graph needs, as a schema for protobufjs: bytes out, and bytes back in for whoever
// looks inside. Field names and numbers are those of onnx.proto (IR version 8). Knows nothing of our graphs.

import protobuf from "protobufjs/light.js";
import type { DType } from "../ir/types.ts";

/** Values of onnx.TensorProto.DataType. */
export const elementType = {
  f32: 1,
  i32: 6,
  i64: 7,
  bool: 9,
  f16: 10,
  u32: 12,
  i8: 3,
  i4: 22,
} as const satisfies Record<DType | "i64", number>;

/** Values of onnx.AttributeProto.AttributeType. */
export const attributeType = { float: 1, int: 2, string: 3, tensor: 4, floats: 6, ints: 7 } as const;

export interface TensorProto {
  readonly name?: string;
  readonly dims: readonly number[];
  readonly dataType: number;
  readonly rawData: Uint8Array;
}

export interface AttributeProto {
  readonly name: string;
  readonly type: number;
  readonly f?: number;
  readonly i?: number;
  readonly s?: Uint8Array;
  readonly t?: TensorProto;
  readonly floats?: readonly number[];
  readonly ints?: readonly number[];
}

export interface NodeProto {
  readonly name: string;
  readonly opType: string;
  /** Absent: ONNX's own operators. */
  readonly domain?: string;
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly attribute: readonly AttributeProto[];
  /** The line of the model that the node comes from. */
  readonly docString?: string;
}

export interface DimensionProto {
  readonly dimValue?: number;
  readonly dimParam?: string;
}

export interface ValueInfoProto {
  readonly name: string;
  readonly type: {
    readonly tensorType: {
      readonly elemType: number;
      readonly shape: { readonly dim: readonly DimensionProto[] };
    };
  };
  readonly docString?: string;
}

export interface GraphProto {
  readonly name: string;
  readonly node: readonly NodeProto[];
  readonly initializer: readonly TensorProto[];
  readonly input: readonly ValueInfoProto[];
  readonly output: readonly ValueInfoProto[];
}

export interface ModelProto {
  readonly irVersion: number;
  /** No domain: ONNX's own operators. */
  readonly opsetImport: readonly { readonly domain?: string; readonly version: number }[];
  readonly producerName: string;
  readonly graph: GraphProto;
}

type Field = readonly [name: string, type: string, id: number, repeated?: "repeated"];

const message = (...fields: readonly Field[]): protobuf.IType => ({
  fields: Object.fromEntries(
    fields.map(([name, type, id, rule]) => [name, { type, id, ...(rule && { rule }) }]),
  ),
});

const root = protobuf.Root.fromJSON({
  nested: {
    ModelProto: message(
      ["irVersion", "int64", 1],
      ["opsetImport", "OperatorSetIdProto", 8, "repeated"],
      ["producerName", "string", 2],
      ["graph", "GraphProto", 7],
    ),
    OperatorSetIdProto: message(["domain", "string", 1], ["version", "int64", 2]),
    GraphProto: message(
      ["node", "NodeProto", 1, "repeated"],
      ["name", "string", 2],
      ["initializer", "TensorProto", 5, "repeated"],
      ["input", "ValueInfoProto", 11, "repeated"],
      ["output", "ValueInfoProto", 12, "repeated"],
    ),
    NodeProto: message(
      ["input", "string", 1, "repeated"],
      ["output", "string", 2, "repeated"],
      ["name", "string", 3],
      ["opType", "string", 4],
      ["attribute", "AttributeProto", 5, "repeated"],
      ["docString", "string", 6],
      ["domain", "string", 7],
    ),
    AttributeProto: message(
      ["name", "string", 1],
      ["f", "float", 2],
      ["i", "int64", 3],
      ["s", "bytes", 4],
      ["t", "TensorProto", 5],
      ["floats", "float", 7, "repeated"],
      ["ints", "int64", 8, "repeated"],
      ["type", "int32", 20],
    ),
    TensorProto: message(
      ["dims", "int64", 1, "repeated"],
      ["dataType", "int32", 2],
      ["name", "string", 8],
      ["rawData", "bytes", 9],
    ),
    ValueInfoProto: message(["name", "string", 1], ["type", "TypeProto", 2], ["docString", "string", 3]),
    TypeProto: message(["tensorType", "TypeProtoTensor", 1]),
    TypeProtoTensor: message(["elemType", "int32", 1], ["shape", "TensorShapeProto", 2]),
    TensorShapeProto: message(["dim", "DimensionProto", 1, "repeated"]),
    DimensionProto: message(["dimValue", "int64", 1], ["dimParam", "string", 2]),
  },
});

const modelType = root.lookupType("ModelProto");

export function encodeModel(model: ModelProto): Uint8Array {
  return modelType.encode(modelType.fromObject(model)).finish();
}

/** What is in the bytes; lists that are empty are there, other fields that were not written are not. */
export function decodeModel(bytes: Uint8Array): ModelProto {
  const plain = modelType.toObject(modelType.decode(bytes), { longs: Number, arrays: true });
  return plain as ModelProto;
}
