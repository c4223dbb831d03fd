// Makes examples/data/digits_linear.safetensors, the small model of examples/cascade.model: softmax regression on the pixels of the first
// half of the digits, by gradient descent on all rows at once. The second half is left to measure with. The same bits every time:
//
//   node --import tsx tools/linear-digits.ts

import { readFileSync, writeFileSync } from "node:fs";
import { tensor, type Tensor } from "../src/ir/tensor.ts";
import { memorySource } from "../src/runtime/bytes.ts";
import { openSafetensors, writeSafetensors } from "../src/runtime/safetensors.ts";

const folder = new URL("../examples/data/", import.meta.url);
const classes = 10;
const pixels = 64;
const rows = 180;
const steps = 2000;
const rate = 0.5;
/** Of the squares of the weights. */
const penalty = 1e-3;

async function read(name: string, key: string): Promise<Tensor> {
  const { value: store } = await openSafetensors(memorySource(name, readFileSync(new URL(name, folder))));
  const value = (await store?.read(key))?.value;
  if (!value) throw new Error(`${name} has no ${key}`);
  return value;
}

const images = await read("digits_test.safetensors", "images");
const labels = await read("digits_test.safetensors", "labels");
const weight = new Float64Array(classes * pixels);
const bias = new Float64Array(classes);

/** Probabilities of the classes for one image. */
function predict(row: number): Float64Array {
  const z = Float64Array.from({ length: classes }, (_, c) => {
    let sum = bias[c]!;
    for (let i = 0; i < pixels; i++) sum += weight[c * pixels + i]! * images.data[row * pixels + i]!;
    return sum;
  });
  const most = Math.max(...z);
  const e = z.map((x) => Math.exp(x - most));
  const total = e.reduce((a, b) => a + b, 0);
  return e.map((x) => x / total);
}

for (let step = 0; step < steps; step++) {
  const byWeight = weight.map((w) => penalty * w);
  const byBias = new Float64Array(classes);
  for (let row = 0; row < rows; row++) {
    const p = predict(row);
    p[labels.data[row]!]! -= 1;
    for (let c = 0; c < classes; c++) {
      byBias[c]! += p[c]! / rows;
      for (let i = 0; i < pixels; i++)
        byWeight[c * pixels + i]! += (p[c]! * images.data[row * pixels + i]!) / rows;
    }
  }
  weight.forEach((_, i) => (weight[i]! -= rate * byWeight[i]!));
  bias.forEach((_, c) => (bias[c]! -= rate * byBias[c]!));
}

const right = (from: number, to: number): string => {
  let count = 0;
  for (let row = from; row < to; row++) {
    const p = predict(row);
    if (p.indexOf(Math.max(...p)) === labels.data[row]) count++;
  }
  return `${count} of ${to - from}`;
};
console.log(`right: ${right(0, rows)} seen, ${right(rows, images.shape[0]!)} unseen`);
writeFileSync(
  new URL("digits_linear.safetensors", folder),
  writeSafetensors({
    "head.weight": tensor("f32", [classes, pixels], Array.from(weight)),
    "head.bias": tensor("f32", [classes], Array.from(bias)),
  }),
);
