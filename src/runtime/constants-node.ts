// The constants of a compiled folder, read from their file piece by piece, and again after a device was lost: weights are in memory
// once, on the device. A file that was changed since the plan was read belongs to another plan.

import { constants, statSync, type BigIntStats } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { error, InputError } from "../support/diagnostic.ts";
import { reasonOf } from "./bytes.ts";
import { pieceBytes, type ConstantSource } from "./constants.ts";
import { notRegular, openFailure } from "./open-node.ts";

export interface ConstantsFile {
  readonly bytes: number;
  readonly source: ConstantSource;
}

/** The file as it is now. Throws InputError where it is none; so does reading, where it is gone or another one by then. */
export function constantsFile(path: string): ConstantsFile {
  let found: BigIntStats;
  try {
    found = statSync(path, { bigint: true });
  } catch (cause) {
    throw new InputError([openFailure(path, cause)]);
  }
  if (!found.isFile()) throw new InputError([notRegular(path)]);
  return { bytes: Number(found.size), source: () => piecesOf(path, found) };
}

/** One piece of memory, filled again and again. */
async function* piecesOf(path: string, found: BigIntStats): AsyncGenerator<Uint8Array> {
  const handle = await openFile(path);
  try {
    await checkSame(path, handle, found);
    const size = Number(found.size);
    const piece = new Uint8Array(Math.min(size, pieceBytes));
    for (let at = 0; at < size; at += piece.byteLength) {
      const length = Math.min(piece.byteLength, size - at);
      if ((await readInto(path, handle, piece, length, at)) < length) throw changed(path);
      // What is read last must not be of another file than what was read first.
      if (at + length === size) await checkSame(path, handle, found);
      yield piece.subarray(0, length);
    }
  } finally {
    await handle.close();
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    // Without waiting for a writer, should it be a pipe by now.
    return await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (cause) {
    throw new InputError([openFailure(path, cause)]);
  }
}

async function readInto(
  path: string,
  handle: FileHandle,
  piece: Uint8Array,
  length: number,
  at: number,
): Promise<number> {
  let done = 0;
  try {
    // One read may give less than asked for.
    while (done < length) {
      const { bytesRead } = await handle.read(piece, done, length - done, at + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
  } catch (cause) {
    throw new InputError([error("file-read", `${path} cannot be read: ${reasonOf(cause)}`)]);
  }
  return done;
}

async function checkSame(path: string, handle: FileHandle, found: BigIntStats): Promise<void> {
  const now = await handle.stat({ bigint: true });
  const same = (["dev", "ino", "size", "mtimeNs"] as const).every((key) => now[key] === found[key]);
  if (!same) throw changed(path);
}

function changed(path: string): InputError {
  return new InputError([
    error("file-changed", `${path} was changed since the plan was read`, {
      help: "leave a compiled folder alone while it runs; start again for the new one",
    }),
  ]);
}
