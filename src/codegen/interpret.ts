// Runs a kernel on the CPU as a device would: all invocations of a workgroup in step, one workgroup after the other.
// The oracle for the WGSL printer, and strict where a device is silent: it throws `Bug` on a stray access, a data race in
// workgroup memory, and a barrier or subgroup operation that not all invocations reach.
// Knows how memory is laid out; the kernel itself is turned into JavaScript by interpret-compile.ts.

import { Bug } from "../support/bug.ts";
import type { BufferDecl, Kernel, Scalar } from "../ir/kernel.ts";
import { typeText } from "../ir/kernel-types.ts";
import { verifyKernel } from "../ir/kernel-verify.ts";
import { runtimeHelpers } from "./arithmetic.ts";
import { halfValues } from "../support/half.ts";
import { type CompileOptions, compileToText } from "./interpret-compile.ts";

/** f32, i32, u32 as themselves; f16 as bits in a Uint16Array; bool as 0 and 1 in a Uint32Array. */
export type KernelBuffer = Float32Array | Int32Array | Uint32Array | Uint16Array;

export interface InterpretOptions {
  readonly workgroups: readonly [number, number, number];
  /** A value for each of the kernel's params, the live ones included. */
  readonly params: Readonly<Record<string, number>>;
  /** Written in place. */
  readonly buffers: Readonly<Record<string, KernelBuffer>>;
  /** Instead of the width the kernel was generated for. */
  readonly subgroupSize?: number;
  /** `zero`: stray reads give 0 and stray writes are dropped. */
  readonly outOfBounds?: "error" | "zero";
  /** Whether two invocations meet at one element of workgroup memory without a barrier between them. */
  readonly checkRaces?: boolean;
}

const bufferArray: Readonly<Record<Scalar, new (n: number) => KernelBuffer>> = {
  f32: Float32Array,
  f16: Uint16Array,
  i32: Int32Array,
  u32: Uint32Array,
  bool: Uint32Array,
};

type Run = (x: number, y: number, z: number) => void;
type Factory = (env: object) => Run;

export function interpret(kernel: Kernel, options: InterpretOptions): void {
  const settings: CompileOptions = {
    subgroupSize: options.subgroupSize ?? kernel.subgroupSize,
    outOfBounds: options.outOfBounds ?? "error",
    checkRaces: options.checkRaces ?? true,
  };
  const factory = compiled(kernel, settings);
  for (const p of kernel.params) checkParam(kernel, p.name, p.type.scalar, options.params[p.name]);
  for (const b of kernel.buffers) checkBuffer(kernel, b, options.buffers[b.name]);
  const machine = new Workgroup(kernel, settings, options);
  const run = factory(machine);
  const [countX, countY, countZ] = options.workgroups;
  for (let z = 0; z < countZ; z++)
    for (let y = 0; y < countY; y++)
      for (let x = 0; x < countX; x++) {
        machine.start(x, y, z);
        run(x, y, z);
      }
}

const factories = new WeakMap<Kernel, Map<string, Factory>>();

function compiled(kernel: Kernel, options: CompileOptions): Factory {
  const key = `${options.subgroupSize} ${options.outOfBounds} ${options.checkRaces}`;
  let known = factories.get(kernel);
  if (!known) factories.set(kernel, (known = new Map()));
  let factory = known.get(key);
  if (!factory) {
    const complaints = verifyKernel({ ...kernel, subgroupSize: options.subgroupSize });
    if (complaints.length > 0) throw new Bug(`kernel ${kernel.name} is malformed: ${complaints.join("; ")}`);
    const text = compileToText(kernel, options);
    const make = new Function(...Object.keys(runtimeHelpers), "env", text);
    factory = (env) => make(...Object.values(runtimeHelpers), env) as Run;
    known.set(key, factory);
  }
  return factory;
}

function checkParam(kernel: Kernel, name: string, scalar: Scalar, value: number | undefined): void {
  if (value === undefined) throw new Bug(`kernel ${kernel.name}: no value for param ${name}`);
  const fits =
    scalar === "f32"
      ? Object.is(Math.fround(value), value)
      : scalar === "u32"
        ? value >>> 0 === value
        : (value | 0) === value;
  if (!fits) throw new Bug(`kernel ${kernel.name}: param ${name} is ${value}, which is no ${scalar}`);
}

function checkBuffer(kernel: Kernel, declared: BufferDecl, data: KernelBuffer | undefined): void {
  const where = `kernel ${kernel.name}: buffer ${declared.name}`;
  if (!data) throw new Bug(`${where} is not given`);
  if (!(data instanceof bufferArray[declared.type.scalar]))
    throw new Bug(`${where} of ${typeText(declared.type)} is a ${data.constructor.name}`);
  if (data.length % declared.type.width !== 0)
    throw new Bug(`${where} of ${typeText(declared.type)} has ${data.length} elements`);
}

/** Who touched each element of a workgroup array since the last barrier; `many` when several invocations did. */
interface Trace {
  readonly name: string;
  readonly writer: Int32Array;
  readonly writeTime: Uint32Array;
  readonly reader: Int32Array;
  readonly readTime: Uint32Array;
}

const many = -1;

