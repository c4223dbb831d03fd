// Which positions of each node can matter, as remarks behind its line in a dump: `// live [:, 0:1, :]`. Comments to whoever reads the
// text back, so a text with them is the same graph.

import { addDim, dim } from "./dim.ts";
import type { Graph, Node } from "./graph.ts";
import { liveBoxes } from "./liveness.ts";
import { endOf, isPicked, isWhole, type Positions } from "./positions.ts";
import { valueText } from "./print.ts";

/** For `printGraph`: nothing for a node of which all is wanted. A result of several is named. */
export function liveRemarks(graph: Graph): (node: Node) => string | undefined {
  const { boxes } = liveBoxes(graph);
  return (node) => {
    const said = node.results.flatMap((r) => {
      const wanted = boxes.get(r.id);
      if (wanted?.some(isWhole)) return [];
      const of = node.results.length > 1 ? `${valueText(r.id)} ` : "";
      const parts = (wanted ?? []).map((box) => `[${box.map(positionsText).join(", ")}]`);
      return parts.length === 0 ? `${of}nothing` : of + parts.join(" and ");
    });
    return said.length === 0 ? undefined : `live ${said.join(", ")}`;
  };
}

/** As a slice is written; positions that a value says when the model runs by that value. */
function positionsText(p: Positions): string {
  if (p === "all") return ":";
  if (isPicked(p)) return `at ${valueText(p.by)}`;
  const end = p.step === 1 ? addDim(p.start, p.count) : endOf(p);
  return [p.start.key, end.key, ...(p.step === 1 ? [] : [dim(p.step).key])].join(":");
}
