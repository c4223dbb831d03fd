// Reading a zip that came from elsewhere: only plain names, of bounded number and size, are unpacked, and only in memory. What a file
// claims of its size is checked before a byte of it is unpacked, and never exceeded after that.

import { unzipSync } from "fflate";
import { error, InputError } from "../support/diagnostic.ts";

const most = {
  files: 5000,
  /** Bytes of one file, and of all together, unpacked. */
  file: 2 ** 30,
  all: 2 ** 31,
  /** How many times larger than packed: text of kernels comes to some thirty. */
  ratio: 200,
} as const;

/** The files by name. Throws InputError with the first thing that is wrong. */
export function readZip(bytes: Uint8Array, path: string): ReadonlyMap<string, Uint8Array> {
  const seen = new Set<string>();
  let total = 0;
  let unpacked: Record<string, Uint8Array>;
  try {
    unpacked = unzipSync(bytes, {
      filter: ({ name, size, originalSize, compression }) => {
        const shown = name.slice(0, 100);
        if (seen.size >= most.files) throw refused(path, `it has more than ${most.files} files`);
        if (!isPlain(name)) throw refused(path, `the name ${JSON.stringify(shown)} leads elsewhere`);
        if (seen.has(name)) throw refused(path, `${shown} is there twice`);
        if (compression !== 0 && compression !== 8)
          throw refused(path, `${shown} is packed in a way that is not known`);
        if (compression === 0 && size !== originalSize) throw refused(path, `${shown} has two sizes`);
        total += originalSize;
        if (originalSize > most.file || total > most.all)
          throw refused(path, `${shown} is too large unpacked`);
        if (originalSize > 2 ** 20 && originalSize > size * most.ratio)
          throw refused(path, `${shown} unpacks to ${Math.round(originalSize / size)} times its size`);
        seen.add(name);
        return true;
      },
    });
  } catch (e) {
    if (e instanceof InputError) throw e;
    throw refused(path, e instanceof Error ? e.message : String(e));
  }
  const files = Object.entries(unpacked);
  if (files.length !== seen.size) throw refused(path, "its list of files is damaged");
  return new Map(files);
}

/** Letters, digits and a few signs, in folders below; nothing absolute, nothing that goes up. */
function isPlain(name: string): boolean {
  return (
    name.length <= 300 && name.split("/").every((part) => /^[\w][\w.@ -]*$/.test(part) && !part.endsWith("."))
  );
}

function refused(path: string, what: string): InputError {
  return new InputError([
    error("capsule-zip", `${path} cannot be read: ${what}`, {
      help: "a capsule is what tokenloom capsule wrote",
    }),
  ]);
}
