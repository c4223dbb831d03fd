// Photographs: decoding as Pillow decodes, preprocessing as timm and Pillow compute, and files that are none.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import type { Preprocess } from "../../../src/ir/graph.ts";
import { memorySource } from "../../../src/runtime/bytes.ts";
import { decodeImage, readImage } from "../../../src/runtime/images-node.ts";
import { centerCrop, preprocess, resize, resizedSize, toGrey } from "../../../src/runtime/preprocess.ts";
import type { Picture } from "../../../src/runtime/preprocess.ts";
import { openSafetensors } from "../../../src/runtime/safetensors.ts";
import { codes, damage, fixtures, must, temporaryFolder } from "./support.ts";

const imagenet: Preprocess = {
  size: 224,
  cropPct: 0.9,
  interpolation: "bicubic",
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
};
const catPath = join(fixtures, "images/cat.png");

const grey = (width: number, pixels: readonly number[]): Picture => ({
  width,
  height: pixels.length / width,
  channels: 1,
  pixels: Uint8Array.from(pixels),
});

describe("preprocessing", () => {
  it("makes of the cat what timm and Pillow make of it", async () => {
    const cat = must(await readImage(catPath));
    expect([cat.width, cat.height, cat.channels]).toEqual([451, 300, 3]);
    expect(resizedSize(cat, imagenet)).toEqual({ width: 372, height: 248 });
    const made = must(preprocess(cat, imagenet));
    const file = readFileSync(join(fixtures, "images/cat_224.safetensors"));
    const expected = must(await must(await openSafetensors(memorySource("cat", file))).read("image"));
    expect(made.shape).toEqual(expected.shape);
    let worst = 0;
    made.data.forEach((x, i) => (worst = Math.max(worst, Math.abs(x - expected.data[i]!))));
    // A step of colour is 1/255/0.229 = 0.017: nothing but float rounding is left.
    expect(worst).toBeLessThan(1e-6);
  });

  it("resamples by hand-worked numbers", () => {
    // Halving with the triangle filter of radius 2: weights 1 3 3 1 over 8 inside, 3 3 1 over 7 at the edge.
    expect([...resize(grey(4, [0, 70, 140, 210]), 2, 1, "bilinear").pixels]).toEqual([50, 160]);
    expect([...resize(grey(4, [10, 20, 30, 40]), 2, 1, "nearest").pixels]).toEqual([20, 40]);
    expect([...resize(grey(1, [10, 20, 30, 40]), 1, 4, "bicubic").pixels]).toEqual([10, 20, 30, 40]);
    // Overshoot of the cubic is clamped, never wrapped.
    const edge = resize(grey(4, [0, 0, 255, 255]), 16, 1, "bicubic").pixels;
    expect(Math.min(...edge)).toBe(0);
    expect(Math.max(...edge)).toBe(255);
    expect([...edge]).toEqual([...edge].sort((a, b) => a - b));
    // Down the columns it is the same as along the rows.
    const tall = resize(grey(1, [0, 0, 255, 255]), 1, 16, "bicubic").pixels;
    expect([...tall]).toEqual([...edge]);
  });

  it("crops as torchvision: halves to even, black outside", () => {
    // (4 - 3) / 2 = 0.5 rounds to 0; (6 - 3) / 2 = 1.5 rounds to 2.
    expect([...centerCrop(grey(4, [...Array(16).keys()]), 3).pixels]).toEqual([0, 1, 2, 4, 5, 6, 8, 9, 10]);
    expect([...centerCrop(grey(6, [1, 2, 3, 4, 5, 6]), 3).pixels]).toEqual([0, 0, 0, 3, 4, 5, 0, 0, 0]);
  });

  it("turns colour into grey by luma", () => {
    const rgb: Picture = {
      width: 4,
      height: 1,
      channels: 3,
      pixels: Uint8Array.of(255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9),
    };
    expect([...toGrey(rgb).pixels]).toEqual([76, 150, 29, 9]);
  });

  it("refuses a ribbon that would grow past memory", () => {
    const ribbon = grey(
      1,
      Array.from({ length: 30000 }, () => 0),
    );
    expect(codes(preprocess(ribbon, imagenet))).toEqual(["image-limit"]);
  });
});

