// The kernels of the hand-made plans. Arena values are declared read_write, as the compiler does.

import type { Plan, PlanBinding, PlanKernel } from "../../src/ir/plan.ts";

type BufferInit = readonly [name: string, access: PlanBinding["access"], arena: boolean];

interface KernelInit {
  readonly name: string;
  readonly buffers: readonly BufferInit[];
  readonly params?: readonly (
    string | { readonly name: string; readonly live?: boolean; readonly scalar?: "f32" }
  )[];
  readonly element?: string;
  readonly elements?: Readonly<Record<string, string>>;
  readonly features?: PlanKernel["features"];
  /** With `i` the invocation, 64 a workgroup. */
  readonly body: string;
}

export function kernelOf(init: KernelInit): PlanKernel {
  const params = (init.params ?? []).map((p) => (typeof p === "string" ? { name: p } : p));
  const live = params.some((p) => "live" in p && p.live);
  let next = 0;
  const uniform = params.length > 0 ? next++ : undefined;
  const extents = live ? next++ : undefined;
  const buffers = init.buffers.map(([name, access, arena]) => ({ name, access, arena, binding: next++ }));
  const lines = [
    ...(init.features ?? []).map((f) => `enable ${f === "shader-f16" ? "f16" : f};`),
    ...(params.length > 0
      ? [
          `struct Params { ${params.map((p) => `${p.name}: ${"scalar" in p && p.scalar ? p.scalar : "u32"}`).join(", ")} }`,
        ]
      : []),
    ...(uniform !== undefined ? [`@group(0) @binding(${uniform}) var<uniform> params: Params;`] : []),
    ...(extents !== undefined
      ? [`@group(0) @binding(${extents}) var<storage, read> extents: array<u32>;`]
      : []),
    ...buffers.map(
      (b) =>
        `@group(0) @binding(${b.binding}) var<storage, ${b.arena || b.access !== "read" ? "read_write" : "read"}> ${b.name}: array<${init.elements?.[b.name] ?? init.element ?? "f32"}>;`,
    ),
    "@compute @workgroup_size(64)",
    "fn main(@builtin(global_invocation_id) id: vec3u) {",
    "  let i = id.x;",
    `  ${init.body}`,
    "}",
  ];
  return {
    name: init.name,
    wgsl: lines.join("\n"),
    workgroupSize: [64, 1, 1],
    features: init.features ?? [],
    ...(uniform !== undefined && { uniform: { binding: uniform, bytes: Math.ceil(params.length / 4) * 16 } }),
    ...(extents !== undefined && { extents }),
    params: params.map((p, i) => ({
      name: p.name,
      offset: 4 * i,
      scalar: "scalar" in p && p.scalar ? p.scalar : "u32",
      live: "live" in p && p.live === true,
    })),
    buffers,
  };
}

/** y = x * factor, n elements; x from outside of the arena. */
export const scaleInput = kernelOf({
  name: "scale_input",
  params: ["n", { name: "factor", scalar: "f32" }],
  buffers: [
    ["x", "read", false],
    ["y", "write", true],
  ],
  body: "if (i < params.n) { y[i] = x[i] * params.factor; }",
});

/** y = a + b, all in the arena. */
export const addValues = kernelOf({
  name: "add_values",
  params: ["n"],
  buffers: [
    ["a", "read", true],
    ["b", "read", true],
    ["y", "write", true],
  ],
  body: "if (i < params.n) { y[i] = a[i] + b[i]; }",
});

/** y = a + c[i % k]; c is a constant. */
export const addConstant = kernelOf({
  name: "add_constant",
  params: ["n", "k"],
  buffers: [
    ["a", "read", true],
    ["c", "read", false],
    ["y", "write", true],
  ],
  body: "if (i < params.n) { y[i] = a[i] + c[i % params.k]; }",
});

/** y = x + s, both from outside of the arena: an input and a state. */
export const addState = kernelOf({
  name: "add_state",
  params: ["n"],
  buffers: [
    ["x", "read", false],
    ["s", "read", false],
    ["y", "write", true],
  ],
  body: "if (i < params.n) { y[i] = x[i] + s[i]; }",
});

/** Writes how many of `all` are positive to the first live extent. */
const count = kernelOf({
  name: "count",
  params: ["rows"],
  buffers: [
    ["all", "read", false],
    ["live", "write", false],
  ],
  elements: { live: "u32" },
  body: "if (i == 0u) { var n = 0u; for (var r = 0u; r < params.rows; r++) { if (all[r] > 0.0) { n++; } } live[0] = n; }",
});

/** A plan whose first dispatch is `count`, of the input `all` with `R` rows. */
export function countingPlan(plan: Plan): Plan {
  const entry = plan.entries[0]!;
  const first = {
    kernel: plan.kernels.length,
    buffers: ["%all", "@extents"],
    params: ["R"],
    grid: ["1", "1", "1"] as const,
    locations: [],
    nodes: [],
    schedule: "by hand",
    why: "for a test",
    flops: "0",
    bytes: "0",
  };
  return {
    ...plan,
    kernels: [...plan.kernels, count],
    entries: [{ ...entry, dispatches: [first, ...entry.dispatches] }],
  };
}
