// Common subexpressions: what is computed twice from the same values is computed once. The first node stays, with the lines of both.

import { mergeDuplicates } from "../ir/rewrite.ts";
import type { Pass } from "./pass.ts";

export const shareDuplicates: Pass = {
  name: "share-duplicates",
  doc: "What is computed twice is computed once.",
  level: 1,
  numerics: "exact",
  needs: [],
  gives: [],
  run: (graph) => mergeDuplicates(graph),
};
