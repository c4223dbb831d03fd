// A router's product and its choice in one kernel, for few tokens: one dispatch less, and logits stay in workgroup memory. For many, a
// product in high tiles reads the router's weights less often, and stays apart.

import { constantOf, productDim } from "../ir/dim.ts";
import type { Node } from "../ir/graph.ts";
import { rewrite } from "../ir/rewrite.ts";
import type { RewriteContext, Rule, RuleDoc } from "../ir/rewrite-types.ts";
import { defaultFirstRunWeight, runsOnCores, type Target } from "../ir/target.ts";
import { bytesOf } from "../ir/types.ts";
import { numberOf } from "../ops/define.ts";
import { numberFor } from "./expert-cost.ts";
import type { Pass, PassContext } from "./pass.ts";

const productAndChoice: RuleDoc = {
  name: "product-and-choice",
  equation: "route(x W^T + b) = route_tokens(x, W^T, b);  nothing else reads x W^T + b",
  doc: "A workgroup makes the logits of a few tokens and chooses their experts; each sum in the order that it has in a product that is not split.",
};

export const fuseRouter: Pass = {
  name: "fuse-router",
  doc: "The logits of few tokens are made and chosen from in one kernel, where that costs less than a dispatch and the trip through memory.",
  level: 1,
  numerics: "exact",
  needs: ["primitive"],
  gives: [],
  run: (graph, c) => rewrite(graph, [{ ...productAndChoice, ...ruleFor(c) }], c.lookup),
  changes: [productAndChoice],
};

function ruleFor(passes: PassContext): Pick<Rule, "roots" | "apply"> {
  return {
    roots: ["route"],
    apply(root, c) {
      const product = c.producer(root.inputs[0]!);
      if (product?.op.name !== "linear") return null;
      const [x, weight, offset] = product.inputs as [string, string, string | undefined];
      if (c.uses(root.inputs[0]!) !== 1) return c.refuse("its logits are read elsewhere too");
      if (!c.isPrepared(weight)) return c.refuse("the router's weights change between runs");
      const router = routerOf(root, product, c);
      if (router === undefined) return c.refuse("the widths of the router are not known while compiling");
      const tokens = numberFor(productDim(c.type(x).shape.slice(0, -1)), passes);
      if (tokens === undefined)
        return c.refuse(
          "how many tokens there are is not known: a product of its own costs least where there are many (--dim says what to expect)",
        );
      const choice = chooseRouter(router, tokens, passes.target, passes.firstRunWeight);
      if (choice.tokens === undefined) return c.refuse(choice.why);
      c.matched(product);
      c.because(choice.why);
      const columns = c.add("transpose", [weight], { perm: [1, 0] });
      const attrs = { ...root.attrs, tokens: choice.tokens };
      return c
        .producer(c.add("route_tokens", [x, columns, offset, root.inputs[1]], attrs))!
        .results.map((r) => r.id);
    },
  };
}

export interface RouterSizes {
  readonly experts: number;
  /** Bytes of its weights. */
  readonly bytes: number;
  /** Bytes of workgroup memory of a token besides its logits. */
  readonly chosenBytes: number;
}

function routerOf(root: Node, product: Node, c: RewriteContext): RouterSizes | undefined {
  const weight = c.type(product.inputs[1]!);
  const [experts, into] = weight.shape.map((d) => constantOf(d));
  if (experts === undefined || into === undefined) return undefined;
  const chosenBytes = 4 * (2 * numberOf(root.attrs, "k") + numberOf(root.attrs, "groups"));
  return { experts, bytes: experts * into * bytesOf[weight.dtype], chosenBytes };
}

export interface RouterChoice {
  /** Of a workgroup; undefined where the product stays apart. */
  readonly tokens: number | undefined;
  readonly why: string;
}

/** Tokens whose sums share a read of the weights, and the most that a workgroup has (ops/route-tokens-kernel.ts). */
const SHARED_READ = 8;
const MOST_TOKENS = 16;

/** What reads of the weights take, where rows share them by so many; a dispatch; and the logits, written and read once. */
export function chooseRouter(
  router: RouterSizes,
  count: number,
  target: Target,
  weight = defaultFirstRunWeight,
): RouterChoice {
  const { measured, limits } = target;
  const { experts, bytes, chosenBytes } = router;
  const cores = measured.tiles?.cores ?? (runsOnCores(target) ? 2 : 128);
  const each = 2 ** Math.ceil(Math.log2(Math.max(1, count / cores)));
  const all = 2 ** Math.ceil(Math.log2(Math.max(1, count)));
  const tokens = Math.min(MOST_TOKENS, Math.max(each, Math.min(SHARED_READ, all)));
  const shared = tokens * (4 * experts + chosenBytes);
  if (shared > limits.maxComputeWorkgroupStorageSize)
    return {
      tokens: undefined,
      why: `the logits of ${tokens} tokens take ${shared} bytes of workgroup memory, the target allows ${limits.maxComputeWorkgroupStorageSize}`,
    };
  const read = bytes / (measured.gigabytesPerSecond * 1e3);
  const sums = Math.min(tokens, SHARED_READ);
  // On cores each invocation reads tokens for itself, a number for every four experts or one; a card hands it to all at once.
  const alone = runsOnCores(target) ? sums / (experts % 4 === 0 ? 4 : 1) : 0;
  const own = Math.ceil(count / sums) * read * (1 + alone);
  const apart = productReads(count, read, target, weight);
  const saved =
    measured.dispatchMicroseconds + (2 * 4 * count * experts) / (measured.gigabytesPerSecond * 1e3);
  const us = (n: number): string => `${n < 10 ? n.toPrecision(2) : n.toFixed(0)} us`;
  const why =
    `for ${count} tokens reads of the router are estimated to take ${us(own)} in one kernel with the choice, ${us(apart)} in a ` +
    `product of its own, which takes ${us(saved)} more for its dispatch and the logits in memory`;
  return { tokens: own < apart + saved ? tokens : undefined, why };
}

/** Rows of a product's tiles (codegen/schedule-rank.ts). */
const TILES = [1, 2, 4, 8, 16, 24, 32, 64];

/** A product has tiles as high as their shaders are worth: each row of a tile adds an eighth of a KiB to the text. */
function productReads(count: number, read: number, target: Target, weight: number): number {
  const perRow = (weight * 1e3 * (target.measured.shaderMillisecondsPerKibibyte ?? 0)) / 8;
  const cost = (rows: number): number => Math.ceil(count / rows) * read + rows * perRow;
  const rows = TILES.reduce((a, b) => (cost(b) < cost(a) ? b : a));
  return Math.ceil(count / rows) * read;
}
