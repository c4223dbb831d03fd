// What every reader of this folder is built from: a place to read bytes from, a result that carries diagnostics, and names from
// untrusted files made fit to print. Knows no format, and no file system (files-node.ts does).

import { error, type Diagnostic } from "../support/diagnostic.ts";

/** A value, or the reasons why there is none. Warnings may come with a value; errors never do. */
export interface Outcome<T> {
  readonly value: T | undefined;
  readonly diagnostics: readonly Diagnostic[];
}

export function ok<T>(value: T, diagnostics: readonly Diagnostic[] = []): Outcome<T> {
  return { value, diagnostics };
}

export function failed<T = never>(...diagnostics: readonly Diagnostic[]): Outcome<T> {
  return { value: undefined, diagnostics };
}

/** Random access to the bytes of a file, a blob or memory, so that a checkpoint is never read whole. */
export interface ByteSource {
  /** As shown to the reader. */
  readonly name: string;
  readonly size: number;
  /** Exactly `length` bytes from `offset`, within `size`; rejects when the medium fails or has become shorter. */
  read(offset: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

export function memorySource(name: string, bytes: Uint8Array): ByteSource {
  return {
    name,
    size: bytes.length,
    read: async (offset, length) => bytes.subarray(offset, offset + length),
    close: async () => {},
  };
}

/** Reads, with a failing medium turned into a diagnostic. */
export async function readBytes(
  source: ByteSource,
  offset: number,
  length: number,
): Promise<Outcome<Uint8Array>> {
  try {
    const bytes = await source.read(offset, length);
    if (bytes.length === length) return ok(bytes);
    return failed(
      error("file-read", `${source.name} ended after ${offset + bytes.length} of ${source.size} bytes`, {
        help: "was it changed while it was read? try again",
      }),
    );
  } catch (cause) {
    return failed(error("file-read", `${source.name} cannot be read: ${reasonOf(cause)}`));
  }
}

export function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

const maxShownName = 100;

/**
 * A name from an untrusted file for a message: no control characters, no direction marks that would reorder a terminal's line,
 * and not endless. Ordinary names are shown as they are.
 */
export function shown(name: string): string {
  const short = name.length > maxShownName ? `${name.slice(0, maxShownName)}...` : name;
  if (/^[\w./:*+-]+$/.test(short)) return short;
  return JSON.stringify(short).replace(
    /[\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

export function showShape(shape: readonly number[]): string {
  const text = shape.slice(0, 16).join(", ");
  return `[${shape.length > 16 ? `${text}, ...` : text}]`;
}

/** Product of a shape, or undefined past 2^53, where numbers stop being exact. */
export function countOf(shape: readonly number[]): number | undefined {
  if (shape.includes(0)) return 0;
  let count = 1;
  for (const size of shape) {
    count *= size;
    if (count > Number.MAX_SAFE_INTEGER) return undefined;
  }
  return count;
}
