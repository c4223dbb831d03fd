// All ops: one line each. To add an op, write its record in a family file and name it here.

import type { OpDefinition } from "../ir/op.ts";
import * as activation from "./activation.ts";
import * as elementwise from "./elementwise.ts";
import * as gather from "./gather.ts";
import * as logic from "./logic.ts";
import * as norm from "./norm.ts";
import { randomBits } from "./random.ts";
import * as reduce from "./reduce.ts";
import { cumsum } from "./scan.ts";
import * as shape from "./shape.ts";
import * as slice from "./slice.ts";
import * as softmax from "./softmax.ts";
import { keepTokens, pitome, tome } from "./token-reduction.ts";
import * as trigonometry from "./trigonometry.ts";
import { attention } from "./attention.ts";
import { concat } from "./concat.ts";
import { constant, iota, size } from "./constant.ts";
import { conv2d } from "./conv.ts";
import { linear, matmul } from "./linear.ts";
import { copy, group } from "./group.ts";
import { adaptiveAvgPool, adaptiveMaxPool } from "./adaptive.ts";
import { depthwiseConv2d, groupedConv2d } from "./grouped-conv.ts";
import { avgPool2d, maxPool2d } from "./pool.ts";
import { expertPlan, expertSeats, groupedLinear, takeRows } from "./experts.ts";
import { pages } from "./pages.ts";
import { packRows } from "./pack.ts";
import { dequantize, quantize } from "./quantize.ts";
import { route, topK } from "./route.ts";
import { routeTokens } from "./route-tokens.ts";
import { resize } from "./resize.ts";
import { segmentReduce } from "./segment.ts";
import { adaptiveLengths, adaptiveUnfold, unfold } from "./unfold.ts";

export const allOps: readonly OpDefinition[] = [
  constant,
  iota,
  size,
  randomBits,
  elementwise.add,
  elementwise.sub,
  elementwise.mul,
  elementwise.div,
  elementwise.pow,
  elementwise.maximum,
  elementwise.minimum,
  elementwise.neg,
  elementwise.absolute,
  elementwise.square,
  elementwise.squareRoot,
  elementwise.inverseSquareRoot,
  elementwise.exponential,
  elementwise.logarithm,
  trigonometry.sine,
  trigonometry.cosine,
  elementwise.roundDown,
  elementwise.roundUp,
  elementwise.roundNearest,
  elementwise.modulo,
  elementwise.cast,
  activation.relu,
  activation.gelu,
  activation.silu,
  activation.sigmoid,
  activation.tanh,
  activation.errorFunction,
  logic.less,
  logic.lessEqual,
  logic.greater,
  logic.greaterEqual,
  logic.equal,
  logic.notEqual,
  logic.logicalAnd,
  logic.logicalOr,
  logic.logicalNot,
  logic.where,
  shape.reshape,
  shape.transpose,
  shape.broadcastTo,
  shape.squeeze,
  shape.unsqueeze,
  slice.slice,
  concat,
  slice.pad,
  gather.gather,
  gather.takeAlongAxis,
  reduce.sum,
  reduce.mean,
  reduce.variance,
  reduce.reduceMax,
  reduce.reduceMin,
  reduce.argmax,
  cumsum,
  norm.groupNorm,
  norm.layerNorm,
  norm.rmsNorm,
  norm.batchNorm,
  softmax.softmax,
  softmax.logSoftmax,
  softmax.l2Normalize,
  linear,
  matmul,
  attention,
  conv2d,
  depthwiseConv2d,
  groupedConv2d,
  avgPool2d,
  maxPool2d,
  topK,
  tome,
  pitome,
  keepTokens,
  route,
  routeTokens,
  groupedLinear,
  packRows,
  expertPlan,
  expertSeats,
  takeRows,
  pages,
  adaptiveAvgPool,
  adaptiveMaxPool,
  unfold,
  resize,
  segmentReduce,
  adaptiveUnfold,
  adaptiveLengths,
  group,
  copy,
  quantize,
  dequantize,
];

const byName = new Map(allOps.map((op) => [op.name, op]));

export function lookupOp(name: string): OpDefinition | undefined {
  return byName.get(name);
}
