// Nodes that no output, state or guard depends on. Weights stay declared: they are the model's contract with its checkpoint.

import { removeDead } from "../ir/rewrite.ts";
import type { Pass } from "./pass.ts";

export const dropDead: Pass = {
  name: "drop-dead",
  doc: "What nothing reads is not computed.",
  level: 0,
  numerics: "exact",
  needs: [],
  gives: ["live"],
  run: (graph) => ({ graph: removeDead(graph), events: [], refusals: [] }),
};
