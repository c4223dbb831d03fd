// Kernels as text with data, together using every expression and statement. Each is read, printed, verified, interpreted, and
// run on the GPU; interpreter and GPU must agree, bit for bit where no tolerance is given.

import type { KernelBuffer } from "../../src/codegen/interpret.ts";
import { halfToBits } from "../../src/support/half.ts";

export interface BatteryCase {
  readonly name: string;
  /** After `kernel @name `: the header and body. `SUBGROUP` stands for the adapter's subgroup size. */
  readonly text: string;
  readonly workgroups?: readonly [number, number, number];
  readonly params?: Readonly<Record<string, number>>;
  readonly buffers: () => Readonly<Record<string, KernelBuffer>>;
  /** Relative, and absolute below 1. */
  readonly tolerance?: number;
  readonly needsHalf?: boolean;
}

const floats = (...values: number[]): Float32Array => Float32Array.from(values);
const ints = (...values: number[]): Int32Array => Int32Array.from(values);
const uints = (...values: number[]): Uint32Array => Uint32Array.from(values);
const ramp = (n: number, f: (i: number) => number): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => f(i));
const halves = (n: number, f: (i: number) => number): Uint16Array =>
  Uint16Array.from({ length: n }, (_, i) => halfToBits(f(i)));

const awkwardInts = [
  0, 1, -1, 2, -2, 7, -7, 31, 32, 33, 1000003, -1000003, 0x7fffffff, -0x80000000, 0x55555555, 12345,
];
const awkwardFloats = [
  0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 3, -3.75, 1e-3, 100.25, -8388607.5, 0.49999997, 1e9, -1e10, 6,
];

