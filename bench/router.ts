// A router's product and its choice in one kernel, against a kernel for each:
//   node --import tsx bench/router.ts [--device NAME] [--tokens 1,8,64] [--experts 16,64] [--channels 512] [--k 4] [--runs N]
// Both by the device's timestamps, in turns: the least, medians, and the median of the ratio run by run. One kernel has as many tokens in a
// workgroup as `fuse-router` gives it, or would where it leaves them apart; whether ids and weights have the same bits is said too.

import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { compile, load, seededInput, seededTensor, type Session } from "../src/index.ts";
import type { Target } from "../src/ir/target.ts";
import { chooseRouter } from "../src/passes/fuse-router.ts";
import { openDevice } from "../src/runtime/device-node.ts";
import { median } from "./compare.ts";

const { values: flags } = parseArgs({
  options: {
    device: { type: "string" },
    tokens: { type: "string", default: "1,8,64,1024" },
    experts: { type: "string", default: "16,64" },
    channels: { type: "string", default: "512" },
    k: { type: "string", default: "4" },
    runs: { type: "string", default: "25" },
  },
});
const list = (text: string): number[] => text.split(",").map(Number);
const [width, k] = [Number(flags.channels), Number(flags.k)];
const opened = await openDevice(flags.device === undefined ? {} : { device: flags.device });

const source = (tokens: number, experts: number): string => `
model router (x: f32[${tokens}, ${width}]) -> (ids: u32[${tokens}, ${k}], weights: f32[${tokens}, ${k}]) {
  ids, weights = x |> linear(out = ${experts}, bias = false) @gate |> route(k = ${k}, scores = logits, weights = softmax)
  return ids = ids, weights = weights
}`;

/** Where dispatches are so dear that one of two is always worth it. */
const dear: Target = {
  ...opened.target,
  measured: { ...opened.target.measured, dispatchMicroseconds: 1e9 },
};

/** How many dispatches, so that it is known what was measured. */
async function sessionOf(
  text: string,
  target: Target,
  without: readonly string[],
  count: number,
): Promise<Session> {
  const compiled = compile({ name: "router.model", text }, { target, without });
  const { length } = compiled.plan.entries[0]!.dispatches;
  if (length !== count) throw new Error(`${length} dispatches in place of ${count}`);
  return load(
    compiled,
    (key) => seededTensor(key, [Number(/out = (\d+)/.exec(text)![1]), width], 0, "f32"),
    opened.device,
  );
}

async function compare(tokens: number, experts: number): Promise<string> {
  const sizes = { experts, bytes: 4 * experts * width, chosenBytes: 4 * (2 * k + 1) };
  const { tokens: each } = chooseRouter(sizes, tokens, opened.target);
  const text = source(tokens, experts);
  const sessions = [
    await sessionOf(text, opened.target, ["fuse-router"], 2),
    await sessionOf(text, dear, [], 1),
  ];
  const inputs = { x: seededInput("x", [tokens, width]) };
  const [a, b] = await Promise.all(sessions.map((s) => s.run(inputs)));
  const same = ["ids", "weights"].every((name) => `${a![name]!.data.join()}` === `${b![name]!.data.join()}`);
  const times: number[][] = [[], []];
  for (let run = 0; run < Number(flags.runs); run++)
    for (const [i, s] of sessions.entries()) {
      const { nanoseconds } = await s.runWith(inputs, { profile: true, outputs: [] });
      times[i]!.push(nanoseconds!.reduce((x, y) => x + y, 0) / 1e3);
    }
  for (const s of sessions) await s.dispose();
  const cell = (list: number[]): string => `${Math.min(...list).toFixed(0)}, ${median(list).toFixed(0)}`;
  const ratio = median(times[1]!.map((t, i) => t / times[0]![i]!)).toFixed(2);
  const chosen = each === undefined ? "apart" : `together, ${each}`;
  return `| ${tokens} | ${experts} | ${cell(times[0]!)} | ${cell(times[1]!)} | ${ratio} | ${chosen} | ${same ? "yes" : "no"} |`;
}

console.log(`${opened.name}; ${width} channels, ${k} choices; microseconds: least, median\n`);
console.log("| tokens | experts | apart | together | ratio | chosen | same bits |");
console.log("| ---: | ---: | ---: | ---: | ---: | --- | --- |");
for (const experts of list(flags.experts))
  for (const tokens of list(flags.tokens)) console.log(await compare(tokens, experts));
console.log(`\nload ${loadavg()[0]!.toFixed(1)}`);
opened.device.destroy();
