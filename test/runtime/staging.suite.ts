// Large inputs, on the adapter that the caller names: what arrives is what was given, whichever way it went.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { DType } from "../../src/ir/types.ts";
import { newData, type Tensor } from "../../src/ir/tensor.ts";
import { InputError } from "../../src/support/diagnostic.ts";
import { openDevice, type OpenedDevice } from "../../src/runtime/device-node.ts";
import { createSession, type Session } from "../../src/runtime/session.ts";
import { stagedFrom } from "../../src/runtime/staging.ts";
import { kernelOf } from "./kernels.ts";
import { dispatch, entryOf, planOf, value } from "./tiny.ts";

const GRID = ["floor((N + 255)/256)", "1", "1"] as const;
const copyWords = kernelOf({
  name: "copy_words",
  element: "u32",
  params: ["n"],
  buffers: [
    ["x", "read", false],
    ["y", "write", true],
  ],
  body: "for (var j = 4u * i; j < min(4u * i + 4u, params.n); j++) { y[j] = x[j]; }",
});

/** Gives back its inputs: a and b of N elements each, words as they are in memory. */
const twice = planOf(
  [
    entryOf({
      symbols: ["N", "M"],
      inputs: [value("a", ["N"]), value("b", ["M"], "u32")],
      values: [value("%a", ["N"]), value("%b", ["M"], "u32")],
      outputs: ["%a", "%b"],
      dispatches: [
        dispatch(0, ["a", "%a"], ["N"], GRID),
        dispatch(0, ["b", "%b"], ["M"], ["floor((M + 255)/256)", "1", "1"]),
      ],
    }),
  ],
  [copyWords],
);

/** Every element another, small enough for f16 and as a whole number. */
function numbers(dtype: DType, shape: readonly number[], seed = 0): Tensor {
  const data = newData(
    dtype,
    shape.reduce((n, d) => n * d, 1),
  );
  for (let i = 0; i < data.length; i++)
    data[i] =
      dtype === "bool" ? ((i + seed) % 3) & 1 : ((i * 31 + seed) % 2003) - (dtype === "u32" ? 0 : 1000);
  return { dtype, shape, data };
}

const words = stagedFrom / 4;

/** Calls of a method from now on, with what it was given. */
function calls(target: object, method: string): unknown[][] {
  const seen: unknown[][] = [];
  const original = Reflect.get(target, method) as (...args: unknown[]) => unknown;
  Reflect.set(target, method, (...args: unknown[]) => {
    seen.push(args);
    return Reflect.apply(original, target, args);
  });
  return seen;
}

/** Whether two arrays hold the same; of large ones a difference is not worth printing whole. */
function expectSame(got: Tensor | undefined, want: Tensor): void {
  expect(got?.shape).toEqual(want.shape);
  const at = want.data.findIndex((v, i) => !Object.is(v, got!.data[i]));
  expect({ at, got: got!.data[at], want: want.data[at] }).toEqual({
    at: -1,
    got: undefined,
    want: undefined,
  });
}

