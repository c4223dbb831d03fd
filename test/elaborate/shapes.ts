// Numbers of shapes in tests, where every size is one.

import { constantOf as constant, type Dim } from "../../src/ir/dim.ts";

export { elementsOf } from "../../src/ir/types.ts";

export function constantOf(d: Dim): number {
  const n = constant(d);
  if (n === undefined) throw new Error(`${d.key} is no number`);
  return n;
}
