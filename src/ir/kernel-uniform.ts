// Which control flow of a kernel all invocations of a workgroup, or of a subgroup, take together. Barriers need the first,
// subgroup operations the second. As careful as WGSL's own analysis: memory that the kernel may write is never uniform.

import { operands } from "./expr.ts";
import type { Expr, Kernel, Statement } from "./kernel.ts";

/** 0: the same in the whole workgroup; 1: the same in each subgroup; 2: may differ between invocations. */
export type Level = 0 | 1 | 2;

export interface UniformityReport {
  /** Control flow around the barriers, and around the subgroup operations; 0 where there is none. */
  readonly barriers: Level;
  readonly subgroups: Level;
}

interface Cell {
  level: Level;
}

const join = (...levels: Level[]): Level => Math.max(...levels) as Level;

export function uniformity(kernel: Kernel): UniformityReport {
  const readOnly = new Set(kernel.buffers.filter((b) => b.access === "read").map((b) => b.name));
  const cells = new Map<Statement, Cell>();
  let changed = true;
  let barriers: Level = 0;
  let subgroups: Level = 0;
  /** Some invocations may have left already: the level of the conditions they left under. */
  let left: Level = 0;

  function raise(cell: Cell, level: Level): void {
    if (level <= cell.level) return;
    cell.level = level;
    changed = true;
  }

  function levelOf(e: Expr, scope: ReadonlyMap<string, Cell>, control: Level): Level {
    if (e.kind === "binary" && (e.op === "and" || e.op === "or")) {
      // The right side is evaluated only by those that need it.
      const first = levelOf(e.a, scope, control);
      return join(first, levelOf(e.b, scope, join(control, first)));
    }
    const inner = operands(e).map((x) => levelOf(x, scope, control));
    switch (e.kind) {
      case "builtin":
        return e.name === "local" || e.name === "lane" ? 2 : e.name === "subgroup" ? 1 : 0;
      case "name":
        return scope.get(e.name)?.level ?? 2;
      case "load":
        return readOnly.has(e.from) ? join(0, ...inner) : 2;
      case "subgroup":
        subgroups = join(subgroups, control);
        return e.op === "shuffle" || e.op === "shuffle_xor" ? join(1, ...inner) : 1;
      default:
        return join(0, ...inner);
    }
  }

  function walk(body: readonly Statement[], outer: ReadonlyMap<string, Cell>, given: Level): void {
    const scope = new Map(outer);
    for (const s of body) {
      const control = join(given, left);
      const declared = (): Cell => {
        const cell = cells.get(s) ?? { level: 0 };
        cells.set(s, cell);
        return cell;
      };
      switch (s.kind) {
        case "let":
        case "var": {
          const cell = declared();
          raise(cell, levelOf(s.value, scope, control));
          scope.set(s.name, cell);
          break;
        }
        case "set": {
          const level = join(levelOf(s.value, scope, control), control);
          const cell = scope.get(s.name);
          if (cell) raise(cell, level);
          break;
        }
        case "store":
          levelOf(s.index, scope, control);
          levelOf(s.value, scope, control);
          break;
        case "for": {
          const [start, end, step] = [s.start, s.end, s.step].map((x) => levelOf(x, scope, control));
          const counter = declared();
          raise(counter, join(start!, step!));
          const inside = new Map(scope).set(s.name, counter);
          const before = left;
          walk(s.body, inside, join(control, start!, end!, step!));
          // Who left in one iteration is missing in the next.
          if (left > before) walk(s.body, inside, join(control, start!, end!, step!));
          break;
        }
        case "if": {
          const taken = join(control, levelOf(s.condition, scope, control));
          walk(s.then, scope, taken);
          walk(s.else, scope, taken);
          break;
        }
        case "barrier":
          barriers = join(barriers, control);
          break;
        case "return":
          left = join(left, control);
          break;
        default:
          s satisfies never;
      }
    }
  }

  // Variables set later in a loop reach its beginning: repeat until no level rises. Levels only rise, so this ends.
  while (changed) {
    changed = false;
    left = 0;
    walk(kernel.body, new Map(), 0);
  }
  return { barriers, subgroups };
}
