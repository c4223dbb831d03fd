// What a session does, on the adapter that TOKENLOOM_DEVICE or the caller names. Run by one test file for each adapter, as an adapter
// is chosen once in a process.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Plan } from "../../src/ir/plan.ts";
import { tensor, type Tensor, type TensorData } from "../../src/ir/tensor.ts";
import { InputError } from "../../src/support/diagnostic.ts";
import { Bug } from "../../src/support/bug.ts";
import { openDevice, type OpenedDevice } from "../../src/runtime/device-node.ts";
import { createSession } from "../../src/runtime/session.ts";
import { addConstant, addState, addValues, kernelOf, scaleInput } from "./kernels.ts";
import { dispatch, entryOf, planOf, value } from "./tiny.ts";

const GRID = ["floor((B*C + 63)/64)", "1", "1"] as const;

/** out = 2x + (3x + c), over [B, C]; c is a constant of C numbers. */
function twoStep(): { readonly plan: Plan; readonly constants: Uint8Array } {
  const entry = entryOf({
    symbols: ["B", "C"],
    inputs: [value("x", ["B", "C"])],
    values: [
      value("%twice", ["B", "C"]),
      value("%thrice", ["B", "C"]),
      value("%shifted", ["B", "C"]),
      value("%out", ["B", "C"]),
    ],
    outputs: ["%out", "%shifted"],
    dispatches: [
      dispatch(0, ["x", "%twice"], ["B*C", "2"], GRID),
      dispatch(0, ["x", "%thrice"], ["B*C", "3"], GRID),
      dispatch(1, ["%thrice", "$c", "%shifted"], ["B*C", "C"], GRID),
      dispatch(2, ["%twice", "%shifted", "%out"], ["B*C"], GRID),
    ],
  });
  const data = new Float32Array(64 + 4);
  data.set([100, 200, 300, 400], 64);
  const c = { ...value("$c", ["4"]), keys: ["c"], offset: 256, bytes: 16 };
  // A constant nobody reads lies first, so that an offset counts.
  const unused = { ...value("$unused", ["3"]), keys: ["unused"], offset: 0, bytes: 12 };
  return {
    plan: planOf([entry], [scaleInput, addConstant, addValues], [unused, c]),
    constants: new Uint8Array(data.buffer),
  };
}

const x = (B: number, from = 0): Tensor =>
  tensor(
    "f32",
    [B, 4],
    Array.from({ length: B * 4 }, (_, i) => i + from),
  );
const expected = (B: number, from = 0): number[] =>
  Array.from({ length: B * 4 }, (_, i) => 5 * (i + from) + 100 * ((i % 4) + 1));

async function diagnosticsOf(work: Promise<unknown>): Promise<readonly string[]> {
  const failure: unknown = await work.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (!(failure instanceof InputError)) throw new Error(`expected an InputError, got ${String(failure)}`);
  return failure.diagnostics.map((d) => `${d.code}: ${d.message}`);
}

/** Counts what is made on a device from now on. */
function counting(device: GPUDevice): { buffers: number; groups: number; modules: number; submits: number } {
  const counts = { buffers: 0, groups: 0, modules: 0, submits: 0 };
  const count = (target: object, method: string, name: keyof typeof counts): void => {
    const original = Reflect.get(target, method) as (...args: unknown[]) => unknown;
    Reflect.set(target, method, (...args: unknown[]) => {
      counts[name]++;
      return Reflect.apply(original, target, args);
    });
  };
  count(device, "createBuffer", "buffers");
  count(device, "createBindGroup", "groups");
  count(device, "createShaderModule", "modules");
  count(device.queue, "submit", "submits");
  return counts;
}

