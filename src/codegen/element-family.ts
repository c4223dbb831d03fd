// The family of schedules that groups of element work have: elementwise ops, stencils, gathers, transposes.

import { elementKernel } from "./element-kernel.ts";
import * as element from "./element-schedule.ts";
import { stepOf } from "./kernel-of.ts";
import { family } from "./schedule-family.ts";

export const elements = family({
  name: "kernel of elements",
  kinds: element.elementKinds,
  example: "rows:threads=64,rows=1,width=4",
  ...element.elementText,
  facts: ({ attrs, body }, o) =>
    attrs["kind"] === "element" && body ? element.elementFacts(body, o) : undefined,
  sizes: element.elementSizes,
  showSizes: ({ elements: count = 0, inner = 0 }) => `${count} elements, ${inner} along the innermost axis`,
  refuse: element.refuseElement,
  choose: element.chooseElement,
  why: element.whyElement,
  cost: element.elementCost,
  rank: element.rankElements,
  steps: ({ body }, schedule, why, { target, bounds }) => [
    stepOf(body!, elementKernel(body!, target, bounds, { schedule, why })),
  ],
});
