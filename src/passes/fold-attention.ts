// Attention of which one side is small or known: few queries against many keys (a class token, a probe, PoNet's mean query), a constant
// dictionary of keys and values (NV-Embed's latents), a single key. The large projections are folded into the small side: identities
// A1-A4, P2-P3, N1-N2 and T2.

import { addDim, dim, divideExact, mulDim, productDim, sameDim, type Dim } from "../ir/dim.ts";
import type { ValueId } from "../ir/graph.ts";
import { typicalOf } from "../ir/positions.ts";
import type { RewriteContext, Rule } from "../ir/rewrite-types.ts";
import { attentionScale } from "../ops/attention.ts";
import { axisOf, isOne } from "../ops/define.ts";
import { allF32, flag, layerOf, reshapeTo, scalar } from "./match.ts";
import type { Pass } from "./pass.ts";
import { areOnlyFor, projectionOf, type Projection } from "./projections.ts";

/** Sizes of [batch, tokens, heads, size]. */
type Heads = readonly [Dim, Dim, Dim, Dim];

function headsOf(c: RewriteContext, id: ValueId): Heads {
  const [batch, tokens, heads, size] = c.type(id).shape;
  return [batch!, tokens!, heads!, size!];
}

const product = (...sizes: readonly Dim[]): number => typicalOf(productDim(sizes));

/** [batch, tokens, heads, size] as [batch, key heads, group * tokens, size]: the rows that share a head of keys together. */
function rowsOfHeads(c: RewriteContext, x: ValueId, keyHeads: Dim): ValueId {
  const [batch, tokens, heads, size] = headsOf(c, x);
  const turned = isOne(tokens) ? x : c.add("transpose", [x], { perm: [0, 2, 1, 3] });
  return reshapeTo(c, turned, [batch, keyHeads, mulDim(divideExact(heads, keyHeads)!, tokens), size]);
}

/** The way back: [batch, key heads, group * tokens, size] as [batch, tokens, heads, size]. */
function headsOfRows(c: RewriteContext, x: ValueId, tokens: Dim, heads: Dim): ValueId {
  const [batch, , , size] = headsOf(c, x);
  if (isOne(tokens)) return reshapeTo(c, x, [batch, tokens, heads, size]);
  return c.add("transpose", [reshapeTo(c, x, [batch, heads, tokens, size])], { perm: [0, 2, 1, 3] });
}

/** A value of [1, tokens, heads, size] as [heads, tokens, size]. */
function headFirst(c: RewriteContext, x: ValueId): ValueId {
  return c.add("squeeze", [c.add("transpose", [x], { perm: [0, 2, 1, 3] })], { axes: [0] });
}

/** Multiply-adds as the model says them, and with the projections of keys and values on the side of the queries. */
function costs(c: RewriteContext, q: ValueId, k: ValueId, v: ValueId, keys: Projection, values: Projection) {
  const [batch, queries, heads, size] = headsOf(c, q);
  const [keyBatch, tokens, keyHeads] = headsOf(c, k);
  const width = headsOf(c, v)[3];
  const [kIn, vIn] = [keys, values].map((p) => c.type(p.x).shape[2]!) as [Dim, Dim];
  const rows = mulDim(queries, heads);
  const made = k === v ? mulDim(kIn, size) : addDim(mulDim(kIn, size), mulDim(vIn, width));
  const project = product(keyBatch, tokens, keyHeads, made);
  const fold = c.isPrepared(q) ? 0 : product(batch, rows, size, kIn);
  return {
    before: project + product(keyBatch, rows, tokens, addDim(size, width)),
    after: fold + product(keyBatch, rows, addDim(mulDim(tokens, addDim(kIn, vIn)), mulDim(width, vIn))),
  };
}

