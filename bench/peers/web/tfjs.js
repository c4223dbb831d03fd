// TensorFlow.js on its WebGPU backend: PoolFormer-S12 in its own API, NHWC, as its documentation says that the backend likes it best.

import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

export async function prepare({ weights, inputs, settle, step }) {
  const tf = require("@tensorflow/tfjs");
  require("@tensorflow/tfjs-backend-webgpu");
  await tf.setBackend("webgpu");
  await tf.ready();
  const of = ({ data, shape }) => tf.tensor(Float32Array.from(data), shape);
  const w = await step("weights", () => tf.tidy(() => onDevice(tf, weights, of)));
  const image = inputs.image;
  const run = async () => {
    const y = tf.tidy(() => poolformer(tf, w, tf.transpose(of(image), [0, 2, 3, 1])));
    const data = await settle(y.data());
    const shape = y.shape;
    y.dispose();
    return { logits: { dtype: "f32", shape, data } };
  };
  await step("first run", run);
  return { run, version: tf.version.tfjs };
}

/** Kernels of convolutions become HWIO; the rest stays as it is. */
function onDevice(tf, weights, of) {
  return Object.fromEntries(
    Object.entries(weights).map(([key, t]) => [
      key,
      tf.keep(t.shape.length === 4 ? tf.transpose(of(t), [2, 3, 1, 0]) : of(t)),
    ]),
  );
}

function poolformer(tf, w, image) {
  const conv = (x, at, stride, pad) =>
    tf.add(tf.conv2d(x, w[`${at}.weight`], stride, pad, "NHWC", 1, "floor"), w[`${at}.bias`]);
  const norm = (x, at) => {
    const { mean, variance } = tf.moments(x, [1, 2, 3], true);
    const scaled = tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-5)));
    return tf.add(tf.mul(scaled, w[`${at}.weight`]), w[`${at}.bias`]);
  };
  const gelu = (x) => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1));
  let x = conv(image, "stem.conv", 4, 2);
  [2, 2, 6, 2].forEach((depth, i) => {
    if (i > 0) x = conv(x, `stages.${i}.downsample.conv`, 2, 1);
    for (let j = 0; j < depth; j++) {
      const at = `stages.${i}.blocks.${j}`;
      let y = norm(x, `${at}.norm1`);
      // "same" averages over the positions that exist.
      y = tf.sub(tf.avgPool(y, 3, 1, "same"), y);
      x = tf.add(x, tf.mul(y, w[`${at}.layer_scale1.scale`]));
      y = conv(norm(x, `${at}.norm2`), `${at}.mlp.fc1`, 1, 0);
      y = conv(gelu(y), `${at}.mlp.fc2`, 1, 0);
      x = tf.add(x, tf.mul(y, w[`${at}.layer_scale2.scale`]));
    }
  });
  const pooled = tf.mean(x, [1, 2]);
  const { mean, variance } = tf.moments(pooled, [1], true);
  const normed = tf.mul(tf.sub(pooled, mean), tf.rsqrt(tf.add(variance, 1e-6)));
  const last = tf.add(tf.mul(normed, w["head.norm.weight"]), w["head.norm.bias"]);
  return tf.add(tf.matMul(last, w["head.fc.weight"], false, true), w["head.fc.bias"]);
}
