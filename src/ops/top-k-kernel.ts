// The kernel of top_k, in the order of (larger value, lower index). By rounds the next choice is the best of those behind the last one; a
// short row is ranked instead, each value by how many are in front of it, which needs no barrier.

import { constantOf, productDim } from "../ir/dim.ts";
import { add, and, eq, F32, f32, ge, gt, lt, ne, or, u32, U32 } from "../ir/expr.ts";
import type { Program, ProgramFacts } from "../ir/program.ts";
import { behind, indexOf, isNumber, LOWEST, NONE } from "./route-kernel.ts";

const WORKGROUP = 64;

export function topKProgram(facts: ProgramFacts): Program {
  const length = constantOf(facts.type("x").shape.at(-1)!);
  const count = constantOf(facts.results[0]!.shape.at(-1)!);
  const isShort = length !== undefined && count !== undefined && ranksSooner(length, count);
  return isShort ? byRank(facts) : byRounds(facts);
}

/** Steps of a round besides its sweep: the barriers of the tree, in reads that they take as long as. An estimate; the rows it was tried on are far from equal. */
const TREE = 32;

/** Is comparing all with all less than a sweep and a tree for each of the k? */
function ranksSooner(length: number, count: number): boolean {
  const each = Math.ceil(length / WORKGROUP);
  return length * each <= count * (each + TREE);
}

function byRank({ type, results }: ProgramFacts): Program {
  const x = type("x");
  const rows = x.shape.slice(0, -1);
  const length = x.shape.at(-1)!;
  const count = results[0]!.shape.at(-1)!;
  return {
    steps: [
      {
        reads: ["x"],
        writes: ["y", "indices"],
        workgroups: [productDim(rows)],
        invocations: WORKGROUP,
        schedule: `one workgroup a row, ${WORKGROUP} invocations, each value by how many are in front of it`,
        write(k) {
          const row = indexOf(k, k.workgroup[0]!, rows);
          const [size, wanted] = [k.size(length), k.size(count)];
          k.loop(
            "i",
            k.local,
            size,
            (i) => {
              const mine = k.bind("mine", k.read("x", [...row, i]));
              const rank = k.variable("rank", u32(0));
              const numbers = k.variable("numbers", u32(0));
              k.loop("j", u32(0), size, (j) => {
                const other = k.bind("other", k.read("x", [...row, j]));
                k.when(isNumber(other), () => {
                  k.set(numbers, add(numbers, u32(1)));
                  k.when(or(gt(other, mine), and(eq(other, mine), lt(j, i))), () =>
                    k.set(rank, add(rank, u32(1))),
                  );
                });
              });
              k.when(and(isNumber(mine), lt(rank, wanted)), () => {
                k.write("y", [...row, rank], mine);
                k.write("indices", [...row, rank], i);
              });
              // Behind the last number there is nothing to choose.
              k.when(and(ge(i, numbers), lt(i, wanted)), () => {
                k.write("y", [...row, i], f32(LOWEST));
                k.write("indices", [...row, i], size);
              });
            },
            u32(WORKGROUP),
          );
        },
      },
    ],
  };
}

function byRounds({ type, results }: ProgramFacts): Program {
  const x = type("x");
  const rows = x.shape.slice(0, -1);
  const length = x.shape.at(-1)!;
  const count = results[0]!.shape.at(-1)!;
  return {
    steps: [
      {
        reads: ["x"],
        writes: ["y", "indices"],
        workgroups: [productDim(rows)],
        invocations: WORKGROUP,
        schedule: `one workgroup a row, ${WORKGROUP} invocations, a round for each of the k`,
        write(k) {
          const row = indexOf(k, k.workgroup[0]!, rows);
          const values = k.shared("values", F32, WORKGROUP);
          const places = k.shared("places", U32, WORKGROUP);
          const last = { value: k.variable("last", f32(0)), index: k.variable("last_at", u32(NONE)) };
          const size = k.size(length);
          k.loop("round", u32(0), k.size(count), (round) => {
            const best = k.variable("best", f32(LOWEST));
            const at = k.variable("best_at", size);
            k.loop(
              "i",
              k.local,
              size,
              (i) => {
                const value = k.read("x", [...row, i]);
                const better = or(eq(at, size), gt(value, best));
                k.when(and(and(isNumber(value), behind(value, i, last)), better), () => {
                  k.set(best, value);
                  k.set(at, i);
                });
              },
              u32(WORKGROUP),
            );
            values.store(k.local, best);
            places.store(k.local, at);
            k.barrier();
            for (let half = WORKGROUP / 2; half >= 1; half /= 2) {
              k.when(lt(k.local, u32(half)), () => {
                const [mine, theirs] = [k.local, add(k.local, u32(half))];
                const [a, b] = [values.load(mine), values.load(theirs)];
                const [i, j] = [places.load(mine), places.load(theirs)];
                const wins = or(gt(b, a), and(eq(b, a), lt(j, i)));
                k.when(and(ne(j, size), or(eq(i, size), wins)), () => {
                  values.store(mine, b);
                  places.store(mine, j);
                });
              });
              k.barrier();
            }
            k.set(last.value, values.load(u32(0)));
            k.set(last.index, places.load(u32(0)));
            k.when(eq(k.local, u32(0)), () => {
              k.write("y", [...row, round], last.value);
              k.write("indices", [...row, round], last.index);
            });
            k.barrier();
          });
        },
      },
    ],
  };
}
