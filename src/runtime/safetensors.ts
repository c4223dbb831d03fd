// The safetensors format: 8 bytes of header length, a JSON header of names, types, shapes and offsets, then the data. Reads tensors
// one at a time from random access and trusts nothing in the header. Pure: where bytes come from is the source's business.
//
// Invariant: no size from a file is used before it was held against the size of that file.

import type { Tensor } from "../ir/tensor.ts";
import type { DType } from "../ir/types.ts";
import { error, type Diagnostic } from "../support/diagnostic.ts";
import { countOf, failed, ok, readBytes, shown, showShape, type ByteSource, type Outcome } from "./bytes.ts";
import {
  allocate,
  convertible,
  decodeElements,
  encodeElements,
  isStoredType,
  storedTypes,
  type StoredType,
} from "./elements.ts";
import { isList, isObject, parseJson, type JsonObject, type JsonValue } from "./strict-json.ts";
import type { StoredTensor, TensorStore } from "./store.ts";

export const safetensorsLimits = {
  /** The limit of the format's own reader. */
  headerBytes: 100_000_000,
  tensors: 200_000,
  rank: 32,
  /** Per tensor: 8 GiB of f32, more than any buffer of a GPU. */
  elements: 2 ** 31,
} as const;

export interface SafetensorsEntry extends StoredTensor {
  /** Bytes from the start of the data. */
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: ReadonlyMap<string, string>;
}

/** Reads the JSON header of a file whose data part has `dataBytes` bytes; `file` is for messages. */
export function parseSafetensorsHeader(
  json: Uint8Array,
  dataBytes: number,
  file: string,
): Outcome<SafetensorsHeader> {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(json);
  } catch {
    return failed(error("safetensors-json", `${file}: the header is not UTF-8 text`));
  }
  const parsed = parseJson(text, { depth: 4, values: 48 * safetensorsLimits.tensors });
  if ("failure" in parsed) {
    const { kind, message, offset } = parsed.failure;
    if (kind === "duplicate-key")
      return failed(error("safetensors-duplicate-key", `${file}: the header has the key ${message} twice`));
    const code = kind === "syntax" ? "safetensors-json" : "safetensors-limit";
    return failed(error(code, `${file}: character ${offset} of the header: ${message}`));
  }
  if (!isObject(parsed.value))
    return failed(error("safetensors-json", `${file}: the header is not a JSON object`));
  return readEntries(parsed.value, dataBytes, file);
}

function readEntries(header: JsonObject, dataBytes: number, file: string): Outcome<SafetensorsHeader> {
  const entries = new Map<string, SafetensorsEntry>();
  let metadata: ReadonlyMap<string, string> = new Map();
  const diagnostics: Diagnostic[] = [];
  for (const [key, value] of header) {
    // A broken file breaks everywhere; a few places show it.
    if (diagnostics.length >= 10) return failed(...diagnostics);
    if (key === "__metadata__") {
      const found = readMetadata(value);
      if (found) metadata = found;
      else
        diagnostics.push(error("safetensors-entry", `${file}: __metadata__ is not a map from text to text`));
      continue;
    }
    if (entries.size >= safetensorsLimits.tensors)
      return failed(
        error("safetensors-limit", `${file}: there are more than ${safetensorsLimits.tensors} tensors`),
      );
    const entry = readEntry(key, value, dataBytes, file);
    if (entry.value) entries.set(key, entry.value);
    else diagnostics.push(...entry.diagnostics);
  }
  if (diagnostics.length === 0) diagnostics.push(...checkCoverage([...entries.values()], dataBytes, file));
  return diagnostics.length > 0 ? failed(...diagnostics) : ok({ entries, metadata });
}

function readMetadata(value: JsonValue): ReadonlyMap<string, string> | undefined {
  if (!isObject(value)) return undefined;
  const out = new Map<string, string>();
  for (const [k, v] of value) {
    if (typeof v !== "string") return undefined;
    out.set(k, v);
  }
  return out;
}

const entryKeys = new Set(["dtype", "shape", "data_offsets"]);

