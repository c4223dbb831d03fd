// Decodes a photograph (PNG, JPEG, WebP) to 8-bit RGB as Pillow's convert("RGB") does: alpha is dropped, colour profiles and the
// orientation tag are not applied. The kind is told by content, not by name, and only these three reach the decoder: SVG and PDF
// could name other files. Bytes come from the given file alone.

import { readFile } from "node:fs/promises";
import { error } from "../support/diagnostic.ts";
import { failed, ok, reasonOf, type Outcome } from "./bytes.ts";
import { regularFile } from "./open-node.ts";
import type { Picture } from "./preprocess.ts";

export const imageLimits = {
  fileBytes: 256 * 2 ** 20,
  pixels: 2 ** 26,
  side: 32768,
} as const;

type ImageFormat = "png" | "jpeg" | "webp";

export function imageFormat(bytes: Uint8Array): ImageFormat | undefined {
  const starts = (at: number, ...expected: number[]): boolean =>
    expected.every((b, i) => bytes[at + i] === b);
  if (starts(0, 0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)) return "png";
  if (starts(0, 0xff, 0xd8, 0xff)) return "jpeg";
  if (starts(0, 0x52, 0x49, 0x46, 0x46) && starts(8, 0x57, 0x45, 0x42, 0x50)) return "webp";
  return undefined;
}

export async function readImage(path: string): Promise<Outcome<Picture>> {
  const info = await regularFile(path);
  if (!info.value) return failed(...info.diagnostics);
  if (info.value.size > imageLimits.fileBytes)
    return failed(
      error("image-limit", `${path} has ${info.value.size} bytes, more than ${imageLimits.fileBytes}`),
    );
  try {
    return await decodeImage(await readFile(path), path);
  } catch (cause) {
    return failed(error("file-read", `${path} cannot be read: ${reasonOf(cause)}`));
  }
}

export async function decodeImage(bytes: Uint8Array, name: string): Promise<Outcome<Picture>> {
  const format = imageFormat(bytes);
  if (format === undefined)
    return failed(
      error("image-format", `${name} is not a PNG, JPEG or WebP picture`, {
        help: "convert it first, or give the numbers as .npy or .safetensors",
      }),
    );
  // Loaded here: most runs have no picture, and the decoder is a native library.
  const { default: sharp } = await import("sharp");
  const options = { limitInputPixels: imageLimits.pixels, failOn: "error", ignoreIcc: true } as const;
  try {
    const metadata = await sharp(bytes, options).metadata();
    if (metadata.format !== format)
      return failed(error("image-format", `${name} begins as ${format} but is ${metadata.format}`));
    const { width, height } = metadata;
    if (width * height > imageLimits.pixels || Math.max(width, height) > imageLimits.side)
      return failed(
        error("image-limit", `${name} has ${width}x${height} pixels, more than ${imageLimits.pixels}`),
      );
    if (metadata.space === "cmyk")
      return failed(
        error("image-colour", `${name} is in CMYK`, {
          help: "convert it to RGB first: there is no one way to",
        }),
      );
    const { data, info } = await sharp(bytes, options)
      .removeAlpha()
      .toColourspace("srgb")
      .raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
    if (info.channels !== 3 && info.channels !== 1)
      return failed(error("image-colour", `${name} has ${info.channels} channels`));
    return ok({ width: info.width, height: info.height, channels: 3, pixels: toRgb(data, info.channels) });
  } catch (cause) {
    const reason = reasonOf(cause).split("\n")[0]!;
    const code = /pixel limit/.test(reason) ? "image-limit" : "image-damaged";
    return failed(error(code, `${name} cannot be decoded: ${reason.slice(0, 200)}`));
  }
}

function toRgb(data: Uint8Array, channels: number): Uint8Array {
  if (channels === 3) return data;
  const out = new Uint8Array(data.length * 3);
  for (let i = 0; i < data.length; i++) out.fill(data[i]!, 3 * i, 3 * i + 3);
  return out;
}
