// Routings with a capacity, found by what `Capacity` of std/routers makes of one: choices without a seat have no expert.

import { constantOf } from "../ir/dim.ts";
import type { Node, ValueId } from "../ir/graph.ts";
import type { TensorType } from "../ir/types.ts";
import { numberOf } from "../ops/define.ts";

export interface Seating {
  /** The choices as the router made them, [T, k]. */
  readonly choices: ValueId;
  readonly k: number;
  /** Seats of an expert. */
  readonly capacity: number;
  /** The node that says which choices have a seat: seats < capacity. */
  readonly kept: Node;
}

/** Of `ids = reshape(where(seats(choices) < capacity, choices, experts))`, else undefined. */
export function seatingOf(
  ids: ValueId,
  experts: number,
  producer: (id: ValueId) => Node | undefined,
  typeOf: (id: ValueId) => TensorType,
): Seating | undefined {
  const made = (id: ValueId | undefined, op: string): Node | undefined => {
    const n = id === undefined ? undefined : producer(id);
    return n?.op.name === op ? n : undefined;
  };
  const number = (id: ValueId | undefined): number | undefined => {
    const value = made(id, "constant")?.attrs["value"];
    return typeof value === "number" ? value : undefined;
  };
  const which = made(made(ids, "reshape")?.inputs[0] ?? ids, "where");
  const kept = made(which?.inputs[0], "less");
  const seats = made(kept?.inputs[0], "expert_seats");
  const capacity = number(kept?.inputs[1]);
  if (!which || !kept || !seats || capacity === undefined || !Number.isInteger(capacity) || capacity < 1)
    return undefined;
  const choices = seats.inputs[0]!;
  const k = constantOf(typeOf(choices).shape[1]!);
  const same = which.inputs[1] === choices && (number(which.inputs[2]) ?? 0) >= experts;
  if (!same || k === undefined || numberOf(seats.attrs, "experts") !== experts) return undefined;
  return { choices, k, capacity, kept };
}
