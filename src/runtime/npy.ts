// NumPy's .npy format, versions 1 to 3: one array of plain numbers. Little-endian only; Fortran order is turned into row-major.
// Arrays of objects are pickles, that is, programs; they and records are refused. Pure.

import { stridesOfShape, type Tensor, type TensorData } from "../ir/tensor.ts";
import type { DType } from "../ir/types.ts";
import { error } from "../support/diagnostic.ts";
import { countOf, failed, ok, readBytes, shown, showShape, type ByteSource, type Outcome } from "./bytes.ts";
import {
  allocate,
  convertible,
  decodeElements,
  encodeElements,
  storedTypes,
  type StoredType,
} from "./elements.ts";
import { showIndex } from "./safetensors.ts";

export const npyLimits = {
  headerBytes: 65536,
  rank: 32,
  elements: 2 ** 31,
} as const;

export interface NpyHeader {
  readonly stored: StoredType;
  readonly fortranOrder: boolean;
  readonly shape: readonly number[];
}

const storedOf: Readonly<Record<string, StoredType>> = {
  f8: "F64",
  f4: "F32",
  f2: "F16",
  i8: "I64",
  i4: "I32",
  i2: "I16",
  i1: "I8",
  u8: "U64",
  u4: "U32",
  u2: "U16",
  u1: "U8",
  b1: "BOOL",
};

const descrOf: Readonly<Partial<Record<StoredType, string>>> = Object.fromEntries(
  Object.entries(storedOf).map(([code, stored]) => [stored, (/[^1]$/.test(code) ? "<" : "|") + code]),
);

/** One token of the Python literal that the header is. */
const token = /\s*(?:'([^'\\]*)'|"([^"\\]*)"|(\d{1,16})L?|(True|False)|([{}():,[\]]))/y;

type Token = {
  readonly text?: string;
  readonly size?: number;
  readonly flag?: boolean;
  readonly mark?: string;
};

function tokens(header: string): Token[] | undefined {
  const out: Token[] = [];
  token.lastIndex = 0;
  while (token.lastIndex < header.length) {
    const from = token.lastIndex;
    const m = token.exec(header);
    if (!m) return header.slice(from).trim() === "" ? out : undefined;
    const [, single, double, digits, flag, mark] = m;
    const text = single ?? double;
    if (text !== undefined) out.push({ text });
    else if (digits !== undefined) out.push({ size: Number(digits) });
    else if (flag !== undefined) out.push({ flag: flag === "True" });
    else out.push({ mark: mark! });
  }
  return out;
}

/** Reads the header's dictionary: `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`. */
export function parseNpyHeader(header: string, file: string): Outcome<NpyHeader> {
  const malformed = (what: string): Outcome<never> =>
    failed(error("npy-header", `${file}: ${what} in the header of the array`));
  const list = tokens(header);
  if (!list) return malformed("there is something unreadable");
  let at = 0;
  const take = (mark: string): boolean => list[at]?.mark === mark && ++at > 0;
  const found = new Map<string, string | boolean | readonly number[]>();
  if (!take("{")) return malformed("there is no dictionary");
  while (!take("}")) {
    const key = list[at++]?.text;
    if (key === undefined || !take(":")) return malformed("a key is missing");
    if (found.has(key)) return malformed(`${shown(key)} stands twice`);
    const value = list[at++];
    if (value?.text !== undefined) found.set(key, value.text);
    else if (value?.flag !== undefined) found.set(key, value.flag);
    else if (value?.mark === "[" && key === "descr")
      return failed(error("npy-dtype", `${file} holds records; only arrays of plain numbers can be read`));
    else if (value?.mark === "(") {
      const shape: number[] = [];
      while (!take(")")) {
        const size = list[at++]?.size;
        if (size === undefined || !Number.isSafeInteger(size)) return malformed("a size is wrong");
        shape.push(size);
        if (!take(",") && list[at]?.mark !== ")") return malformed("a comma is missing");
      }
      found.set(key, shape);
    } else return malformed(`the value of ${shown(key)} is wrong`);
    if (!take(",") && list[at]?.mark !== "}") return malformed("a comma is missing");
  }
  if (at < list.length) return malformed("there is more after the dictionary");
  const [descr, fortranOrder, shape] = [found.get("descr"), found.get("fortran_order"), found.get("shape")];
  if (found.size !== 3 || typeof descr !== "string" || typeof fortranOrder !== "boolean" || !isShape(shape))
    return malformed("descr, fortran_order and shape are not the fields");
  return checkHeader(descr, fortranOrder, shape, file);
}

function isShape(value: string | boolean | readonly number[] | undefined): value is readonly number[] {
  return Array.isArray(value);
}

function checkHeader(
  descr: string,
  fortranOrder: boolean,
  shape: readonly number[],
  file: string,
): Outcome<NpyHeader> {
  const code = descr.slice(1);
  const stored = Object.hasOwn(storedOf, code) ? storedOf[code] : undefined;
  // numpy writes bool as `|b1`, bytes as `|i1`; `<` is as clear for them.
  if (stored === undefined || !"<|>=".includes(descr[0] ?? "?"))
    return failed(
      error("npy-dtype", `${file} holds elements of type ${shown(descr)}`, {
        help: "the types that can be read are f2, f4, f8, i1 to i8, u1 to u8 and bool: save array.astype('<f4')",
      }),
    );
  if (descr[0] === ">" && storedTypes[stored].bytes > 1)
    return failed(
      error("npy-dtype", `${file} is big-endian (${shown(descr)})`, {
        help: `save array.astype('<${code}')`,
      }),
    );
  if (shape.length > npyLimits.rank)
    return failed(error("npy-limit", `${file} has ${shape.length} axes, more than ${npyLimits.rank}`));
  const count = countOf(shape);
  if (count === undefined || count > npyLimits.elements)
    return failed(
      error(
        "npy-limit",
        `${file} has the shape ${showShape(shape)}, more than ${npyLimits.elements} elements`,
      ),
    );
  return ok({ stored, fortranOrder, shape });
}

