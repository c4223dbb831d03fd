// The kernel of a depthwise convolution: a stencil. Each invocation makes a strip of neighbouring results of one channel (or four), so
// that a pixel is read once for all of them and not once a tap; nothing is multiplied that is not a tap.

import { add, div, f32, fma, lt, mod, mul, select, splat, sub, u32 } from "../ir/expr.ts";
import { ceilDiv, constantOf, dim, divideExact, isMultipleOf, mulDim } from "../ir/dim.ts";
import type { Expr } from "../ir/kernel.ts";
import type { KernelWriter, ProgramFacts, ProgramStep } from "../ir/program.ts";
import { pairOf } from "./define.ts";
import { windowsOf } from "./window.ts";

const THREADS = 64;

/** Results in a strip; where the kernel is very wide, one, or the text would be as long as both together. */
const stripOf = (taps: number): number => (taps <= 16 ? 4 : 1);

export function stencil(f: ProgramFacts): ProgramStep {
  const x = f.type("x");
  const y = f.results[0]!;
  const [out, height, width] = [y.shape[1]!, y.shape[2]!, y.shape[3]!];
  const [rows, columns] = windowsOf(f.attrs, pairOf(f.attrs, "kernel"), pairOf(f.attrs, "stride"));
  const multiplier = constantOf(divideExact(out, x.shape[1]!) ?? dim(1)) ?? 1;
  const wide = multiplier === 1 && isMultipleOf(out, 4);
  const lanes = wide ? 4 : 1;
  const strip = stripOf(columns.size);
  const channels = wide ? ceilDiv(out, dim(4)) : out;
  const items = mulDim(channels, ceilDiv(width, dim(strip)));

  /** Columns that the strip reads, counted from its first, and which tap of which result each is. */
  const uses = new Map<number, { readonly result: number; readonly tap: number }[]>();
  for (let result = 0; result < strip; result++)
    for (let tap = 0; tap < columns.size; tap++) {
      const column = result * columns.stride + tap * columns.dilation;
      uses.set(column, [...(uses.get(column) ?? []), { result, tap }]);
    }
  const sorted = [...uses].sort(([a], [b]) => a - b);

  const write = (k: KernelWriter): void => {
    const [b, i, tile] = k.workgroup as readonly [Expr, Expr, Expr];
    const read = (from: string, index: readonly Expr[], axis: number): Expr =>
      wide ? k.readFour(from, index, axis) : k.read(from, index);
    const item = k.bind("item", add(mul(tile, u32(THREADS)), k.local));
    k.when(lt(item, k.size(items)), () => {
      const channel = k.bind("channel", mod(item, k.size(channels)));
      const source = multiplier === 1 ? channel : k.bind("source", div(channel, u32(multiplier)));
      const first = k.bind("first", mul(div(item, k.size(channels)), u32(strip)));
      const left = k.bind("left", sub(mul(first, u32(columns.stride)), u32(columns.pad)));
      const sums = Array.from({ length: strip }, () => k.variable("sum", splat(f32(0), lanes)));
      k.loop("u", u32(0), u32(rows.size), (u) => {
        // In front of the image the subtraction wraps around, so one comparison sees both ends.
        const top = add(mul(i, u32(rows.stride)), mul(u, u32(rows.dilation)));
        const row = k.bind("row", sub(top, u32(rows.pad)));
        k.when(lt(row, k.size(x.shape[2]!)), () => {
          const taps = Array.from({ length: columns.size }, (_, v) =>
            read("taps", [k.bind("tap", add(mul(u, u32(columns.size)), u32(v))), channel], 1),
          );
          for (const [offset, results] of sorted) {
            const column = k.bind("column", add(left, u32(offset)));
            const inside = k.bind("inside", lt(column, k.size(x.shape[3]!)));
            const pixel = read("x", [b, source, row, k.bind("at", select(inside, column, u32(0)))], 1);
            const padded = k.bind("pixel", select(splat(inside, lanes), pixel, splat(f32(0), lanes)));
            for (const { result, tap } of results)
              k.set(sums[result]!, fma(padded, taps[tap]!, sums[result]!));
          }
        });
      });
      const bias = f.has("bias") ? read("bias", [channel], 0) : undefined;
      sums.forEach((sum, result) => {
        const j = k.bind("j", add(first, u32(result)));
        const store = (): void => {
          const value = bias ? add(k.bind("sum", sum), bias) : k.bind("sum", sum);
          if (wide) k.writeFour("y", [b, channel, i, j], 1, value);
          else k.write("y", [b, channel, i, j], value);
        };
        if (isMultipleOf(width, strip)) store();
        else k.when(lt(j, k.size(width)), store);
      });
    });
  };
  return {
    reads: f.has("bias") ? ["x", "taps", "bias"] : ["x", "taps"],
    writes: ["y"],
    workgroups: [y.shape[0]!, height, ceilDiv(items, dim(THREADS))],
    invocations: THREADS,
    schedule: `stencil of ${rows.size} x ${columns.size} taps, ${strip} results of ${lanes === 1 ? "a channel" : "four channels"} each`,
    write,
  };
}
