// A photograph as a model wants it, by timm's pipeline and Pillow's arithmetic: resize the shorter side with an antialiased filter,
// crop the centre, scale, normalise, channels first. Works on decoded 8-bit RGB; decoding is images-node.ts's.
//
// Pillow resamples 8-bit pictures in two passes, across and then down, each with 22-bit fixed-point weights and rounded to 8 bits
// in between; those roundings are kept, so that the result is Pillow's to the last bit.

import type { Preprocess } from "../ir/graph.ts";
import type { Tensor } from "../ir/tensor.ts";
import { error } from "../support/diagnostic.ts";
import { failed, ok, type Outcome } from "./bytes.ts";

export interface Picture {
  readonly width: number;
  readonly height: number;
  /** 3 (RGB) or 1 (grey), interleaved. */
  readonly channels: number;
  readonly pixels: Uint8Array;
}

interface Filter {
  readonly radius: number;
  weight(x: number): number;
}

const filters: Readonly<Record<"bicubic" | "bilinear", Filter>> = {
  bilinear: { radius: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  // Keys' cubic convolution with a = -1/2.
  bicubic: {
    radius: 2,
    weight: (x) => {
      const a = -0.5;
      const d = Math.abs(x);
      if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
      return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
    },
  },
};

const fixedBits = 22;

/** Which source positions make one target position, and with what fixed-point weights. */
interface Taps {
  readonly first: number;
  readonly weights: readonly number[];
}

function tapsOf(from: number, to: number, filter: Filter): Taps[] {
  const scale = from / to;
  // Antialiasing: when shrinking, the filter is as wide as the target's pixels.
  const stretch = Math.max(scale, 1);
  const radius = filter.radius * stretch;
  return Array.from({ length: to }, (_, i) => {
    const center = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - radius + 0.5));
    const end = Math.min(from, Math.trunc(center + radius + 0.5));
    const inverse = 1 / stretch;
    const raw = Array.from({ length: end - first }, (_, k) =>
      filter.weight((k + first - center + 0.5) * inverse),
    );
    let sum = 0;
    for (const w of raw) sum += w;
    const weights = raw.map((w) => {
      const fixed = (sum === 0 ? w : w / sum) * 2 ** fixedBits;
      return Math.trunc(fixed + (fixed < 0 ? -0.5 : 0.5));
    });
    return { first, weights };
  });
}

/** One pass along rows of `length` samples that lie `step` apart; there are `rows` of them, the next found by `rowStart`. */
function resample(
  source: Uint8Array,
  out: Uint8Array,
  taps: readonly Taps[],
  rows: number,
  sourceAt: (row: number) => number,
  outAt: (row: number) => number,
  step: number,
): void {
  for (let row = 0; row < rows; row++) {
    const base = sourceAt(row);
    let to = outAt(row);
    for (const { first, weights } of taps) {
      let sum = 2 ** (fixedBits - 1);
      let at = base + first * step;
      for (const w of weights) {
        sum += source[at]! * w;
        at += step;
      }
      out[to] = Math.min(255, Math.max(0, sum >> fixedBits));
      to += step;
    }
  }
}

export function resize(
  picture: Picture,
  width: number,
  height: number,
  interpolation: Preprocess["interpolation"],
): Picture {
  if (interpolation === "nearest") return resizeNearest(picture, width, height);
  const filter = filters[interpolation];
  const { channels } = picture;
  let { pixels } = picture;
  if (width !== picture.width) {
    const out = new Uint8Array(width * picture.height * channels);
    const [rowIn, rowOut] = [picture.width * channels, width * channels];
    for (let c = 0; c < channels; c++)
      resample(
        pixels,
        out,
        tapsOf(picture.width, width, filter),
        picture.height,
        (y) => y * rowIn + c,
        (y) => y * rowOut + c,
        channels,
      );
    pixels = out;
  }
  if (height !== picture.height) {
    const row = width * channels;
    const out = new Uint8Array(height * row);
    // A column of one channel is a row whose samples lie a whole row apart.
    resample(
      pixels,
      out,
      tapsOf(picture.height, height, filter),
      row,
      (x) => x,
      (x) => x,
      row,
    );
    pixels = out;
  }
  return { width, height, channels, pixels };
}