/** Reads the array, as `wanted` where given. Closes nothing. */
export async function readNpy(source: ByteSource, wanted?: DType): Promise<Outcome<Tensor>> {
  const { name, size } = source;
  const head = await readBytes(source, 0, Math.min(size, 12));
  if (!head.value) return failed(...head.diagnostics);
  const bytes = head.value;
  if (bytes.length < 10 || String.fromCharCode(...bytes.subarray(0, 6)) !== "\x93NUMPY")
    return failed(
      error("npy-magic", `${name} is not a .npy file`, {
        help: "it should begin with \\x93NUMPY; write it with numpy.save",
      }),
    );
  const version = bytes[6]!;
  if (version < 1 || version > 3 || bytes[7] !== 0)
    return failed(
      error(
        "npy-version",
        `${name} has version ${version}.${bytes[7]}; versions 1.0, 2.0 and 3.0 can be read`,
      ),
    );
  const start = version === 1 ? 10 : 12;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const length = version === 1 ? view.getUint16(8, true) : size >= 12 ? view.getUint32(8, true) : Infinity;
  if (length > size - start) return failed(error("npy-size", `${name} ends inside its header`));
  if (length > npyLimits.headerBytes)
    return failed(
      error("npy-limit", `${name}: the header has ${length} bytes, more than ${npyLimits.headerBytes}`),
    );
  const text = await readBytes(source, start, length);
  if (!text.value) return failed(...text.diagnostics);
  const header = parseNpyHeader(new TextDecoder(version === 3 ? "utf-8" : "latin1").decode(text.value), name);
  if (!header.value) return failed(...header.diagnostics);
  return readArray(source, header.value, start + length, wanted ?? storedTypes[header.value.stored].natural);
}

/** Bytes decoded at a time. A multiple of every element's size. */
const pieceBytes = 8 * 2 ** 20;

async function readArray(
  source: ByteSource,
  { stored, shape, fortranOrder }: NpyHeader,
  start: number,
  dtype: DType,
): Promise<Outcome<Tensor>> {
  const { name } = source;
  const count = countOf(shape)!;
  const { bytes: elementBytes } = storedTypes[stored];
  if (start + count * elementBytes !== source.size)
    return failed(
      error(
        "npy-size",
        `${name}: ${stored} ${showShape(shape)} takes ${count * elementBytes} bytes, the file has ${source.size - start}`,
      ),
    );
  if (!convertible(stored, dtype))
    return failed(error("tensor-dtype", `${name} is ${stored}, which cannot be read as ${dtype}`));
  const data = allocate(dtype, count);
  if (!data)
    return failed(error("tensor-memory", `${name} of shape ${showShape(shape)} does not fit in memory`));
  for (let at = 0; at < count * elementBytes; at += pieceBytes) {
    const piece = await readBytes(source, start + at, Math.min(pieceBytes, count * elementBytes - at));
    if (!piece.value) return failed(...piece.diagnostics);
    const first = at / elementBytes;
    const bad = decodeElements(piece.value, stored, dtype, data, first);
    if (bad) {
      const where = fortranOrder
        ? showIndex(first + bad.index, [...shape].reverse()).replace(/\d+(, \d+)*/, (s) =>
            s.split(", ").reverse().join(", "),
          )
        : showIndex(first + bad.index, shape);
      return failed(error("tensor-range", `${name} holds ${bad.value} at ${where}, outside of ${dtype}`));
    }
  }
  return ok({ dtype, shape, data: fortranOrder ? rowMajor(data, shape) : data });
}

/** From first axis fastest to last axis fastest. */
function rowMajor(data: TensorData, shape: readonly number[]): TensorData {
  const out = data.slice();
  const strides = stridesOfShape(shape);
  const index = shape.map(() => 0);
  let to = 0;
  for (let from = 0; from < data.length; from++) {
    out[to] = data[from]!;
    for (let axis = 0; axis < shape.length; axis++) {
      to += strides[axis]!;
      if (++index[axis]! < shape[axis]!) break;
      to -= strides[axis]! * shape[axis]!;
      index[axis] = 0;
    }
  }
  return out;
}

/** A file as bytes, version 1.0, row-major. */
export function writeNpy(t: Tensor): Uint8Array {
  const { stored, bytes } = encodeElements(t.dtype, t.data);
  const shape = t.shape.length === 1 ? `(${t.shape[0]},)` : `(${t.shape.join(", ")})`;
  const dictionary = `{'descr': '${descrOf[stored]}', 'fortran_order': False, 'shape': ${shape}, }`;
  // The data start at a multiple of 64, the header ends in a line break: as numpy writes it.
  const start = Math.ceil((10 + dictionary.length + 1) / 64) * 64;
  const out = new Uint8Array(start + bytes.length).fill(0x20, 10, start);
  out.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0]);
  new DataView(out.buffer).setUint16(8, start - 10, true);
  out.set(new TextEncoder().encode(dictionary), 10);
  out[start - 1] = 0x0a;
  out.set(bytes, start);
  return out;
}
