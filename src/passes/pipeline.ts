// Everything that happens to a model, in order.

import { canonicalize } from "./canonicalize.ts";
import { chooseLayout } from "./choose-layout.ts";
import { deadTokens } from "./dead-tokens.ts";
import { denseExperts } from "./dense-experts.ts";
import { decompose } from "./decompose.ts";
import { dropDead } from "./drop-dead.ts";
import { dropZeroBranches } from "./drop-zero-branches.ts";
import { dropIrrelevant } from "./drop-irrelevant.ts";
import { dropIdentities } from "./drop-identities.ts";
import { foldAffineIntoWeights } from "./fold-affine-into-weights.ts";
import { foldAttention } from "./fold-attention.ts";
import { foldConstants } from "./fold-constants.ts";
import { formGroups } from "./form-groups.ts";
import { fuseRouter } from "./fuse-router.ts";
import { halfStorage } from "./half-storage.ts";
import { hoistReductions } from "./hoist-reductions.ts";
import { nestWindows } from "./nest-windows.ts";
import { normIntoLinear } from "./norm-into-linear.ts";
import { packTokens } from "./pack-tokens.ts";
import { pageConstants } from "./page-constants.ts";
import { quantizeWeights } from "./quantize-weights.ts";
import { planExperts } from "./plan-experts.ts";
import { maxBeforeMap } from "./max-before-map.ts";
import type { Pass } from "./pass.ts";
import { poolMixer } from "./pool-mixer.ts";
import { reduceTokens } from "./reduce-tokens.ts";
import { repeatLater } from "./repeat-later.ts";
import { separateWindows } from "./separate-windows.ts";
import { sharedExperts } from "./shared-experts.ts";
import { simplifyRouting } from "./simplify-routing.ts";
import { shareDuplicates } from "./share-duplicates.ts";

/** The same pass a second time, under a name of its own so that each can be switched off or stopped after. */
function again(pass: Pass): Pass {
  return { ...pass, name: `${pass.name}-again` };
}

export const pipeline: readonly Pass[] = [
  // 0. Change the function, where that was asked for: first, while blocks are still as they were written.
  reduceTokens,
  // 1. Say the same thing more simply.
  nestWindows, // while a level of one bin is still a level
  canonicalize,
  foldConstants,
  shareDuplicates,
  dropDead,
  dropIdentities,
  // 2. Touch fewer tokens.
  dropZeroBranches, // only where asked for: what it assumes of the weights is checked at load
  deadTokens,
  dropIrrelevant,
  repeatLater,
  maxBeforeMap,
  packTokens, // after dead tokens are gone: a class token is kept, whatever the mask says
  foldAttention, // after dead tokens are gone: of a class token one query is left
  poolMixer, // before norms go anywhere else: it needs only a part of one
  // 3. Let the prepare program do what depends on weights alone.
  foldAffineIntoWeights, // before the mean moves, so that a scale does not stand between it and the layer
  hoistReductions,
  normIntoLinear, // after scales are in the weights, which it scales once more
  separateWindows, // after pools have moved in front of layers
  halfStorage, // after weights are folded in full precision, while a norm is one op
  // 4. Write everything with what kernels are made of.
  decompose,
  again(canonicalize),
  again(foldConstants),
  again(shareDuplicates), // the means that a variance and its norm both take
  // 5. Launch fewer kernels.
  simplifyRouting, // while rows are as tokens are
  sharedExperts, // before rows are sorted: there are more of them
  denseExperts, // what it leaves is sorted, or gathered row by row
  planExperts,
  fuseRouter, // behind all that reads routers
  quantizeWeights, // behind all that makes weights of weights: what it leaves is read by kernels alone
  chooseLayout, // before groups: one group has one order
  pageConstants, // as they lie in memory by now
  formGroups,
];

/** Every pass once, for switches, documentation and tests. */
export const allPasses: readonly Pass[] = pipeline.filter((p) => !p.name.endsWith("-again"));
