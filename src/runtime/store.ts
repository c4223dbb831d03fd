// A set of named tensors somewhere: a file, a sharded checkpoint, several under namespaces. What is in it is known at once, values
// are read one at a time. Pure; also splits and joins namespaced keys (`small:head.fc.weight`).

import type { Tensor } from "../ir/tensor.ts";
import type { DType } from "../ir/types.ts";
import { error, type Diagnostic } from "../support/diagnostic.ts";
import { failed, shown, type Outcome } from "./bytes.ts";
import type { StoredType } from "./elements.ts";

export interface StoredTensor {
  readonly key: string;
  /** The tensor type it has when no other is asked for. */
  readonly dtype: DType;
  /** How its elements lie in the file. */
  readonly stored: StoredType;
  readonly shape: readonly number[];
}

export interface TensorStore {
  /** As shown to the reader. */
  readonly name: string;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** Reads one, converted to `wanted` where that is given. */
  read(key: string, wanted?: DType): Promise<Outcome<Tensor>>;
  close(): Promise<void>;
}

/** Stores side by side; `prefix` goes before each key. A key in two of them is an error. */
export function mergeStores(
  name: string,
  parts: readonly { readonly prefix: string; readonly store: TensorStore }[],
): Outcome<TensorStore> {
  const tensors = new Map<string, StoredTensor>();
  const homes = new Map<string, { readonly store: TensorStore; readonly key: string }>();
  const diagnostics: Diagnostic[] = [];
  for (const { prefix, store } of parts)
    for (const t of store.tensors.values()) {
      const key = prefix + t.key;
      const other = homes.get(key);
      if (other && diagnostics.length < 10)
        diagnostics.push(
          error(
            "weights-shard-duplicate",
            `tensor ${shown(key)} is in ${other.store.name} and in ${store.name}`,
            {
              help: "give one of them a namespace (--weights name=FILE), or leave it out",
            },
          ),
        );
      tensors.set(key, { ...t, key });
      homes.set(key, { store, key: t.key });
    }
  if (diagnostics.length > 0) return failed(...diagnostics);
  const value: TensorStore = {
    name,
    tensors,
    read: async (key, wanted) => {
      const home = homes.get(key);
      if (!home) return failed(error("tensor-missing", `${name} has no tensor ${shown(key)}`));
      return home.store.read(home.key, wanted);
    },
    close: async () => {
      await Promise.all(parts.map((p) => p.store.close()));
    },
  };
  return { value, diagnostics };
}

/** The same tensors under other names, without those that get none. */
export function renamed(store: TensorStore, name: (key: string) => string | undefined): TensorStore {
  const tensors = new Map<string, StoredTensor>();
  const homes = new Map<string, string>();
  for (const t of store.tensors.values()) {
    const key = name(t.key);
    if (key === undefined) continue;
    tensors.set(key, { ...t, key });
    homes.set(key, t.key);
  }
  return { ...store, tensors, read: (key, wanted) => store.read(homes.get(key) ?? key, wanted) };
}

/** `small:head.fc.weight` to its namespace (empty where there is none) and the key inside the checkpoint. */
export function splitKey(key: string): { readonly namespace: string; readonly local: string } {
  const at = key.indexOf(":");
  return at < 0 ? { namespace: "", local: key } : { namespace: key.slice(0, at), local: key.slice(at + 1) };
}