export function sessionSuite(wanted: string): void {
  let opened: OpenedDevice;
  let device: GPUDevice;

  beforeAll(async () => {
    opened = await openDevice({ device: wanted });
    device = opened.device;
    console.log(`session tests run on ${opened.name} (${opened.source})`);
  }, 60_000);

  afterAll(() => device?.destroy());

  describe("run", () => {
    it("computes, and counts what it did", async () => {
      const { plan, constants } = twoStep();
      const session = await createSession(device, plan, constants);
      const out = await session.run({ x: x(3) });
      expect(Object.keys(out)).toEqual(["out", "shifted"]);
      expect([...out["out"]!.data]).toEqual(expected(3));
      expect(out["out"]!.shape).toEqual([3, 4]);
      expect(session.stats).toMatchObject({
        runs: 1,
        submits: 1,
        maps: 1,
        dispatches: 4,
        kernels: 3,
        distinctKernels: 3,
        constantBytes: 272,
        arenaBytes: 3 * 256,
      });
      await session.dispose();
    });

    it("allocates nothing in the second run of the same sizes", async () => {
      const { plan, constants } = twoStep();
      const session = await createSession(device, plan, constants);
      await session.run({ x: x(2) });
      const before = session.stats.allocations;
      const counts = counting(device);
      const out = await session.run({ x: x(2, 7) });
      expect([...out["out"]!.data]).toEqual(expected(2, 7));
      expect(counts).toEqual({ buffers: 0, groups: 0, modules: 0, submits: 1 });
      expect(session.stats.allocations).toBe(before);
      await session.dispose();
    });

    it("takes other sizes: grows once, compiles nothing, and goes back for free", async () => {
      const { plan, constants } = twoStep();
      const session = await createSession(device, plan, constants);
      await session.run({ x: x(2) });
      const counts = counting(device);
      expect([...(await session.run({ x: x(300) }))["out"]!.data]).toEqual(expected(300));
      expect(counts.modules).toBe(0);
      // The small sizes have to be bound to the grown buffers; after that both are at hand.
      await session.run({ x: x(2) });
      const settled = { ...counts };
      for (const B of [300, 2, 300, 2])
        expect([...(await session.run({ x: x(B) }))["out"]!.data]).toEqual(expected(B));
      expect(counts).toEqual({ ...settled, submits: settled.submits + 4 });
      await session.dispose();
    });

    it("keeps only so many sizes bound", async () => {
      const { plan, constants } = twoStep();
      const session = await createSession(device, plan, constants);
      await session.run({ x: x(20) });
      const held = session.stats.deviceBytes;
      for (let B = 1; B <= 19; B++)
        expect([...(await session.run({ x: x(B) }))["out"]!.data]).toEqual(expected(B));
      // Eight uniform buffers of four 256-byte slots at most, one of which was there.
      expect(session.stats.deviceBytes - held).toBeLessThanOrEqual(7 * 1024);
      await session.dispose();
    });

    it("queues concurrent calls", async () => {
      const { plan, constants } = twoStep();
      const session = await createSession(device, plan, constants);
      const runs = [1, 5, 2, 5, 1].map((B, i) => session.run({ x: x(B, i) }));
      const bad = session.run({ x: tensor("f32", [1], [1]) });
      const after = session.run({ x: x(2, 9) });
      const results = await Promise.all(runs);
      [1, 5, 2, 5, 1].forEach((B, i) => expect([...results[i]!["out"]!.data]).toEqual(expected(B, i)));
      await expect(bad).rejects.toBeInstanceOf(InputError);
      expect([...(await after)["out"]!.data]).toEqual(expected(2, 9));
      await session.dispose();
      expect(await diagnosticsOf(session.run({ x: x(1) }))).toEqual([
        "session-disposed: the session has been disposed of",
      ]);
    });

    it("gives only the outputs asked for", async () => {
      const { plan, constants } = twoStep();
      const session = await createSession(device, plan, constants);
      const out = await session.run({ x: x(1) }, { outputs: ["shifted"] });
      expect(Object.keys(out)).toEqual(["shifted"]);
      expect([...out["shifted"]!.data]).toEqual([100, 203, 306, 409]);
      expect(await diagnosticsOf(session.run({ x: x(1) }, { outputs: ["shiftd"] }))).toEqual([
        "unknown-output: the model has no output shiftd",
      ]);
      await session.dispose();
    });

    it("puts outputs into memory that it is given, and only where it fits", async () => {
      const { plan, constants } = twoStep();
      const session = await createSession(device, plan, constants);
      const memory = new Float32Array(14).fill(-1);
      const into = { out: memory };
      const first = await session.run({ x: x(3) }, { into });
      expect(first["out"]!.data.buffer).toBe(memory.buffer);
      expect(first["out"]!.data.length).toBe(12);
      expect([...memory]).toEqual([...expected(3), -1, -1]);
      expect(first["shifted"]!.data.buffer).not.toBe(memory.buffer);
      await session.run({ x: x(2, 5) }, { into });
      expect([...memory]).toEqual([...expected(2, 5), ...expected(3).slice(8), -1, -1]);
      const wrong = (given: Readonly<Record<string, TensorData>>) =>
        diagnosticsOf(session.run({ x: x(4) }, { into: given, outputs: ["out"] }));
      expect(await wrong(into)).toEqual([
        "output-memory: the memory for output out holds 14 numbers, and it has 16 ([B, C])",
      ]);
      expect(await wrong({ out: new Int32Array(16), shifted: memory })).toEqual([
        "output-memory: the memory for output out is no Float32Array",
        "unknown-output: memory is given for shifted, which is no output of this run",
      ]);
      await session.dispose();
    });

    it("skips empty grids", async () => {
      const { plan, constants } = twoStep();
      const session = await createSession(device, plan, constants);
      const out = await session.run({ x: x(0) });
      expect(out["out"]!.shape).toEqual([0, 4]);
      expect(out["out"]!.data.length).toBe(0);
      expect(session.stats.dispatches).toBe(0);
      await session.dispose();
    });

    it("keeps outputs on the device, and takes them as inputs", async () => {
      const { plan, constants } = twoStep();
      const session = await createSession(device, plan, constants);
      const { out } = await session.runOnGpu({ x: x(2) }, { outputs: ["out"] });
      expect(session.stats.maps).toBe(0);
      const again = await session.run({ x: out! });
      expect([...again["out"]!.data]).toEqual(expected(2).map((v, i) => 5 * v + 100 * ((i % 4) + 1)));
      // The runs since have not touched it, nor has the end of its session.
      await session.dispose();
      expect([...(await out!.read()).data]).toEqual(expected(2));
      out!.destroy();
    });

    it("measures dispatches where the adapter can", async () => {
      const { plan, constants } = twoStep();
      const session = await createSession(device, plan, constants);
      const { outputs, nanoseconds } = await session.runWith({ x: x(3) }, { profile: true });
      expect([...outputs["out"]!.data]).toEqual(expected(3));
      expect(nanoseconds?.length).toBe(device.features.has("timestamp-query") ? 4 : undefined);
      expect(nanoseconds?.every((n) => n >= 0 && n < 60e9) ?? true).toBe(true);
      await session.dispose();
    });

    it("measures dispatches by the clock of the host where asked to: the same result, a time for each", async () => {
      const { plan, constants } = twoStep();
      const session = await createSession(device, plan, constants);
      const { outputs, nanoseconds } = await session.runWith({ x: x(3) }, { profile: "wall-clock" });
      expect([...outputs["out"]!.data]).toEqual(expected(3));
      expect(nanoseconds?.length).toBe(4);
      expect(nanoseconds!.filter((n) => n > 0).length).toBe(session.stats.dispatches);
      await session.dispose();
    });
  });

  describe("wrong inputs", () => {
    const errors = async (
      inputs: Record<string, Tensor>,
      dims?: Record<string, number>,
    ): Promise<readonly string[]> => {
      const { plan, constants } = twoStep();
      const session = await createSession(device, plan, constants);
      try {
        return await diagnosticsOf(session.run(inputs, { dims }));
      } finally {
        await session.dispose();
      }
    };
    const ones = (shape: number[]): Tensor =>
      tensor("f32", shape, new Array<number>(shape.reduce((a, b) => a * b, 1)).fill(1));

    it("names the input, the axis, what was wanted and what came", async () => {
      expect(await errors({})).toEqual(["missing-input: input x is missing"]);
      expect(await errors({ y: ones([1, 4]), x: tensor("i32", [1, 4], [1, 2, 3, 4]) })).toEqual([
        "input-dtype: input x is i32, the model wants f32",
        "unknown-input: the model has no input y",
      ]);
      expect(await errors({ x: ones([4]) })).toContain("input-rank: input x has 1 axes, the model wants 2");
      expect(await errors({ x: { dtype: "f32", shape: [2, 4], data: new Float32Array(7) } })).toEqual([
        "input-data: input x has 7 numbers for the shape [2, 4], which holds 8",
      ]);
      expect(await errors({ x: { dtype: "f32", shape: [-1, 4], data: new Float32Array(4) } })).toEqual([
        "input-shape: input x has the impossible shape [-1, 4]",
      ]);
      expect(await errors({ x: ones([1, 4]) }, { B: 2 })).toEqual([
        "dimension-conflict: B is 2 by --dim B=2 and 1 by axis 0 of x",
      ]);
      expect(await errors({ x: ones([1, 4]) }, { B: 1.5 })).toEqual([
        "bad-dimension: dimension B cannot be 1.5",
      ]);
      expect(await errors({ x: ones([1, 4]) }, { Z: 1 })).toEqual([
        "unknown-dimension: there is no dimension Z",
      ]);
    });

    it("says what is too large before allocating it", async () => {
      const { plan, constants } = twoStep();
      const session = await createSession(device, plan, constants);
      const rows = Math.floor(device.limits.maxStorageBufferBindingSize / 16) + 1;
      const huge = { dtype: "f32", shape: [rows, 4], data: { length: rows * 4 } } as unknown as Tensor;
      const before = session.stats.allocations;
      expect((await diagnosticsOf(session.run({ x: huge })))[0]).toMatch(
        /^too-large: input x takes .* the adapter allows /,
      );
      expect(session.stats.allocations).toBe(before);
      expect([...(await session.run({ x: x(1) }))["out"]!.data]).toEqual(expected(1));
      await session.dispose();
    });
  });

  it("says what there was no room for, and goes on with less", async () => {
    const { plan, constants } = twoStep();
    const session = await createSession(device, plan, constants);
    await session.run({ x: x(1) });
    const restore = withoutRoomFor(device, "the intermediate values");
    const failure: unknown = await session.run({ x: x(100) }).catch((e: unknown) => e);
    restore();
    expect((failure as InputError).diagnostics[0]).toMatchObject({
      code: "out-of-memory",
      message: "the device has no room for 5.3 KiB of the intermediate values",
      help: "4.7 KiB are alive at dispatch 2, %twice takes 1.6 KiB (tiny.model:3:5), %thrice takes 1.6 KiB (tiny.model:3:5), %shifted takes 1.6 KiB (tiny.model:3:5); run a smaller batch",
    });
    expect([...(await session.run({ x: x(1) }))["out"]!.data]).toEqual(expected(1));
    await session.dispose();
  });

  describe("constants", () => {
    it("may come as a stream of any pieces", async () => {
      const { plan, constants } = twoStep();
      for (const piece of [1, 7, 100, 1000]) {
        const session = await createSession(device, plan, async function* () {
          for (let at = 0; at < constants.length; at += piece) yield constants.subarray(at, at + piece);
        });
        expect([...(await session.run({ x: x(2) }))["out"]!.data]).toEqual(expected(2));
        await session.dispose();
      }
    });

    it("must be all there", async () => {
      const { plan, constants } = twoStep();
      expect(await diagnosticsOf(createSession(device, plan, constants.subarray(0, 264)))).toEqual([
        "constants-cut-off: the constants hold 264 bytes, the plan needs 272",
      ]);
    });

    it("too large to bind are named with their weights", async () => {
      const { plan, constants } = twoStep();
      const bytes = device.limits.maxStorageBufferBindingSize + 4;
      const large = { ...value("$large", [String(bytes / 4)]), keys: ["head.weight"], offset: 512, bytes };
      const failure = await createSession(
        device,
        { ...plan, constants: [...plan.constants, large] },
        constants,
      ).catch((e: unknown) => e);
      expect((failure as InputError).diagnostics[0]).toMatchObject({
        code: "too-large",
        help: "it is made from head.weight",
      });
    });
  });

  describe("state", () => {
    /** total' = total + x; out = total'. a and b change places. */
    const accumulate = (): Plan =>
      planOf(
        [
          entryOf({
            symbols: [],
            inputs: [value("x", ["4"])],
            values: [value("%sum", ["4"])],
            outputs: ["%sum"],
            states: [
              { ...value("%total.in", ["4"]), name: "total", next: "%sum", initial: 1 },
              { ...value("%a.in", ["2"]), name: "a", next: "%b.in", initial: 10 },
              { ...value("%b.in", ["2"]), name: "b", next: "%a.in", initial: 20 },
            ],
            dispatches: [dispatch(0, ["x", "%total.in", "%sum"], ["4"])],
          }),
        ],
        [addState],
      );
    const one = tensor("f32", [4], [1, 2, 3, 4]);

    it("stays between runs, can be read, set and reset", async () => {
      const session = await createSession(device, accumulate(), new Uint8Array());
      expect([...(await session.state.get("total")).data]).toEqual([1, 1, 1, 1]);
      expect([...(await session.run({ x: one }))["sum"]!.data]).toEqual([2, 3, 4, 5]);
      expect([...(await session.run({ x: one }))["sum"]!.data]).toEqual([3, 5, 7, 9]);
      expect([...(await session.state.get("total")).data]).toEqual([3, 5, 7, 9]);
      await session.state.set("total", tensor("f32", [4], [0, 0, 0, 5]));
      expect([...(await session.run({ x: one }))["sum"]!.data]).toEqual([1, 2, 3, 9]);
      await session.state.reset();
      expect([...(await session.run({ x: one }))["sum"]!.data]).toEqual([2, 3, 4, 5]);
      await session.dispose();
    });

    it("moves all at once, as an assignment of tuples does", async () => {
      const session = await createSession(device, accumulate(), new Uint8Array());
      const ab = async (): Promise<number[]> =>
        (await Promise.all([session.state.get("a"), session.state.get("b")])).map((t) => t.data[1]!);
      expect(await ab()).toEqual([10, 20]);
      await session.run({ x: one });
      expect(await ab()).toEqual([20, 10]);
      await session.run({ x: one });
      expect(await ab()).toEqual([10, 20]);
      await session.state.reset("a");
      await session.dispose();
    });

    it("checks names and types", async () => {
      const session = await createSession(device, accumulate(), new Uint8Array());
      expect(await diagnosticsOf(session.state.get("totl"))).toEqual([
        "unknown-state: the model has no state totl",
      ]);
      expect(await diagnosticsOf(session.state.set("total", tensor("i32", [3], [1, 2, 3])))).toEqual([
        "state-type: state total is f32[4], not i32[3]",
      ]);
      await session.dispose();
    });
  });

  describe("bounded symbols", () => {
    // Two live extents in slots 0 and 1: n rows and m columns that a kernel counts; y [R, 3] cut to [n, m].
    const count = kernelOf({
      name: "count",
      params: ["rows"],
      buffers: [
        ["x", "read", false],
        ["live", "write", false],
      ],
      elements: { live: "u32" },
      body: "if (i == 0u) { var n = 0u; for (var r = 0u; r < params.rows; r++) { if (x[3u * r] >= 0.0) { n++; } } live[1] = n; live[0] = 2u; }",
    });
    const fill = kernelOf({
      name: "fill",
      params: ["rows", { name: "n", live: true }, { name: "m", live: true }],
      buffers: [
        ["x", "read", false],
        ["y", "write", true],
      ],
      body: "if (i < 3u * extents[params.n] && i % 3u < extents[params.m]) { y[i] = 10.0 * x[i] + f32(params.rows); }",
    });
    const plan = planOf(
      [
        entryOf({
          symbols: [
            "R",
            { kind: "bounded", name: "m", bound: "3", slot: 0 },
            { kind: "bounded", name: "n", bound: "R", slot: 1 },
          ],
          inputs: [value("x", ["R", "3"])],
          values: [value("%y", ["n", "m"])],
          outputs: ["%y"],
          dispatches: [dispatch(0, ["x", "@extents"], ["R"]), dispatch(1, ["x", "%y"], ["R", "n", "m"])],
        }),
        entryOf({
          name: "uncounted",
          symbols: ["R", { kind: "bounded", name: "n", bound: "R", slot: 0 }],
          inputs: [value("x", ["R", "3"])],
          values: [value("%y", ["n", "3"])],
          outputs: ["%y"],
          dispatches: [dispatch(1, ["x", "%y"], ["R", "n", "n"])],
        }),
      ],
      [count, fill],
    );
    const rows = tensor("f32", [4, 3], [1, 2, 3, 4, 5, 6, -1, 0, 0, 7, 8, 9]);

    it("cut outputs to their live extents", async () => {
      const session = await createSession(device, plan, new Uint8Array());
      const { outputs, dims } = await session.runWith({ x: rows });
      expect(dims).toEqual({ R: 4, m: 2, n: 3 });
      expect(outputs["y"]!.shape).toEqual([3, 2]);
      expect([...outputs["y"]!.data]).toEqual([14, 24, 44, 54, -6, 4]);
      const y = new Float32Array(12);
      const into = await session.run({ x: rows }, { into: { y } });
      expect(into["y"]!.data.buffer).toBe(y.buffer);
      expect([...y.subarray(0, 6)]).toEqual([14, 24, 44, 54, -6, 4]);
      expect(await diagnosticsOf(session.run({ x: rows }, { into: { y: y.subarray(1) } }))).toEqual([
        "output-memory: the memory for output y holds 11 numbers, and it has 12 ([n, m])",
      ]);
      const kept = await session.runOnGpu({ x: rows });
      expect(kept["y"]!.shape).toEqual([3, 2]);
      expect([...(await kept["y"]!.read()).data]).toEqual([14, 24, 44, 54, -6, 4]);
      kept["y"]!.destroy();
      await session.dispose();
    });

    it("stand for their bound where no kernel counts, also after a run that did", async () => {
      const session = await createSession(device, plan, new Uint8Array());
      await session.run({ x: rows });
      const out = await session.run({ x: rows }, { entry: "uncounted" });
      expect(out["y"]!.shape).toEqual([4, 3]);
      expect([...out["y"]!.data]).toEqual([...rows.data].map((v) => 10 * v + 4));
      await session.dispose();
    });
  });

  describe("element types and order", () => {
    it("pads f16, keeps bool as u32, and turns physical orders at the border", async () => {
      const bits = kernelOf({
        name: "copy_words",
        element: "u32",
        params: ["n"],
        buffers: [
          ["x", "read", false],
          ["y", "write", true],
        ],
        body: "if (i < params.n) { y[i] = x[i]; }",
      });
      const ordered = { order: [1, 0] };
      const entry = entryOf({
        symbols: [],
        inputs: [
          value("h", ["3"], "f16"),
          value("b", ["3"], "bool"),
          { ...value("t", ["2", "3"], "i32"), ...ordered },
        ],
        values: [
          value("%h", ["3"], "f16"),
          value("%b", ["3"], "bool"),
          value("%flat", ["6"], "i32"),
          { ...value("%t", ["2", "3"], "i32"), ...ordered },
        ],
        outputs: ["%h", "%b", "%flat", "%t"],
        dispatches: [
          dispatch(0, ["h", "%h"], ["2"]),
          dispatch(0, ["b", "%b"], ["3"]),
          dispatch(0, ["t", "%flat"], ["6"]),
          dispatch(0, ["t", "%t"], ["6"]),
        ],
      });
      const session = await createSession(device, planOf([entry], [bits]), new Uint8Array());
      const out = await session.run({
        h: tensor("f16", [3], [1.5, -2, 65504]),
        b: tensor("bool", [3], [1, 0, 7]),
        t: tensor("i32", [2, 3], [1, 2, 3, 4, 5, -6]),
      });
      expect([...out["h"]!.data]).toEqual([1.5, -2, 65504]);
      expect([...out["b"]!.data]).toEqual([1, 0, 1]);
      expect([...out["flat"]!.data]).toEqual([1, 4, 2, 5, 3, -6]);
      expect([...out["t"]!.data]).toEqual([1, 2, 3, 4, 5, -6]);
      expect(session.stats.distinctKernels).toBe(1);
      await session.dispose();
    });

    it("takes data in shared memory", async () => {
      const { plan, constants } = twoStep();
      const session = await createSession(device, plan, constants);
      const shared = new Float32Array(new SharedArrayBuffer(16)) as unknown as Float32Array<ArrayBuffer>;
      shared.set([0, 1, 2, 3]);
      const out = await session.run({ x: { dtype: "f32", shape: [1, 4], data: shared } });
      expect([...out["out"]!.data]).toEqual(expected(1));
      await session.dispose();
    });
  });

  describe("plans that do not fit", () => {
    it("names kernel, line and text of shader errors, in the order of the plan", async () => {
      const { plan, constants } = twoStep();
      const broken = { ...scaleInput, wgsl: scaleInput.wgsl.replace("params.factor", "params.fctor") };
      const worse = { ...addValues, wgsl: "not wgsl" };
      const failure: unknown = await createSession(
        device,
        { ...plan, kernels: [broken, addConstant, worse] },
        constants,
      ).catch((e: unknown) => e);
      expect(failure).toBeInstanceOf(Bug);
      expect((failure as Bug).message).toMatch(/^the device refused kernel scale_input: 8:37: .*fctor/);
      expect((failure as Bug).message).toContain("8 |   if (i < params.n) { y[i] = x[i] * params.fctor; }");
      expect((failure as Bug).facts["kernel"]).toBe("scale_input");
    });

    it("says which limit or feature is missing", async () => {
      const { plan, constants } = twoStep();
      const wide = { ...addValues, workgroupSize: [4096, 1, 1] as const };
      const exotic = {
        ...addConstant,
        features: ["shader-f17"] as unknown as (typeof addConstant)["features"],
      };
      const found = await diagnosticsOf(
        createSession(device, { ...plan, kernels: [scaleInput, exotic, wide] }, constants),
      );
      expect(found[0]).toBe(
        "device-feature: kernel add_constant needs shader-f17, which the adapter has not",
      );
      expect(found[1]).toMatch(
        /^device-limit: kernel add_values needs maxComputeInvocationsPerWorkgroup of 4096/,
      );
    });

    it("refuses subgroups of another width", async () => {
      const { plan, constants } = twoStep();
      if (!device.features.has("subgroups")) return;
      const target = { ...plan.target, subgroupSize: 1024 };
      const subgroups = { ...addValues, features: ["subgroups"] as const };
      expect(
        (
          await diagnosticsOf(
            createSession(
              device,
              { ...plan, target, kernels: [scaleInput, addConstant, subgroups] },
              constants,
            ),
          )
        )[0],
      ).toMatch(/^device-subgroups: the plan is made for subgroups of 1024, the adapter's are/);
    });

    it("blames the compiler for grids over the limit, unknown values and aliases", async () => {
      const { plan, constants } = twoStep();
      const entry = plan.entries[0]!;
      const withFirst = (d: Plan["entries"][number]["dispatches"][number]): Plan => ({
        ...plan,
        entries: [{ ...entry, dispatches: [d, ...entry.dispatches.slice(1)] }],
      });
      const first = entry.dispatches[0]!;
      const failing = async (p: Plan): Promise<string> => {
        const session = await createSession(device, p, constants);
        const failure: unknown = await session.run({ x: x(1) }).catch((e: unknown) => e);
        await session.dispose();
        expect(failure).toBeInstanceOf(Bug);
        return (failure as Bug).message;
      };
      expect(await failing(withFirst({ ...first, grid: ["70000", "1", "1"] }))).toBe(
        "kernel scale_input wants a grid of 70000 x 1 x 1, the limit is 65535",
      );
      expect(await failing(withFirst({ ...first, buffers: ["x", "%nowhere"] }))).toBe(
        "the plan has no value %nowhere",
      );
      expect(await failing(withFirst({ ...first, params: ["B*C"] }))).toBe(
        "kernel scale_input gets no value for its parameter factor",
      );
      const aliased = dispatch(2, ["%twice", "%twice", "%out"], ["B*C"], GRID);
      expect(await failing({ ...plan, entries: [{ ...entry, dispatches: [first, aliased] }] })).toMatch(
        /^the device refused the run: /,
      );
    });

    it("has no entry point of another name", async () => {
      const { plan, constants } = twoStep();
      const session = await createSession(device, plan, constants);
      expect(await diagnosticsOf(session.run({ x: x(1) }, { entry: "other" }))).toEqual([
        "unknown-entry: the plan has no entry point other",
      ]);
      await session.dispose();
    });
  });

  describe("device loss", () => {
    it("is told where nothing can be done about it", async () => {
      const own = await opened.reopen();
      const { plan, constants } = twoStep();
      const session = await createSession(own, plan, constants);
      await session.run({ x: x(1) });
      own.destroy();
      expect((await diagnosticsOf(session.run({ x: x(1) })))[0]).toMatch(
        /^device-lost: the GPU device was lost: /,
      );
      await session.dispose();
    });

    it("is repaired once a run, before it and in its middle", async () => {
      const { plan, constants } = twoStep();
      const devices = [await opened.reopen()];
      let readings = 0;
      const source = async function* (): AsyncGenerator<Uint8Array> {
        readings++;
        yield constants;
      };
      const session = await createSession(devices[0]!, plan, source, {
        async recreate() {
          devices.push(await opened.reopen());
          return devices.at(-1)!;
        },
      });
      await session.run({ x: x(1) });
      devices.at(-1)!.destroy();
      expect([...(await session.run({ x: x(2) }))["out"]!.data]).toEqual(expected(2));
      expect(devices.length).toBe(2);
      const { promise, submitted } = onSubmit(devices.at(-1)!);
      const run = session.run({ x: x(3) });
      await promise;
      devices.at(-1)!.destroy();
      expect([...(await run)["out"]!.data]).toEqual(expected(3));
      expect(submitted()).toBe(true);
      expect(session.stats.rebuilds).toBe(2);
      expect(readings).toBe(3);
      expect(session.device).toBe(devices[2]);
      await session.dispose();
      for (const d of devices) d.destroy();
    });

    it("does not pretend to have kept states", async () => {
      const plan = planOf(
        [
          entryOf({
            symbols: [],
            inputs: [value("x", ["4"])],
            values: [value("%sum", ["4"])],
            outputs: ["%sum"],
            states: [{ ...value("%total.in", ["4"]), name: "total", next: "%sum", initial: 0 }],
            dispatches: [dispatch(0, ["x", "%total.in", "%sum"], ["4"])],
          }),
        ],
        [addState],
      );
      const own = await opened.reopen();
      const session = await createSession(own, plan, new Uint8Array(), { recreate: () => opened.reopen() });
      const one = tensor("f32", [4], [1, 2, 3, 4]);
      await session.run({ x: one });
      own.destroy();
      expect((await diagnosticsOf(session.run({ x: one })))[0]).toMatch(/^state-lost: /);
      expect([...(await session.run({ x: one }))["sum"]!.data]).toEqual([1, 2, 3, 4]);
      const last = session.device;
      await session.dispose();
      last.destroy();
    });
  });
}

/** Makes the device say that it has no memory for buffers of a label. */
function withoutRoomFor(device: GPUDevice, label: string): () => void {
  const { createBuffer, popErrorScope } = device;
  let pops = 0;
  device.createBuffer = (descriptor) => {
    pops = descriptor.label === label ? 2 : 0;
    return createBuffer.call(device, descriptor);
  };
  device.popErrorScope = () => {
    const real = popErrorScope.call(device);
    // The outer scope of the two around an allocation.
    return --pops === 0 ? real.then(() => ({ message: "no memory" }) as GPUError) : real;
  };
  return () => Object.assign(device, { createBuffer, popErrorScope });
}

/** Resolves when the next submit of the device has been made. */
function onSubmit(device: GPUDevice): { readonly promise: Promise<void>; readonly submitted: () => boolean } {
  let seen = false;
  const promise = new Promise<void>((resolve) => {
    const original = device.queue.submit.bind(device.queue);
    device.queue.submit = (commands) => {
      original(commands);
      seen = true;
      resolve();
      return undefined;
    };
  });
  return { promise, submitted: () => seen };
}