export const battery: readonly BatteryCase[] = [
  {
    name: "integers_wrap",
    text: `workgroup(16, 1, 1) {
  buffer a: read i32
  buffer b: read u32
  buffer x: write i32
  buffer y: write u32
  let i = local
  let p = a[i]
  let q = a[15 - i]
  x[i * 10] = p + q
  x[i * 10 + 1] = p - q
  x[i * 10 + 2] = p * q
  x[i * 10 + 3] = p / q
  x[i * 10 + 4] = p % q
  x[i * 10 + 5] = -p
  x[i * 10 + 6] = abs(p) + sign(q)
  x[i * 10 + 7] = (p & q) ^ (p | 255i)
  x[i * 10 + 8] = (p << 3i) + (q >> 5i)
  x[i * 10 + 9] = min(p, q) - max(p, q)
  let s = b[i]
  let t = b[15 - i]
  y[i * 10] = s + t * 2654435761
  y[i * 10 + 1] = s - t
  y[i * 10 + 2] = s / t
  y[i * 10 + 3] = s % t
  y[i * 10 + 4] = (s << (t & 31)) | (t >> 7)
  y[i * 10 + 5] = s << t
  y[i * 10 + 6] = s >> t
  y[i * 10 + 7] = min(s, t) ^ max(s, t)
  y[i * 10 + 8] = u32(p) + u32(a[3] < p)
  y[i * 10 + 9] = select(s < t && (s & 1) == 0 || t == 7, s, t)
}`,
    buffers: () => ({
      a: ints(...awkwardInts),
      b: uints(...awkwardInts.map((v) => v >>> 0)),
      x: new Int32Array(160),
      y: new Uint32Array(160),
    }),
  },
  {
    name: "float_rounding",
    text: `workgroup(16, 1, 1) {
  buffer a: read f32
  buffer x: write f32
  let p = a[local]
  let q = a[15 - local]
  let at = local * 16
  x[at] = p + q
  x[at + 1] = p - q
  x[at + 2] = p * q
  x[at + 3] = -p
  x[at + 4] = abs(p)
  x[at + 5] = sign(p)
  x[at + 6] = floor(p)
  x[at + 7] = ceil(p)
  x[at + 8] = round(p)
  x[at + 9] = trunc(p)
  x[at + 10] = min(p, q)
  x[at + 11] = max(p, q)
  x[at + 12] = select(p < q, p * 3.0, 0.1 - q)
  x[at + 13] = p - (q - (p - q))
  x[at + 14] = (p + q) * (p - 1e-7)
  x[at + 15] = -(-p) - -q
}`,
    buffers: () => ({ a: floats(...awkwardFloats), x: new Float32Array(256) }),
  },
  {
    name: "transcendental",
    text: `workgroup(16, 1, 1) {
  buffer a: read f32
  buffer x: write f32
  let p = a[local]
  let at = local * 16
  x[at] = exp(p)
  x[at + 1] = exp2(p)
  x[at + 2] = log(abs(p) + 0.1)
  x[at + 3] = log2(abs(p) + 0.1)
  x[at + 4] = sqrt(abs(p))
  x[at + 5] = rsqrt(abs(p) + 0.1)
  x[at + 8] = tanh(p)
  x[at + 9] = pow(abs(p) + 0.1, 1.7)
  x[at + 10] = p / 3.0
  x[at + 11] = fma(p, p, -0.5)
  x[at + 12] = 7.5 % (abs(p) + 0.25)
}`,
    buffers: () => ({ a: ramp(16, (i) => (i - 8) * 0.37), x: new Float32Array(256) }),
    tolerance: 2e-6,
  },
  {
    name: "trigonometry",
    text: `workgroup(16, 1, 1) {
  buffer a: read f32
  buffer x: write f32
  x[local * 2] = sin(a[local])
  x[local * 2 + 1] = cos(a[local])
}`,
    buffers: () => ({ a: ramp(16, (i) => (i - 8) * 0.37), x: new Float32Array(32) }),
    // WGSL asks for no more than this, and SwiftShader gives little more.
    tolerance: 2 ** -11,
  },
  {
    name: "casts",
    text: `workgroup(16, 1, 1) {
  buffer a: read f32
  buffer b: read i32
  buffer x: write i32
  buffer y: write u32
  buffer z: write f32
  let p = a[local]
  let q = b[local]
  x[local * 4] = i32(p)
  x[local * 4 + 1] = bitcast<i32>(p)
  x[local * 4 + 2] = i32(u32(q))
  x[local * 4 + 3] = i32(p > 1.0)
  y[local * 4] = u32(p)
  y[local * 4 + 1] = bitcast<u32>(p)
  y[local * 4 + 2] = u32(q)
  y[local * 4 + 3] = u32(bool(q))
  z[local * 4] = f32(q)
  z[local * 4 + 1] = f32(u32(q))
  z[local * 4 + 2] = f32(!bool(p))
  z[local * 4 + 3] = bitcast<f32>(bitcast<u32>(p) ^ 2147483648)
}`,
    buffers: () => ({
      a: floats(...awkwardFloats),
      b: ints(...awkwardInts),
      x: new Int32Array(64),
      y: new Uint32Array(64),
      z: new Float32Array(64),
    }),
  },
  {
    name: "vectors",
    text: `workgroup(4, 1, 1) {
  param scale: f32
  buffer a: read vec4<f32>
  buffer b: read vec2<f32>
  buffer x: write vec4<f32>
  buffer y: write vec2<u32>
  let p = a[local]
  let q = vec4(b[local].x, b[local].y, scale, p.w)
  x[local * 6] = p * q + vec4<f32>(0.5)
  x[local * 6 + 1] = vec4(p[local]) - vec4(p.y)
  x[local * 6 + 2] = select(p < q && !(q > vec4<f32>(1.0)), min(p, q), max(p, q))
  x[local * 6 + 3] = select(local == 2, p, -q)
  x[local * 6 + 4] = fma(p, q, vec4(scale))
  x[local * 6 + 5] = f32(u32(abs(p))) * floor(q)
  y[local] = vec2(local, 7) << vec2<u32>(2) | vec2(1, local) % vec2<u32>(3)
}`,
    params: { scale: 0.25 },
    buffers: () => ({
      a: ramp(16, (i) => i * 0.5 - 3),
      b: ramp(8, (i) => 2 - i),
      x: new Float32Array(96),
      y: new Uint32Array(8),
    }),
  },
  {
    name: "booleans",
    text: `workgroup(8, 1, 1) {
  buffer a: read bool
  buffer b: read vec2<bool>
  buffer x: write bool
  buffer y: write vec2<bool>
  shared flags: bool[8]
  flags[local] = a[local] == (local < 5)
  barrier
  let f = flags[7 - local]
  x[local] = f && a[local] || !f != true
  y[local] = b[local] == vec2(f, a[local]) || vec2<bool>(false)
}`,
    buffers: () => ({
      a: uints(1, 0, 0, 1, 1, 0, 7, 1),
      b: uints(1, 0, 0, 1, 1, 1, 0, 0, 1, 0, 1, 1, 0, 1, 2, 0),
      x: new Uint32Array(8),
      y: new Uint32Array(16),
    }),
  },
  {
    name: "loops_diverge",
    text: `workgroup(8, 2, 1) {
  param n: u32
  live param most: u32
  live param least: u32
  buffer x: read_write i32
  var sum: i32 = 0i
  var limit: u32 = local % n
  for i in least..limit step 2 {
    for j in -2i..i32(i) {
      if j == 1i {
        sum = sum + 100i
      } else if j < 0i {
        sum = sum - j
      } else {
        sum = sum * 3i
      }
    }
    limit = 0
    sum = sum + i32(most)
  }
  x[workgroup_z * 48 + (workgroup_y * 3 + workgroup_x) % 3 * 16 + local] = sum
}`,
    workgroups: [3, 1, 2],
    params: { n: 11, most: 5, least: 1 },
    buffers: () => ({ x: new Int32Array(96) }),
  },
  {
    name: "early_return",
    text: `workgroup(16, 1, 1) {
  param n: u32
  buffer x: read_write u32
  let at = workgroup_x * 16 + local
  if at >= n {
    return
  }
  for i in 0..10 {
    if i * i > at {
      x[at] = i
      return
    }
  }
  x[at] = 99
}`,
    workgroups: [9, 1, 1],
    params: { n: 133 },
    buffers: () => ({ x: new Uint32Array(133) }),
  },
  {
    name: "tree_sum",
    text: `workgroup(64, 1, 1) {
  buffer a: read f32
  buffer x: write f32
  shared tile: f32[64]
  var sum: f32 = 0.0
  for i in local..256 step 64 { sum = sum + a[workgroup_x * 256 + i] }
  tile[local] = sum
  barrier
  for level in 0..6 {
    let half = 32 >> level
    if local < half { tile[local] = tile[local] + tile[local + half] }
    barrier
  }
  if local == 0 { x[workgroup_x] = tile[0] }
}`,
    workgroups: [2, 1, 1],
    buffers: () => ({ a: ramp(512, (i) => (i % 29) - 14), x: new Float32Array(2) }),
  },
  {
    name: "shared_vectors",
    text: `workgroup(8, 1, 1) {
  buffer a: read vec4<f32>
  buffer x: write vec4<f32>
  shared tile: vec4<f32>[8]
  shared order: u32[8]
  tile[local] = a[local]
  order[local] = (local * 3 + 1) % 8
  barrier
  x[local] = tile[order[local]]
}`,
    buffers: () => ({ a: ramp(32, (i) => i), x: new Float32Array(32) }),
  },
  {
    name: "subgroups",
    text: `workgroup(32, 1, 1) subgroup(SUBGROUP) {
  buffer a: read f32
  buffer v: read vec4<f32>
  buffer x: write f32
  buffer y: write u32
  buffer z: write vec4<f32>
  let p = a[local]
  let at = local * 6
  x[at] = subgroup_add(p)
  x[at + 1] = subgroup_max(p * 2.0)
  x[at + 2] = subgroup_min(p) + broadcast(p, 3)
  x[at + 3] = shuffle(p, 3 - lane % 4)
  x[at + 4] = shuffle_xor(p, 2)
  y[local * 3] = lane
  y[local * 3 + 1] = subgroup
  y[local * 3 + 2] = subgroup_add(u32(p > 0.0)) + broadcast(lane * 10, 1)
  z[local] = broadcast(v[local], 2) + shuffle_xor(v[local], 1) + subgroup_max(v[local])
  if subgroup == 1 {
    x[at + 5] = subgroup_add(f32(lane))
  }
}`,
    buffers: () => ({
      a: ramp(32, (i) => ((i * 7) % 13) - 6),
      v: ramp(128, (i) => (i * 5) % 31),
      x: new Float32Array(192),
      y: new Uint32Array(96),
      z: new Float32Array(128),
    }),
  },
  {
    name: "matmul_by_lanes",
    text: `workgroup(SUBGROUP, 1, 1) subgroup(SUBGROUP) {
  param K: u32
  param N: u32
  buffer a: read vec4<f32>
  buffer b: read vec4<f32>
  buffer c: write vec4<f32>
  var s0: vec4<f32> = vec4<f32>(0.0)
  var s1: vec4<f32> = vec4<f32>(0.0)
  for k in 0..K {
    let mine = a[k + lane % 4]
    let row = broadcast(mine, 0)
    let column = b[k * N + lane]
    s0 = fma(vec4(row.x), column, s0)
    s1 = fma(vec4(broadcast(mine, 1).y), column, s1)
  }
  c[lane] = s0
  c[N + lane] = s1
}`,
    params: { K: 6, N: 8 },
    buffers: () => ({
      a: ramp(64, (i) => (i % 7) - 3),
      b: ramp(400, (i) => (i % 11) - 5),
      c: new Float32Array(400),
    }),
  },
  {
    name: "non_finite",
    text: `workgroup(4, 1, 1) {
  buffer a: read f32
  buffer x: write u32
  var most: f32 = -inf
  for i in 0..4 { most = max(most, a[i]) }
  x[local * 4] = bitcast<u32>(most)
  x[local * 4 + 1] = bitcast<u32>(select(local == 1, inf, -inf))
  x[local * 4 + 2] = u32(a[local] < inf)
  x[local * 4 + 3] = bitcast<u32>(select(local == 9, nan, a[local])) + u32(0.0 * a[local] == nan)
}`,
    buffers: () => ({ a: floats(-5, 3, 2, -1), x: new Uint32Array(16) }),
  },
  {
    name: "constants_fold",
    text: `workgroup(1, 1, 1) {
  buffer x: write f32
  buffer y: write i32
  buffer z: write u32
  x[0] = 0.1 + 0.2
  x[1] = (1.0 + 1e-9) * 16777217.0
  x[2] = 1e-45
  x[3] = 3.4028234663852886e38
  x[4] = -0.0
  x[5] = vec4(1.0, 2.0, 3.0, 4.0)[local + 2]
  x[6] = 1.1754943508222875e-38
  x[7] = 123456789.0
  y[0] = 2147483647i + 1i
  y[1] = -2147483648i
  y[2] = -(-2147483648i)
  y[3] = -7i / 2i
  y[4] = -7i % 2i
  z[0] = 0 - 1
  z[1] = u32(-1.0)
  z[2] = 4294967295 * 4294967295
  z[3] = u32(1e20)
}`,
    buffers: () => ({ x: new Float32Array(8), y: new Int32Array(5), z: new Uint32Array(4) }),
  },
  {
    name: "lazy_logic",
    text: `workgroup(8, 1, 1) {
  param n: u32
  buffer a: read i32
  buffer x: write u32
  let i = local + workgroup_x
  if i < n && a[i] > 0i && (a[i] % 2i == 0i || i == 3) { x[i] = 1 } else { x[i] = u32(i >= n || a[i] == -1i) }
}`,
    params: { n: 5 },
    buffers: () => ({ a: ints(2, -1, 3, 5, 8), x: new Uint32Array(8) }),
  },
  {
    name: "halves",
    text: `workgroup(16, 1, 1) {
  buffer a: read f16
  buffer v: read vec4<f16>
  buffer x: write f16
  buffer y: write f32
  buffer z: write vec4<f16>
  shared tile: f16[16]
  let p = a[local]
  tile[local] = p * 1.5h
  barrier
  let q = tile[15 - local]
  x[local * 8] = p + q
  x[local * 8 + 1] = p * q
  x[local * 8 + 2] = p - q
  x[local * 8 + 3] = max(p, -q)
  x[local * 8 + 4] = f16(f32(p) * 0.333)
  x[local * 8 + 5] = floor(p)
  x[local * 8 + 6] = select(p < 0.0h, p, 65504.0h)
  x[local * 8 + 7] = f16(local) + select(p == q, infh, 6e-8h)
  y[local] = f32(p) + f32(q)
  z[local] = v[local % 4] * vec4(p)
}`,
    buffers: () => ({
      a: halves(16, (i) => (i - 7) * 0.375),
      v: halves(16, (i) => i * 0.25 - 1),
      x: new Uint16Array(128),
      y: new Float32Array(16),
      z: new Uint16Array(64),
    }),
    needsHalf: true,
  },
  {
    name: "names",
    text: `workgroup(1, 1, 1) {
  note "two\\nlines */ of // comment"
  loc "a \\"file\\".model":1:2-3:4
  param \`for\`: u32
  param __wgsl: u32
  buffer array: read u32
  buffer \`local\`: write u32
  let select = array[0] + \`for\`
  let _ = select + __wgsl
  let \`x y\` = _ * 2
  let x_y = min(\`x y\`, 1000)
  let main = x_y
  let params = main + 1
  let vec4f = params
  \`local\`[0] = vec4f + select(true, select, _)
}`,
    params: { for: 3, __wgsl: 4 },
    buffers: () => ({ array: uints(5), local: new Uint32Array(1) }),
  },
];

export const kernelText = (c: BatteryCase, subgroupSize: number): string =>
  `kernel @${c.name} ${c.text.replaceAll("SUBGROUP", String(subgroupSize))}\n`;