function resizeNearest(picture: Picture, width: number, height: number): Picture {
  const { channels } = picture;
  const pixels = new Uint8Array(width * height * channels);
  const from = (i: number, source: number, target: number): number =>
    Math.min(source - 1, Math.floor((i + 0.5) * (source / target)));
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const at = (from(y, picture.height, height) * picture.width + from(x, picture.width, width)) * channels;
      for (let c = 0; c < channels; c++) pixels[(y * width + x) * channels + c] = picture.pixels[at + c]!;
    }
  return { width, height, channels, pixels };
}

/** torchvision's centre crop: black where the picture is smaller, halves rounded to even. */
export function centerCrop(picture: Picture, size: number): Picture {
  const { width, height, channels } = picture;
  const left = width < size ? -Math.floor((size - width) / 2) : roundHalfEven((width - size) / 2);
  const top = height < size ? -Math.floor((size - height) / 2) : roundHalfEven((height - size) / 2);
  const pixels = new Uint8Array(size * size * channels);
  const [fromX, toX] = [Math.max(0, left), Math.min(width, left + size)];
  for (let y = Math.max(0, top); y < Math.min(height, top + size); y++)
    pixels.set(
      picture.pixels.subarray((y * width + fromX) * channels, (y * width + toX) * channels),
      ((y - top) * size + fromX - left) * channels,
    );
  return { width: size, height: size, channels, pixels };
}

function roundHalfEven(x: number): number {
  const low = Math.floor(x);
  return x - low === 0.5 ? low + (low % 2) : Math.round(x);
}

/** Luma of ITU-R 601-2 in 16-bit fixed point, as Pillow's `L`. */
export function toGrey(picture: Picture): Picture {
  if (picture.channels === 1) return picture;
  const { width, height, pixels } = picture;
  const grey = new Uint8Array(width * height);
  for (let i = 0, at = 0; i < grey.length; i++, at += 3)
    grey[i] = (pixels[at]! * 19595 + pixels[at + 1]! * 38470 + pixels[at + 2]! * 7471 + 0x8000) >>> 16;
  return { width, height, channels: 1, pixels: grey };
}

/** Sizes after resizing: the shorter side is floor(size / cropPct), the longer one in proportion, rounded down. */
export function resizedSize(
  { width, height }: { readonly width: number; readonly height: number },
  { size, cropPct }: Pick<Preprocess, "size" | "cropPct">,
): { readonly width: number; readonly height: number } {
  const short = Math.floor(size / cropPct);
  const long = Math.floor((short * Math.max(width, height)) / Math.min(width, height));
  return width <= height ? { width: short, height: long } : { width: long, height: short };
}

/** A picture a thousand times as long as it is high would grow past all memory when its shorter side is brought to size. */
const maxResizedPixels = 2 ** 26;

/** The whole pipeline: f32 [1, channels, size, size]. */
export function preprocess(picture: Picture, how: Preprocess): Outcome<Tensor> {
  const { width, height } = resizedSize(picture, how);
  if (width * height > maxResizedPixels)
    return failed(
      error(
        "image-limit",
        `${picture.width}x${picture.height} pixels become ${width}x${height} before the crop, more than ${maxResizedPixels}`,
        { help: "crop the picture to about the shape of a square first" },
      ),
    );
  const cropped = centerCrop(resize(picture, width, height, how.interpolation), how.size);
  return ok(normalize(cropped, how.mean, how.std));
}

/** (x/255 - mean) / std in f32 at every step, as torchvision; channels first. One mean or std serves all channels. */
export function normalize(picture: Picture, mean: readonly number[], std: readonly number[]): Tensor {
  const { width, height, channels, pixels } = picture;
  const area = width * height;
  const data = new Float32Array(channels * area);
  for (let c = 0; c < channels; c++) {
    const m = Math.fround(mean[c] ?? mean[0] ?? 0);
    const s = Math.fround(std[c] ?? std[0] ?? 1);
    for (let i = 0; i < area; i++)
      data[c * area + i] = Math.fround(Math.fround(pixels[i * channels + c]! / 255) - m) / s;
  }
  return { dtype: "f32", shape: [1, channels, height, width], data };
}
