// `--input` arguments as data: `data.safetensors`, `image=cat.png`, `images=digits.safetensors:images`, `mask=ones`,
// `image=seed:input`. Knows text only; reading is files-node.ts's.

import { error } from "../support/diagnostic.ts";
import { failed, ok, shown, type Outcome } from "./bytes.ts";

export type InputFormat = "safetensors" | "npy" | "image";

export type InputSpec =
  | {
      readonly kind: "file";
      readonly format: InputFormat;
      readonly path: string;
      /** Absent: a safetensors file gives every input that it names; any other, the only input there is. */
      readonly name?: string;
      /** The tensor inside of a safetensors file, where it has another name than the input. */
      readonly tensor?: string;
    }
  | { readonly kind: "seed"; readonly name: string; readonly seed: string }
  | { readonly kind: "fill"; readonly name: string; readonly value: 0 | 1 };

const help =
  "give FILE.safetensors, NAME=FILE.safetensors[:TENSOR], NAME=FILE.npy, NAME=FILE.png|jpg|webp, NAME=seed:WORD, NAME=ones or NAME=zeros";

export function parseInputSpec(text: string): Outcome<InputSpec> {
  const [, name, value = ""] = /^(?:([A-Za-z_]\w*)=)?(.*)$/s.exec(text)!;
  const wrong = (what: string): Outcome<never> =>
    failed(error("input-spec", `--input ${shown(text)} ${what}`, { help }));
  if (value === "") return wrong("names no file");
  if (value === "ones" || value === "zeros" || value.startsWith("seed:")) {
    if (name === undefined) return wrong("does not say for which input");
    if (value === "seed:") return wrong("has no word after seed:");
    return ok(
      value.startsWith("seed:")
        ? { kind: "seed", name, seed: value.slice(5) }
        : { kind: "fill", name, value: value === "ones" ? 1 : 0 },
    );
  }
  const [, path = value, tensor] = /^(.*\.safetensors):([^/\\]+)$/s.exec(value) ?? [];
  const format = formatOf(path);
  if (!format) return wrong("names a file of no known kind");
  if (tensor !== undefined && name === undefined) return wrong("does not say for which input");
  return ok({
    kind: "file",
    format,
    path,
    ...(name !== undefined && { name }),
    ...(tensor !== undefined && { tensor }),
  });
}

function formatOf(path: string): InputFormat | undefined {
  const extension = /\.([A-Za-z]+)$/.exec(path)?.[1]?.toLowerCase();
  if (extension === "safetensors" || extension === "npy") return extension;
  return extension && ["png", "jpg", "jpeg", "webp"].includes(extension) ? "image" : undefined;
}