describe("decoding", () => {
  const encode = (channels: 1 | 2 | 3 | 4, pixels: readonly number[]) =>
    sharp(Uint8Array.from(pixels), { raw: { width: pixels.length / channels, height: 1, channels } });

  it("drops alpha, widens grey, ignores orientation", async () => {
    const clear = await encode(4, [10, 20, 30, 0, 40, 50, 60, 255]).png().toBuffer();
    expect([...must(await decodeImage(clear, "x")).pixels]).toEqual([10, 20, 30, 40, 50, 60]);
    const flat = await encode(1, [7, 200]).toColourspace("b-w").png().toBuffer();
    expect([...must(await decodeImage(flat, "x")).pixels]).toEqual([7, 7, 7, 200, 200, 200]);
    const turned = await encode(3, [10, 20, 30, 40, 50, 60])
      .withMetadata({ orientation: 6 })
      .webp({ lossless: true })
      .toBuffer();
    expect(must(await decodeImage(turned, "x"))).toMatchObject({ width: 2, height: 1 });
    const jpeg = must(
      await decodeImage(await encode(3, [200, 100, 50, 200, 100, 50]).jpeg({ quality: 100 }).toBuffer(), "x"),
    );
    jpeg.pixels.forEach((x, i) => expect(Math.abs(x - [200, 100, 50][i % 3]!)).toBeLessThanOrEqual(2));
  });

  it("tells kinds by content and lets only three of them near the decoder", async () => {
    const svg = '<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>';
    const gif = await encode(3, [1, 2, 3]).gif().toBuffer();
    for (const bytes of [Buffer.from(svg), Buffer.from("%PDF-1.7"), gif, Buffer.alloc(0)])
      expect(codes(await decodeImage(bytes, "photo.png"))).toEqual(["image-format"]);
  });

  it("refuses damage, bombs, CMYK, and paths that are no files", async () => {
    const cat = readFileSync(catPath);
    expect(codes(await decodeImage(cat.subarray(0, 100_000), "x"))).toEqual(["image-damaged"]);
    const bomb = await sharp({ create: { width: 9000, height: 9000, channels: 3, background: "black" } })
      .png()
      .toBuffer();
    expect(codes(await decodeImage(bomb, "x"))).toEqual(["image-limit"]);
    const print = await encode(3, [1, 2, 3]).toColourspace("cmyk").jpeg().toBuffer();
    expect(codes(await decodeImage(print, "x"))).toEqual(["image-colour"]);
    const folder = temporaryFolder();
    expect(codes(await readImage(folder))).toEqual(["file-kind"]);
    expect(codes(await readImage(join(folder, "none.png")))).toEqual(["file-missing"]);
    writeFileSync(join(folder, "text.png"), "hello");
    expect(codes(await readImage(join(folder, "text.png")))).toEqual(["image-format"]);
  });

  it("survives 2,000 damaged files", async () => {
    const kinds = await Promise.all([
      encode(3, [1, 2, 3, 4, 5, 6]).png().toBuffer(),
      encode(3, [1, 2, 3, 4, 5, 6]).jpeg().toBuffer(),
      encode(3, [1, 2, 3, 4, 5, 6]).webp().toBuffer(),
    ]);
    let refused = 0;
    for (let seed = 1; seed <= 2000; seed++) {
      const result = await decodeImage(damage(kinds[seed % 3]!, seed), `seed ${seed}`);
      if (result.value) expect(result.value.pixels.length).toBe(result.value.width * result.value.height * 3);
      else refused++;
    }
    expect(refused).toBeGreaterThan(500);
  }, 60_000);
});