export function stagingSuite(wanted: string): void {
  let opened: OpenedDevice;
  let device: GPUDevice;
  let session: Session;

  beforeAll(async () => {
    opened = await openDevice({ device: wanted });
    device = opened.device;
    session = await createSession(device, twice, new Uint8Array());
  }, 60_000);

  afterAll(async () => {
    await session?.dispose();
    device?.destroy();
  });

  const runWith = async (n: number, m: number, seed = 0): Promise<void> => {
    const [a, b] = [numbers("f32", [n], seed), numbers("u32", [m], seed + 7)];
    const out = await session.run({ a, b });
    expectSame(out["a"], a);
    expectSame(out["b"], b);
  };

  it.each([
    [words - 1, 5],
    [words, 5],
    [words + 1, words],
    [5, words + 3],
    [2 * words + 1, words + 1],
    [words, 0],
    [words - 1, words - 1],
  ])("carries inputs of %i and %i words bit for bit", async (n, m) => {
    await runWith(n, m);
    await runWith(n, m, 1);
  });

  it("goes by writeBuffer below the bound, and by the buffer that is kept from it on", async () => {
    const written = calls(device.queue, "writeBuffer");
    const sizes = (): readonly number[] =>
      written.splice(0).map((args) => (args[2] as ArrayBufferView).byteLength);
    await runWith(words - 1, words);
    expect(sizes().filter((bytes) => bytes > 1024)).toEqual([stagedFrom - 4]);
    await runWith(words, words);
    expect(sizes().filter((bytes) => bytes > 1024)).toEqual([]);
  });

  it("allocates nothing in the second run, submits once, and maps once for each way", async () => {
    await runWith(words + 1, words + 1);
    const before = session.stats;
    const buffers = calls(device, "createBuffer");
    const submits = calls(device.queue, "submit");
    const prototype = Object.getPrototypeOf(device.createBuffer({ size: 4, usage: 8 })) as GPUBuffer;
    buffers.length = 0;
    const { mapAsync } = prototype;
    const modes: number[] = [];
    prototype.mapAsync = function (...args) {
      // The way up is asked for when the work has been given away, the way back after it.
      modes.push(args[0]);
      expect(submits.length).toBe(1);
      return mapAsync.apply(this, args);
    };
    await runWith(words + 1, words + 1, 3).finally(() => (prototype.mapAsync = mapAsync));
    expect(modes).toEqual([2, 1]);
    expect(buffers).toEqual([]);
    expect(submits.length).toBe(1);
    expect(session.stats.allocations).toBe(before.allocations);
    expect(session.stats.submits).toBe(before.submits + 1);
    expect(session.stats.maps).toBe(before.maps + 1);
  });

  it("keeps concurrent runs apart", async () => {
    await Promise.all([words, 2 * words, words - 1, words + 2].map((n, i) => runWith(n, words + i, 10 * i)));
  });

  it("takes outputs that stay on the device, and small runs between", async () => {
    const [a, b] = [numbers("f32", [words], 4), numbers("u32", [words], 5)];
    const kept = await session.runOnGpu({ a, b });
    await runWith(3, 4);
    const again = await session.run({ a: kept["a"]!, b: numbers("u32", [words], 6) });
    expectSame(again["a"], a);
    expectSame(again["b"], numbers("u32", [words], 6));
    expectSame(await kept["b"]!.read(), b);
    for (const t of Object.values(kept)) t.destroy();
  });

  it("is there again after a run that failed", async () => {
    await runWith(words, words);
    const prototype = Object.getPrototypeOf(device.createCommandEncoder()) as GPUCommandEncoder;
    const { finish } = prototype;
    prototype.finish = () => {
      throw new Error("no more commands");
    };
    const failed = session.run({ a: numbers("f32", [words]), b: numbers("u32", [words]) });
    await expect(failed.finally(() => (prototype.finish = finish))).rejects.toThrow("no more commands");
    await runWith(words, words, 8);
  });

  it("says what there was no room for, and goes on with less", async () => {
    const own = await createSession(device, twice, new Uint8Array());
    const { createBuffer, popErrorScope } = device;
    let pops = 0;
    device.createBuffer = (descriptor) => {
      pops = descriptor.label === "inputs on their way" ? 2 : 0;
      return createBuffer.call(device, descriptor);
    };
    device.popErrorScope = () => {
      const real = popErrorScope.call(device);
      return --pops === 0 ? real.then(() => ({ message: "no memory" }) as GPUError) : real;
    };
    const run = own.run({ a: numbers("f32", [words]), b: numbers("u32", [1]) });
    const failure: unknown = await run.catch((e: unknown) => e);
    Object.assign(device, { createBuffer, popErrorScope });
    expect((failure as InputError).diagnostics[0]).toMatchObject({
      code: "out-of-memory",
      message: "the device has no room for 1.0 MiB of inputs on their way",
      help: "run a smaller batch",
    });
    const a = numbers("f32", [words]);
    expectSame((await own.run({ a, b: numbers("u32", [1]) }))["a"], a);
    await own.dispose();
  });

  it("encodes on the way: f16, bool and other orders of axes", async () => {
    const side = 512;
    const shape = [String(side), String(2 * side)];
    const ordered = { order: [1, 0] };
    const inputs = [
      value("h", [...shape, "1"], "f16"),
      value("b", shape, "bool"),
      { ...value("t", shape, "f32"), ...ordered },
      value("odd", [String(2 * side * side + 1)], "f16"),
    ];
    const wordsOf = (i: number): string =>
      String([side * side, 2 * side * side, 2 * side * side, side * side + 1][i]);
    const outs = inputs.map((i) => ({ ...i, id: `%${i.id}` }));
    const entry = entryOf({
      symbols: [],
      inputs,
      values: outs,
      outputs: outs.map((o) => o.id),
      dispatches: inputs.map((i, at) =>
        dispatch(
          0,
          [i.id, `%${i.id}`],
          [wordsOf(at)],
          [String(Math.ceil(Number(wordsOf(at)) / 256)), "1", "1"],
        ),
      ),
    });
    const own = await createSession(device, planOf([entry], [copyWords]), new Uint8Array());
    const given = Object.fromEntries(inputs.map((i) => [i.id, numbers(i.dtype, i.shape.map(Number))]));
    for (let round = 0; round < 2; round++) {
      const out = await own.run(given);
      for (const i of inputs) expectSame(out[i.id], given[i.id]!);
    }
    await own.dispose();
  });

  describe("device loss", () => {
    it("before a run and in its middle: the run is repeated with its inputs", async () => {
      const devices = [await opened.reopen()];
      const own = await createSession(devices[0]!, twice, new Uint8Array(), {
        async recreate() {
          devices.push(await opened.reopen());
          return devices.at(-1)!;
        },
      });
      const [a, b] = [numbers("f32", [words + 1], 1), numbers("u32", [words], 2)];
      const same = async (run: Promise<Readonly<Record<string, Tensor>>>): Promise<void> => {
        const out = await run;
        expectSame(out["a"], a);
        expectSame(out["b"], b);
      };
      await same(own.run({ a, b }));
      devices.at(-1)!.destroy();
      await same(own.run({ a, b }));
      const queue = devices.at(-1)!.queue;
      const submit = queue.submit.bind(queue);
      queue.submit = (commands) => {
        submit(commands);
        devices.at(-1)!.destroy();
        return undefined;
      };
      await same(own.run({ a, b }));
      await same(own.run({ a, b }));
      expect(own.stats.rebuilds).toBe(2);
      await own.dispose();
      for (const d of devices) d.destroy();
    });
  });
}