const fewQueries: Rule = {
  name: "few-queries",
  equation:
    "attention(q, Wk x + bk, Wv x + bv) = Wv attention(Wk' q, x, x) + bv per head   if there are so few queries that this is less work",
  doc: "The products of a query with bk are the same for all keys, which softmax does not see; the weights of the values sum to 1. The tokens are keys and values themselves, of one head that all queries share. A head for each of few queries replaces two projections of every token.",
  roots: ["attention"],
  apply(root, c) {
    const [q, k, v, mask, bias] = root.inputs as readonly ValueId[];
    if (!allF32(c, [q, k, v]) || c.isPrepared(k!)) return null;
    const [, queries, heads] = headsOf(c, q!);
    const keyHeads = headsOf(c, k!)[2];
    if (typicalOf(queries) * 2 > typicalOf(headsOf(c, k!)[1])) return null;
    const keys = projectionOf(c, k!);
    const values = projectionOf(c, v!);
    if (!keys || !values) return null;
    if ("obstacle" in keys) return c.refuse(`the query is not folded into the keys: ${keys.obstacle}`);
    if ("obstacle" in values)
      return c.refuse(`the values are not summed before they are projected: ${values.obstacle}`);
    if (!areOnlyFor(c, root, [keys, values])) return c.refuse("keys and values are read elsewhere too");
    const { before, after } = costs(c, q!, k!, v!, keys, values);
    if (after >= before) return c.refuse("with so many queries and heads the projections are less work");
    const valueBias = values.bias?.();
    if (valueBias && bias)
      return c.refuse(
        "the bias may hide every key from a query, which then must not get the bias of the values",
      );
    c.matched(...keys.nodes, ...values.nodes);

    const oneHead = (x: ValueId) => {
      const [batch, tokens, channels] = c.type(x).shape as readonly [Dim, Dim, Dim];
      return c.add("reshape", [x], { dims: [batch, tokens, dim(1), channels] });
    };
    const wk = headFirst(c, keys.weight()); // [key heads, channels, size]
    const asked = c.add("matmul", [rowsOfHeads(c, q!, keyHeads), wk], { transpose_b: true });
    const x = oneHead(keys.x);
    const summed = values.x === keys.x ? x : oneHead(values.x);
    const inputs = [headsOfRows(c, asked, queries, heads), x, summed, ...root.inputs.slice(3)];
    const causal = flag(root.attrs, "causal") && !isOne(queries);
    const scale = attentionScale(c.type(q!), root.attrs);
    const mixed = c.add("attention", inputs, { causal, scale });
    const wv = headFirst(c, values.weight()); // [key heads, channels, width]
    const projected = c.add("matmul", [rowsOfHeads(c, mixed, keyHeads), wv]);
    const shifted = valueBias ? c.add("add", [projected, shareOf(c, valueBias, mask)]) : projected;
    return [headsOfRows(c, shifted, queries, heads)];
  },
};

/** The bias of the values, [1, key heads, 1, width], where a sample sees any key at all. */
function shareOf(c: RewriteContext, bias: ValueId, mask: ValueId | undefined): ValueId {
  const perHead = c.add("transpose", [bias], { perm: [0, 2, 1, 3] });
  if (!mask) return perHead;
  const { dtype, shape } = c.type(mask);
  const seen =
    dtype === "bool" ? mask : c.add("not_equal", [mask, c.add("constant", [], { value: 0, dtype })]);
  const any = c.add("reduce_max", [c.add("cast", [seen], { dtype: "f32" })], { axes: [1] });
  return c.add("mul", [c.add("reshape", [any], { dims: [shape[0]!, dim(1), dim(1), dim(1)] }), perHead]);
}

const constantDictionary: Rule = {
  name: "constant-dictionary",
  equation:
    "Wo attention(Wq x + bq, K, V) + bo = (Wo V) softmax((K Wq) x + K bq) + bo   for each head, if K and V are prepared",
  doc: "Two constant matrices around a softmax over the entries of the dictionary, head by head (NV-Embed: a ninth of the work).",
  roots: ["linear"],
  apply(root, c) {
    const out = layerOf(c, root);
    const flat = out && c.soleProducer(out.x, "reshape");
    const attention = flat && c.soleProducer(flat.inputs[0]!, "attention");
    if (!out || !attention || !allF32(c, attention.inputs.slice(0, 3))) return null;
    const [q, k, v, mask, bias] = attention.inputs as readonly ValueId[];
    if (!c.isPrepared(k!) || !c.isPrepared(v!)) return null;
    const [batch, tokens, heads, size] = headsOf(c, q!);
    const [keyBatch, entries, keyHeads, width] = headsOf(c, v!);
    if (mask || bias || flag(attention.attrs, "causal"))
      return c.refuse("a mask or a bias depends on the sample", attention);
    if (!sameDim(heads, keyHeads) || !isOne(keyBatch)) return c.refuse("heads share keys", attention);
    const [made, channels] = c.type(out.weight).shape as readonly [Dim, Dim];
    const kept = c.type(out.x).shape;
    if (kept.length !== 3 || !sameDim(kept[1]!, tokens) || !sameDim(channels, mulDim(heads, width)))
      return null;
    const asked = projectionOf(c, q!);
    if (!asked) return null;
    if ("obstacle" in asked)
      return c.refuse(`the queries are not folded into the dictionary: ${asked.obstacle}`, attention);
    const into = c.type(asked.x).shape[2]!;
    const logits = mulDim(heads, entries);
    const before = product(
      heads,
      addDim(mulDim(into, size), addDim(mulDim(entries, addDim(size, width)), mulDim(width, made))),
    );
    if (product(logits, addDim(into, made)) >= before)
      return c.refuse("the dictionary has so many entries that the projections are less work", attention);
    c.matched(...asked.nodes, attention, flat);

    const scale = scalar(c, attentionScale(c.type(q!), attention.attrs));
    const scaled = c.add("mul", [headFirst(c, k!), scale]); // [heads, entries, size]
    const u = c.add("matmul", [scaled, headFirst(c, asked.weight())], { transpose_b: true }); // [heads, entries, into]
    const uFlat = c.add("reshape", [u], { dims: [logits, into] });
    const shift = asked.bias && c.add("matmul", [scaled, headFirst(c, asked.bias())], { transpose_b: true });
    const uBias = shift && c.add("reshape", [shift], { dims: [logits] });
    const products = c.add("linear", uBias ? [asked.x, uFlat, uBias] : [asked.x, uFlat]);
    const apart = c.add("reshape", [products], { dims: [batch, tokens, heads, entries] });
    const weights = c.add("reshape", [c.add("softmax", [apart])], { dims: [batch, tokens, logits] });
    // [heads, made, width] times [heads, entries, width]
    const wo = c.add("transpose", [c.add("reshape", [out.weight], { dims: [made, heads, width] })], {
      perm: [1, 0, 2],
    });
    const t = c.add("matmul", [wo, headFirst(c, v!)], { transpose_b: true });
    const tFlat = c.add("reshape", [c.add("transpose", [t], { perm: [1, 0, 2] })], { dims: [made, logits] });
    return [c.add("linear", out.bias ? [weights, tFlat, out.bias] : [weights, tFlat])];
  },
};

