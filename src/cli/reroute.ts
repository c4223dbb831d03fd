// `--reroute`: vectors on the logits of routers, of which a checkpoint may say nothing.

import { lookupOp, type Module, type Tensor } from "../index.ts";
import { zeros } from "../ir/tensor.ts";
import { constantOf } from "../ir/dim.ts";
import { isLogitDelta, withLogitDeltas } from "../routing/reroute.ts";
import { error, InputError } from "../support/diagnostic.ts";

export function withReroute(module: Module, path: string): Module {
  const graphs = module.graphs.map((g) => withLogitDeltas(g, lookupOp));
  if (graphs.every((g, i) => g === module.graphs[i]))
    throw new InputError([
      error("reroute", `${path} has no router that chooses experts for tokens`, {
        help: "--reroute is for models with `route`",
      }),
    ]);
  return { ...module, graphs };
}

/** The module without these vectors, for a checkpoint that does not have them. */
export function withoutDeltas(module: Module): Module {
  const own = module.graphs.map((g) => ({ ...g, weights: g.weights.filter((w) => !isLogitDelta(w.key)) }));
  return { ...module, graphs: own };
}

/** Zero for each of them. */
export function withZeroDeltas(module: Module, weights: (key: string) => Tensor): (key: string) => Tensor {
  const all = new Map(module.graphs.flatMap((g) => g.weights).map((w) => [w.key, w.type]));
  return (key) => {
    if (!isLogitDelta(key)) return weights(key);
    const type = all.get(key)!;
    return zeros(
      type.dtype,
      type.shape.map((d) => constantOf(d)!),
    );
  };
}
