// `--input` arguments as data: `data.safetensors`, `image=cat.png`, `images=digits.safetensors:images`, `mask=ones`, `threshold=0.8`,
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
  | { readonly kind: "fill"; readonly name: string; readonly value: number };

const help =
  "give FILE.safetensors, NAME=FILE.safetensors[:TENSOR], NAME=FILE.npy, NAME=FILE.png|jpg|webp, NAME=seed:WORD, NAME=NUMBER, NAME=ones or NAME=zeros";

export function parseInputSpec(text: string): Outcome<InputSpec> {
  const [, name, value = ""] = /^(?:([A-Za-z_]\w*)=)?(.*)$/s.exec(text)!;
  const wrong = (what: string): Outcome<never> =>
    failed(error("input-spec", `--input ${shown(text)} ${what}`, { help }));
  if (value === "") return wrong("names no file");
  const filler = fillerOf(value);
  if (filler !== undefined || value.startsWith("seed:")) {
    if (name === undefined) return wrong("does not say for which input");
    if (value === "seed:") return wrong("has no word after seed:");
    return ok(
      filler === undefined
        ? { kind: "seed", name, seed: value.slice(5) }
        : { kind: "fill", name, value: filler },
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

/** The number that every element is. */
function fillerOf(text: string): number | undefined {
  if (text === "ones") return 1;
  if (text === "zeros") return 0;
  const value = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text) ? Number(text) : undefined;
  return value !== undefined && Number.isFinite(value) ? value : undefined;
}

function formatOf(path: string): InputFormat | undefined {
  const extension = /\.([A-Za-z]+)$/.exec(path)?.[1]?.toLowerCase();
  if (extension === "safetensors" || extension === "npy") return extension;
  return extension && ["png", "jpg", "jpeg", "webp"].includes(extension) ? "image" : undefined;
}
