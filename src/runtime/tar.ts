// Plain files of a tar archive (POSIX ustar). Checks every header; gives only names without folders, so that nothing can be written
// outside of where it should go. Knows no file system.

export interface TarFile {
  readonly name: string;
  readonly data: Uint8Array;
}

const BLOCK = 512;

/** The regular files of the archive whose names are plain; throws where a header is damaged or a file is cut off. */
export function plainFiles(tar: Uint8Array): readonly TarFile[] {
  const files: TarFile[] = [];
  for (let at = 0; at + BLOCK <= tar.length;) {
    const header = tar.subarray(at, at + BLOCK);
    if (header.every((b) => b === 0)) return files;
    if (octal(header, 148, 8) !== checksum(header)) throw new Error(`the archive is damaged at byte ${at}`);
    const size = octal(header, 124, 12);
    const start = at + BLOCK;
    if (size === undefined || start + size > tar.length) throw new Error("the archive is cut off");
    const kind = header[156]!;
    const name = text(header, 0, 100).replace(/^\.\//, "");
    const plain = /^[\w.-]+$/.test(name) && !/^\.+$/.test(name) && text(header, 345, 155) === "";
    // "0", or NUL in archives before POSIX.
    if ((kind === 0x30 || kind === 0) && plain) files.push({ name, data: tar.subarray(start, start + size) });
    at = start + Math.ceil(size / BLOCK) * BLOCK;
  }
  return files;
}

function text(header: Uint8Array, start: number, length: number): string {
  const field = header.subarray(start, start + length);
  const end = field.indexOf(0);
  return String.fromCharCode(...field.subarray(0, end < 0 ? length : end));
}

function octal(header: Uint8Array, start: number, length: number): number | undefined {
  const digits = text(header, start, length).trim();
  return /^[0-7]+$/.test(digits) ? parseInt(digits, 8) : undefined;
}

/** Of all bytes, those of the checksum itself counted as spaces. */
function checksum(header: Uint8Array): number {
  return header.reduce((sum, b, i) => sum + (i >= 148 && i < 156 ? 32 : b), 0);
}
