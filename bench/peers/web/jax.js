// jax-js on its WebGPU backend: PoolFormer-S12 in its own API, the whole network under one `jit`, NCHW, which its convolutions take.
// Its arrays are counted by hand: a use frees the array unless it is passed as `x.ref`.

import { defaultDevice, init, jit, lax, nn, numpy as np } from "@jax-js/jax";

export async function prepare({ weights, inputs, settle, step }) {
  const devices = await init("webgpu");
  if (!devices.includes("webgpu")) throw new Error("jax-js finds no WebGPU adapter");
  defaultDevice("webgpu");
  const of = ({ data, shape }) => np.array(Float32Array.from(data), { shape });
  const w = await step("weights", () => each(weights, of));
  const network = jit(poolformer);
  const run = async () => {
    const y = network(
      each(w, (x) => x.ref),
      of(inputs.image),
    );
    const { shape } = y;
    return { logits: { dtype: "f32", shape, data: await settle(y.data()) } };
  };
  await step("first run", run);
  return { run };
}

const each = (record, f) => Object.fromEntries(Object.entries(record).map(([key, x]) => [key, f(x)]));

function poolformer(w, image) {
  const channels = (key) => w[key].reshape([-1, 1, 1]);
  const conv = (x, at, stride, pad) => {
    const padding = [0, 1].map(() => [pad, pad]);
    const y = lax.convGeneralDilated(x, w[`${at}.weight`], [stride, stride], padding);
    return y.add(channels(`${at}.bias`));
  };
  // A product takes 0.5 to 0.8 of the processor time of its convolution by 1x1. A matrix without a batch dimension is not broadcast.
  const pointwise = (x, at) => {
    const [batch, inner, ...sizes] = x.shape;
    const matrix = w[`${at}.weight`];
    const outer = matrix.shape[0];
    const y = np.matmul(matrix.reshape([1, outer, inner]), x.reshape([batch, inner, sizes[0] * sizes[1]]));
    return y.reshape([batch, outer, ...sizes]).add(channels(`${at}.bias`));
  };
  const norm = (x, at) => {
    const y = nn.standardize(x, [1, 2, 3]);
    return y.mul(channels(`${at}.weight`)).add(channels(`${at}.bias`));
  };
  let x = conv(image, "stem.conv", 4, 2);
  [2, 2, 6, 2].forEach((depth, i) => {
    if (i > 0) x = conv(x, `stages.${i}.downsample.conv`, 2, 1);
    for (let j = 0; j < depth; j++) {
      const at = `stages.${i}.blocks.${j}`;
      let y = norm(x.ref, `${at}.norm1`);
      y = averagePool(y.ref).sub(y);
      x = x.add(y.mul(channels(`${at}.layer_scale1.scale`)));
      y = pointwise(norm(x.ref, `${at}.norm2`), `${at}.mlp.fc1`);
      y = pointwise(nn.gelu(y, { approximate: false }), `${at}.mlp.fc2`);
      x = x.add(y.mul(channels(`${at}.layer_scale2.scale`)));
    }
  });
  const normed = nn.standardize(x.mean([2, 3]), -1, { epsilon: 1e-6 });
  const last = normed.mul(w["head.norm.weight"]).add(w["head.norm.bias"]);
  return np.matmul(last, np.transpose(w["head.fc.weight"])).add(w["head.fc.bias"]);
}

/** Over windows of 3 x 3, of the positions that exist. */
function averagePool(x) {
  const [, , height, width] = x.shape;
  const share = (n) => np.array(Array.from({ length: n }, (_, i) => 1 / (3 - (i === 0) - (i === n - 1))));
  const padding = [0, 0, 1, 1].map((n) => [n, n]);
  const sums = lax.reduceWindow(np.pad(x, padding), (window) => np.sum(window), [3, 3]);
  return sums.mul(share(height).reshape([height, 1])).mul(share(width));
}
