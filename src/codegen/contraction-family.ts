// The family of schedules that contractions have (schedule.ts).

import { contractionSteps } from "./contraction-kernel.ts";
import { factsOf, productsOf } from "./contraction-roles.ts";
import { family } from "./schedule-family.ts";
import { rankSchedules, sizesOf } from "./schedule-rank.ts";
import {
  chooseSchedule,
  parseSchedule,
  refuseSchedule,
  scheduleKinds,
  showSchedule,
  whySchedule,
} from "./schedule.ts";
import { shaderCost, tileCost } from "./tile-cost.ts";

export const contractions = family({
  name: "contraction",
  kinds: scheduleKinds,
  example: "register:threads=8x8,tile=4x1,width=4,step=4,split=1,epilogue=direct",
  show: showSchedule,
  parse: parseSchedule,
  facts: ({ attrs, body }, { target, bounds, sizes }) =>
    attrs["kind"] === "contraction" && body
      ? factsOf(body, productsOf(body), target, bounds, sizes)
      : undefined,
  sizes: sizesOf,
  showSizes: ({ rows = 0, columns = 0, reduction = 0, batch = 1 }) =>
    `${batch > 1 ? `${batch} of ` : ""}${rows} rows, ${columns} columns, sums of ${reduction}`,
  refuse: refuseSchedule,
  choose: chooseSchedule,
  why: (s, f) => whySchedule(f, s),
  cost: (s, f, z) => ({
    microseconds: tileCost(s, z, f.target, f.halves),
    shaderMilliseconds: shaderCost(s, z.products, f.target),
  }),
  rank: rankSchedules,
  steps: ({ body }, s, why, { target, bounds }) => contractionSteps(body!, target, bounds, s, why),
});
