// Small files that the command line reads whole.

import { readFileSync, statSync } from "node:fs";
import { openFailure, notRegular } from "../runtime/open-node.ts";
import { error, InputError, type Diagnostic } from "../support/diagnostic.ts";

/** The bytes of a regular file of at most `most` bytes; an `InputError` says what is wrong with any other. */
export function readBytes(path: string, most: number): Buffer {
  try {
    // Before it is opened: a pipe would wait for its writer.
    const problem = problemOf(path, most);
    if (problem) throw new InputError([problem]);
    return readFileSync(path);
  } catch (cause) {
    throw cause instanceof InputError ? cause : new InputError([openFailure(path, cause)]);
  }
}

function problemOf(path: string, most: number): Diagnostic | undefined {
  const info = statSync(path);
  if (!info.isFile()) return notRegular(path);
  if (info.size > most)
    return error("file-too-large", `${path} has ${info.size} bytes, and a file of its kind at most ${most}`);
  return undefined;
}