function readEntry(
  key: string,
  value: JsonValue,
  dataBytes: number,
  file: string,
): Outcome<SafetensorsEntry> {
  const fault = (code: string, message: string, help?: string): Outcome<never> =>
    failed(error(code, `${file}: tensor ${shown(key)} ${message}`, { help }));
  if (!isObject(value)) return fault("safetensors-entry", "is not described by an object");
  for (const k of value.keys())
    if (!entryKeys.has(k)) return fault("safetensors-entry", `has the unknown field ${shown(k)}`);
  const dtype = value.get("dtype");
  if (typeof dtype !== "string") return fault("safetensors-entry", "has no dtype");
  if (!isStoredType(dtype))
    return fault(
      "safetensors-dtype",
      `has the element type ${shown(dtype)}`,
      `the types that can be read are ${Object.keys(storedTypes).join(", ")}`,
    );
  const shape = sizes(value.get("shape"));
  if (!shape) return fault("safetensors-entry", "has a shape that is not a list of sizes");
  if (shape.length > safetensorsLimits.rank)
    return fault("safetensors-limit", `has ${shape.length} axes, more than ${safetensorsLimits.rank}`);
  const count = countOf(shape);
  if (count === undefined || count > safetensorsLimits.elements)
    return fault(
      "safetensors-limit",
      `has the shape ${showShape(shape)}, more than ${safetensorsLimits.elements} elements`,
    );
  const offsets = sizes(value.get("data_offsets"));
  const [begin, end] = offsets ?? [];
  if (offsets?.length !== 2 || begin === undefined || end === undefined)
    return fault("safetensors-entry", "has data_offsets that are not two offsets");
  if (begin > end || end > dataBytes)
    return fault(
      "safetensors-offsets",
      `lies at bytes ${begin} to ${end} of ${dataBytes} bytes of data`,
      "the file is cut short or damaged; fetch it again",
    );
  const bytes = count * storedTypes[dtype].bytes;
  if (bytes !== end - begin)
    return fault(
      "safetensors-shape",
      `is ${dtype} ${showShape(shape)}, ${bytes} bytes, but takes ${end - begin} bytes of the file`,
    );
  return ok({ key, dtype: storedTypes[dtype].natural, stored: dtype, shape, begin, end });
}

function sizes(value: JsonValue | undefined): number[] | undefined {
  if (!isList(value)) return undefined;
  const out: number[] = [];
  for (const x of value) {
    if (typeof x !== "number" || !Number.isSafeInteger(x) || x < 0) return undefined;
    out.push(x);
  }
  return out;
}

/** The format wants the data covered once: no overlap (two readings of the same bytes), no hole (hidden bytes). */
function checkCoverage(entries: SafetensorsEntry[], dataBytes: number, file: string): Diagnostic[] {
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let at = 0;
  let last = "";
  for (const e of entries) {
    if (e.begin < at)
      return [error("safetensors-overlap", `${file}: tensors ${shown(last)} and ${shown(e.key)} overlap`)];
    if (e.begin > at)
      return [error("safetensors-hole", `${file}: no tensor owns the bytes ${at} to ${e.begin} of the data`)];
    at = e.end;
    last = e.key;
  }
  return at === dataBytes
    ? []
    : [error("safetensors-hole", `${file}: no tensor owns the last ${dataBytes - at} bytes`)];
}

/** Opens a file: reads its header, and tensors when they are asked for. The store owns the source from here on. */
export async function openSafetensors(
  source: ByteSource,
): Promise<Outcome<TensorStore & { readonly metadata: ReadonlyMap<string, string> }>> {
  const header = await readHeader(source);
  if (!header.value) {
    await source.close();
    return failed(...header.diagnostics);
  }
  const { entries, metadata, dataStart } = header.value;
  return ok({
    name: source.name,
    metadata,
    tensors: entries,
    read: async (key, wanted) => {
      const entry = entries.get(key);
      if (!entry) return failed(error("tensor-missing", `${source.name} has no tensor ${shown(key)}`));
      return readTensor(source, entry, dataStart, wanted ?? entry.dtype);
    },
    close: () => source.close(),
  });
}

