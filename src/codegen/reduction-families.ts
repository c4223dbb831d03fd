// The families of schedules that reductions have: rows, where what is reduced lies together in memory, and columns, where what is kept does.

import type { Node } from "../ir/graph.ts";
import { columnSteps } from "./column-kernel.ts";
import * as column from "./column-schedule.ts";
import { domainOf, type Domain } from "./reduction-domain.ts";
import { rowSteps } from "./row-kernel.ts";
import * as row from "./row-schedule.ts";
import { family } from "./schedule-family.ts";

function reduced({ attrs, body }: Node): Domain | undefined {
  return attrs["kind"] === "reduction" && body ? domainOf(body) : undefined;
}

export const rowReductions = family({
  name: "row reduction",
  kinds: ["row"],
  example: "row:threads=256,rows=1,parts=1,width=4,keep=0",
  ...row.rowText,
  facts(group, o) {
    const domain = reduced(group);
    return domain?.isRows ? row.rowFacts(group.body!, domain, o) : undefined;
  },
  sizes: row.rowSizes,
  showSizes: ({ rows = 0, length = 0 }) => `${rows} rows of ${length}`,
  refuse: row.refuseRow,
  choose: row.chooseRow,
  why: row.whyRow,
  cost: row.rowCost,
  rank: row.rankRows,
  steps: ({ body }, s, why, { target, bounds }) => rowSteps(body!, s, why, target, bounds),
});

export const columnReductions = family({
  name: "column reduction",
  kinds: ["column"],
  example: "column:threads=64,rows=1,parts=1,width=4",
  ...column.columnText,
  facts(group, o) {
    const domain = reduced(group);
    return domain && !domain.isRows ? column.columnFacts(group.body!, domain, o) : undefined;
  },
  sizes: column.columnSizes,
  showSizes: ({ rows = 0, columns = 0, length = 0 }) => `${rows} rows of ${columns}, sums of ${length}`,
  refuse: column.refuseColumn,
  choose: column.chooseColumn,
  why: column.whyColumn,
  cost: column.columnCost,
  rank: column.rankColumns,
  steps: ({ body }, s, why, { bounds }) => columnSteps(body!, s, why, bounds),
});