const singleKey: Rule = {
  name: "single-key",
  equation: "attention(q, k, v) = v   if there is one key, which every query sees",
  doc: "The one weight is 1: queries and keys are dead.",
  roots: ["attention"],
  apply(root, c) {
    const [q, , v, mask, bias] = root.inputs as readonly ValueId[];
    const [batch, queries, heads, width] = headsOf(c, root.results[0]!.id);
    const [, keys, keyHeads] = headsOf(c, v!);
    if (!isOne(keys) || !allF32(c, [q, v])) return null;
    if (mask) return c.refuse("the mask may hide the one key");
    if (bias) return c.refuse("the bias may hide the one key");
    if (flag(root.attrs, "causal") && !isOne(queries))
      return c.refuse("causal: queries before the last do not see the one key");
    if (!sameDim(heads, keyHeads) && !isOne(keyHeads)) return c.refuse("heads share keys");
    return [c.add("broadcast_to", [v], { dims: [batch, queries, heads, width] })];
  },
};

/** A norm's scale and shift per channel, and the same norm without them. */
function affineOf(c: RewriteContext, id: ValueId) {
  const flat = c.producer(id);
  const norm = flat?.op.name === "reshape" ? c.soleProducer(flat.inputs[0]!) : undefined;
  if (!flat || !norm || !["layer_norm", "rms_norm"].includes(norm.op.name)) return undefined;
  const [x, gamma, beta] = norm.inputs as readonly [ValueId, ValueId | undefined, ValueId | undefined];
  const { shape } = c.type(x);
  const channels = shape.at(-1)!;
  const perToken = axisOf(norm.attrs, "axis", shape.length) === shape.length - 1;
  if (!perToken || !gamma || !sameDim(c.type(id).shape.at(-1)!, channels)) return undefined;
  return { norm, flat, x, gamma, beta: beta || undefined };
}

const normOfKeys: Rule = {
  name: "norm-of-keys",
  equation:
    "attention(q, g n + b, g n + b) = g attention(g q, n, n) + b   for tokens that are keys and values of one head, n normalized",
  doc: "The products of a query with b are the same for all keys, and weights sum to 1: the norm's scale and shift are applied to the few queries and results instead of to every token (A5).",
  roots: ["attention"],
  apply(root, c) {
    const [q, k, v, mask, bias] = root.inputs as readonly ValueId[];
    if (k !== v || !allF32(c, [q, k]) || !isOne(headsOf(c, k!)[2])) return null;
    const found = c.uses(k!) === 2 ? affineOf(c, k!) : undefined;
    if (!found || c.isPrepared(k!)) return null;
    const [, queries, heads] = headsOf(c, q!);
    if (typicalOf(mulDim(queries, heads)) >= typicalOf(headsOf(c, k!)[1]))
      return c.refuse("there are more queries than tokens");
    const { norm, flat, x, gamma, beta } = found;
    if (beta && bias)
      return c.refuse("the bias may hide every key from a query, which then must not get the norm's shift");
    c.matched(norm, flat);
    const plain = c.add(norm.op.name, [x], norm.attrs);
    const keys = c.add("reshape", [plain], flat.attrs);
    const asked = c.add("mul", [q, gamma]);
    const attrs = { ...root.attrs, scale: attentionScale(c.type(q!), root.attrs) };
    const mixed = c.add("attention", [asked, keys, keys, ...root.inputs.slice(3)], attrs);
    const scaled = c.add("mul", [mixed, gamma]);
    if (!beta) return [scaled];
    const shift = c.add("reshape", [beta], { dims: [dim(1), dim(1), dim(1), c.type(beta).shape[0]!] });
    return [c.add("add", [scaled, shareOf(c, shift, mask)])];
  },
};

export const foldAttention: Pass = {
  name: "fold-attention",
  doc: "Where queries are few, or keys and values known at load, or there is one key, the projections of the large side go to the small one.",
  level: 1,
  numerics: "reassociates",
  domain: "finite inputs",
  needs: [],
  gives: [],
  rules: [singleKey, fewQueries, normOfKeys, constantDictionary],
};