async function readHeader(
  source: ByteSource,
): Promise<Outcome<SafetensorsHeader & { readonly dataStart: number }>> {
  const { name, size } = source;
  const notOne = "is this a safetensors file? it starts with the length of its header";
  if (size < 10)
    return failed(error("safetensors-short", `${name} has only ${size} bytes`, { help: notOne }));
  const prefix = await readBytes(source, 0, 8);
  if (!prefix.value) return failed(...prefix.diagnostics);
  const view = new DataView(prefix.value.buffer, prefix.value.byteOffset, 8);
  const length = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
  if (length > size - 8)
    return failed(
      error("safetensors-short", `${name}: a header of ${length} bytes does not fit in ${size} bytes`, {
        help: notOne,
      }),
    );
  if (length > safetensorsLimits.headerBytes)
    return failed(
      error(
        "safetensors-limit",
        `${name}: the header has ${length} bytes, more than ${safetensorsLimits.headerBytes}`,
      ),
    );
  const json = await readBytes(source, 8, length);
  if (!json.value) return failed(...json.diagnostics);
  const header = parseSafetensorsHeader(json.value, size - 8 - length, name);
  return header.value ? ok({ ...header.value, dataStart: 8 + length }) : failed(...header.diagnostics);
}

/** Bytes decoded at a time: the file's form of a tensor is never in memory whole. A multiple of every element's size. */
const pieceBytes = 8 * 2 ** 20;

async function readTensor(
  source: ByteSource,
  entry: SafetensorsEntry,
  dataStart: number,
  dtype: DType,
): Promise<Outcome<Tensor>> {
  const { key, stored, shape } = entry;
  const name = `${source.name}: tensor ${shown(key)}`;
  if (!convertible(stored, dtype))
    return failed(error("tensor-dtype", `${name} is ${stored}, which cannot be read as ${dtype}`));
  const { bytes: elementBytes } = storedTypes[stored];
  const data = allocate(dtype, (entry.end - entry.begin) / elementBytes);
  if (!data)
    return failed(error("tensor-memory", `${name} of shape ${showShape(shape)} does not fit in memory`));
  for (let at = entry.begin; at < entry.end; at += pieceBytes) {
    const piece = await readBytes(source, dataStart + at, Math.min(pieceBytes, entry.end - at));
    if (!piece.value) return failed(...piece.diagnostics);
    const first = (at - entry.begin) / elementBytes;
    const bad = decodeElements(piece.value, stored, dtype, data, first);
    if (bad)
      return failed(
        error(
          "tensor-range",
          `${name} holds ${bad.value} at ${showIndex(first + bad.index, shape)}, outside of ${dtype}`,
        ),
      );
  }
  return ok({ dtype, shape, data });
}

/** A flat index as the coordinates that the reader would write. */
export function showIndex(flat: number, shape: readonly number[]): string {
  const at: number[] = [];
  for (const size of [...shape].reverse()) {
    at.unshift(flat % size);
    flat = Math.floor(flat / size);
  }
  return `[${at.join(", ")}]`;
}

/** A file as bytes. Wide elements come first and the header is padded, so that every tensor is aligned to its element. */
export function writeSafetensors(
  tensors: Readonly<Record<string, Tensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const parts = Object.entries(tensors)
    .map(([key, t]) => ({ key, shape: t.shape, ...encodeElements(t.dtype, t.data) }))
    .sort((a, b) => storedTypes[b.stored].bytes - storedTypes[a.stored].bytes || (a.key < b.key ? -1 : 1));
  const fields: string[] = [];
  const field = (key: string, value: unknown): void => {
    fields.push(`${JSON.stringify(key)}:${JSON.stringify(value)}`);
  };
  if (Object.keys(metadata).length > 0) field("__metadata__", metadata);
  let at = 0;
  for (const p of parts) {
    field(p.key, {
      dtype: p.stored satisfies StoredType,
      shape: p.shape,
      data_offsets: [at, at + p.bytes.length],
    });
    at += p.bytes.length;
  }
  const text = new TextEncoder().encode(`{${fields.join(",")}}`);
  const header = Math.ceil(text.length / 8) * 8;
  const out = new Uint8Array(8 + header + at);
  new DataView(out.buffer).setUint32(0, header, true);
  out.fill(0x20, 8, 8 + header);
  out.set(text, 8);
  at = 8 + header;
  for (const p of parts) {
    out.set(p.bytes, at);
    at += p.bytes.length;
  }
  return out;
}
