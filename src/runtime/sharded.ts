// The index of a checkpoint in several files (`model.safetensors.index.json`): which tensor is in which shard. Pure; decides by text
// alone which shard names are acceptable, weights-node.ts then checks where they lead on disk.

import { error } from "../support/diagnostic.ts";
import { failed, ok, shown, type Outcome } from "./bytes.ts";
import { isObject, parseJson } from "./strict-json.ts";

export const shardLimits = {
  indexBytes: 64 * 2 ** 20,
  tensors: 1_000_000,
  shards: 1000,
} as const;

/** Shard names in order of first appearance, with the tensors that are theirs. */
export type ShardIndex = ReadonlyMap<string, ReadonlySet<string>>;

export function parseShardIndex(text: string, file: string): Outcome<ShardIndex> {
  const parsed = parseJson(text, { depth: 8, values: shardLimits.tensors });
  if ("failure" in parsed) {
    const { kind, message, offset } = parsed.failure;
    const code = kind === "depth" || kind === "count" ? "weights-index-limit" : "weights-index";
    const what = kind === "duplicate-key" ? `the key ${message} stands twice` : message;
    return failed(error(code, `${file}: character ${offset}: ${what}`));
  }
  const map = isObject(parsed.value) ? parsed.value.get("weight_map") : undefined;
  if (!isObject(map))
    return failed(
      error("weights-index", `${file} has no weight_map`, {
        help: "is it the index of a sharded checkpoint?",
      }),
    );
  const shards = new Map<string, Set<string>>();
  for (const [key, shard] of map) {
    if (typeof shard !== "string")
      return failed(error("weights-index", `${file}: the shard of tensor ${shown(key)} is not text`));
    const keys = shards.get(shard);
    if (keys) {
      keys.add(key);
      continue;
    }
    if (!staysInside(shard))
      return failed(
        error(
          "weights-shard-path",
          `${file} names the shard ${shown(shard)}, which is not a plain path inside its folder`,
          {
            help: "an index may only name files beside it or below it",
          },
        ),
      );
    if (shards.size >= shardLimits.shards)
      return failed(error("weights-index-limit", `${file} names more than ${shardLimits.shards} shards`));
    shards.set(shard, new Set([key]));
  }
  return ok(shards);
}

/** No absolute path, drive, backslash, control character, `.` or `..`, on any system. */
function staysInside(path: string): boolean {
  if (path.length > 1024 || /[\\:\u0000-\u001f\u007f]/.test(path)) return false;
  return path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}
