// Files on disk as sources of bytes. Only regular files: a named pipe or a device would hang or never end.

import { constants } from "node:fs";
import { open, stat, type FileHandle } from "node:fs/promises";
import { error, type Diagnostic } from "../support/diagnostic.ts";
import { failed, ok, reasonOf, type ByteSource, type Outcome } from "./bytes.ts";

export async function regularFile(path: string): Promise<Outcome<{ readonly size: number }>> {
  try {
    const info = await stat(path);
    return info.isFile() ? ok({ size: info.size }) : failed(notRegular(path));
  } catch (cause) {
    return failed(openFailure(path, cause));
  }
}

export async function fileSource(path: string): Promise<Outcome<ByteSource>> {
  let handle: FileHandle;
  try {
    // Without waiting for a writer, should it be a pipe.
    handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (cause) {
    return failed(openFailure(path, cause));
  }
  const info = await handle.stat();
  if (!info.isFile()) {
    await handle.close();
    return failed(notRegular(path));
  }
  let closed = false;
  return ok({
    name: path,
    size: info.size,
    read: (offset, length) => readAt(handle, offset, length),
    close: async () => {
      if (closed) return;
      closed = true;
      await handle.close();
    },
  });
}

async function readAt(handle: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const out = new Uint8Array(length);
  let done = 0;
  // One read may give less than asked for, and never gives more than 2 GiB.
  while (done < length) {
    const { bytesRead } = await handle.read(out, done, Math.min(length - done, 2 ** 30), offset + done);
    if (bytesRead === 0) return out.subarray(0, done);
    done += bytesRead;
  }
  return out;
}

export function notRegular(path: string): Diagnostic {
  return error("file-kind", `${path} is not a regular file`);
}

/** Why a file could not be opened, from what Node threw. */
export function openFailure(path: string, cause: unknown): Diagnostic {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  if (code === "ENOENT" || code === "ENOTDIR") return error("file-missing", `there is no file ${path}`);
  if (code === "EACCES" || code === "EPERM") return error("file-read", `${path} may not be read`);
  return error("file-read", `${path} cannot be opened: ${reasonOf(cause)}`);
}