/** The `env` of a compiled kernel: the state of the workgroup at hand. */
class Workgroup {
  readonly memory: Record<string, KernelBuffer | Uint8Array> = {};
  readonly lengths: Record<string, number> = {};
  readonly params: Readonly<Record<string, number>>;
  readonly halfTable: Float32Array;
  readonly #kernel: Kernel;
  readonly #subgroupSize: number;
  readonly #invocations: number;
  readonly #everyone: Int32Array;
  readonly #alive: Uint8Array;
  /** Counts the stretches between barriers, over all workgroups. */
  #time = 0;
  #at = "";

  constructor(kernel: Kernel, settings: CompileOptions, options: InterpretOptions) {
    this.#kernel = kernel;
    this.#subgroupSize = settings.subgroupSize;
    this.#invocations = kernel.workgroupSize.reduce((a, b) => a * b, 1);
    this.#everyone = new Int32Array(this.#invocations);
    this.#alive = new Uint8Array(this.#invocations);
    this.params = Object.fromEntries(kernel.params.map((p) => [p.name, options.params[p.name]!]));
    for (const b of kernel.buffers) {
      const data = options.buffers[b.name]!;
      this.memory[b.name] = data;
      this.lengths[b.name] = data.length / b.type.width;
    }
    for (const s of kernel.shared) {
      const count = s.length * s.type.width;
      // Inside, an f16 is a number that is already rounded, and a bool a byte.
      const { scalar } = s.type;
      this.memory[s.name] =
        scalar === "f16"
          ? new Float32Array(count)
          : scalar === "bool"
            ? new Uint8Array(count)
            : new bufferArray[scalar](count);
      this.lengths[s.name] = s.length;
    }
    const usesHalf = kernel.buffers.some((b) => b.type.scalar === "f16");
    this.halfTable = usesHalf ? halfValues() : new Float32Array(0);
  }

  /** Workgroup memory starts as zeros. */
  start(x: number, y: number, z: number): void {
    this.#at = `workgroup ${x}, ${y}, ${z}`;
    this.#time++;
    this.#alive.fill(1);
    for (const s of this.#kernel.shared) this.memory[s.name]!.fill(0);
  }

  everyone(): Int32Array {
    for (let i = 0; i < this.#invocations; i++) this.#everyone[i] = i;
    return this.#everyone;
  }

  // Leaving

  leave(list: Int32Array, n: number): number {
    for (let i = 0; i < n; i++) this.#alive[list[i]!] = 0;
    return 0;
  }

  /** Takes those who left out of a list; gives its new length. */
  remaining(list: Int32Array, n: number): number {
    let kept = 0;
    for (let i = 0; i < n; i++) if (this.#alive[list[i]!] === 1) list[kept++] = list[i]!;
    return kept;
  }

  // What a device does not check

  barrier(n: number): void {
    if (n === 0) return;
    if (n !== this.#invocations)
      throw this.#bug(`a barrier is reached by ${n} of ${this.#invocations} invocations`);
    this.#time++;
  }

  wholeSubgroups(list: Int32Array, n: number, op: string): void {
    const counts = new Uint32Array(this.#invocations / this.#subgroupSize);
    for (let i = 0; i < n; i++) counts[Math.floor(list[i]! / this.#subgroupSize)]!++;
    if (counts.some((c) => c !== 0 && c !== this.#subgroupSize))
      throw this.#bug(`subgroup ${op} is reached by a part of a subgroup`);
  }

  outOfBounds(what: string, name: string, index: number, invocation: number): never {
    throw this.#bug(`${what} ${name}[${index}], which has ${this.lengths[name]} elements`, invocation);
  }

  badComponent(index: number, invocation: number): never {
    throw this.#bug(`component ${index} of a vector`, invocation);
  }

  badLane(op: string, lane: number, invocation: number): never {
    throw this.#bug(`subgroup ${op} of lane ${lane}, there are ${this.#subgroupSize}`, invocation);
  }

  badStep(step: number, invocation: number): never {
    throw this.#bug(`a loop steps by ${step} and would not end`, invocation);
  }

  trace(name: string, length: number): Trace {
    return {
      name,
      writer: new Int32Array(length),
      writeTime: new Uint32Array(length),
      reader: new Int32Array(length),
      readTime: new Uint32Array(length),
    };
  }

  onRead(t: Trace, index: number, invocation: number): void {
    if (t.writeTime[index] === this.#time && t.writer[index] !== invocation)
      throw this.#race(t, index, invocation, "reads what another invocation wrote");
    const first = t.readTime[index] !== this.#time;
    t.readTime[index] = this.#time;
    t.reader[index] = first || t.reader[index] === invocation ? invocation : many;
  }

  /** Several invocations may write the same value. */
  onWrite(t: Trace, index: number, invocation: number, same: boolean): void {
    if (t.readTime[index] === this.#time && t.reader[index] !== invocation)
      throw this.#race(t, index, invocation, "writes what another invocation read");
    const first = t.writeTime[index] !== this.#time;
    const alone = first || t.writer[index] === invocation;
    if (!alone && !same)
      throw this.#race(t, index, invocation, "writes another value than another invocation did");
    t.writeTime[index] = this.#time;
    t.writer[index] = alone ? invocation : many;
  }

  #race(t: Trace, index: number, invocation: number, what: string): Bug {
    return this.#bug(`data race: it ${what} since the last barrier, ${t.name}[${index}]`, invocation);
  }

  #bug(message: string, invocation?: number): Bug {
    const who = invocation === undefined ? "" : `, invocation ${invocation}`;
    return new Bug(`kernel ${this.#kernel.name}: ${message} (${this.#at}${who})`, {
      kernel: this.#kernel.name,
    });
  }
}
