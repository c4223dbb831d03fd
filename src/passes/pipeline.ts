// Everything that happens to a model, in order.

import { chooseLayout } from "./choose-layout.ts";
import { decompose } from "./decompose.ts";
import { formGroups } from "./form-groups.ts";
import type { Pass } from "./pass.ts";

export const pipeline: readonly Pass[] = [
  // 1. Say it with primitives
  decompose,
  // 2. Meet the machine
  chooseLayout,
  formGroups,
];
