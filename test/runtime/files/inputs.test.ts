// Inputs and outputs of a run: arguments, files, sizes that follow from one another, and files that must not be overwritten.

import { linkSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { tensor } from "../../../src/ir/tensor.ts";
import { inputPaths, loadInputs, writeOutputs, type WantedInput } from "../../../src/runtime/files-node.ts";
import { parseInputSpec } from "../../../src/runtime/input-spec.ts";
import { writeNpy } from "../../../src/runtime/npy.ts";
import { openCheckpoint } from "../../../src/runtime/weights-node.ts";
import { writeSafetensors } from "../../../src/runtime/safetensors.ts";
import { seededInput } from "../../../src/runtime/seeded.ts";
import { codes, fixtures, must, temporaryFolder } from "./support.ts";

const cat = join(fixtures, "images/cat.png");
const digits = join(fixtures, "digits/digits_test.safetensors");

const image: WantedInput = {
  name: "image",
  dtype: "f32",
  shape: ["B", "3", "H", "W"],
  preprocess: { size: 32, cropPct: 0.875, interpolation: "bilinear", mean: [0.5], std: [0.5] },
};
const images: WantedInput = { name: "images", dtype: "f32", shape: ["B", "1", "8", "8"] };
const hidden: WantedInput = { name: "hidden", dtype: "f32", shape: ["B", "T", "4"] };
const mask: WantedInput = { name: "mask", dtype: "i32", shape: ["B", "T"] };

describe("arguments", () => {
  it("tells them apart", () => {
    const spec = (text: string) => must(parseInputSpec(text));
    expect(spec("data.safetensors")).toEqual({
      kind: "file",
      format: "safetensors",
      path: "data.safetensors",
    });
    expect(spec("image=a/b=c.PNG")).toEqual({
      kind: "file",
      format: "image",
      path: "a/b=c.PNG",
      name: "image",
    });
    expect(spec("x=d.safetensors:images")).toEqual({
      kind: "file",
      format: "safetensors",
      path: "d.safetensors",
      name: "x",
      tensor: "images",
    });
    expect(spec("x=C:\\d.npy")).toEqual({ kind: "file", format: "npy", path: "C:\\d.npy", name: "x" });
    expect(spec("x=seed:input")).toEqual({ kind: "seed", name: "x", seed: "input" });
    expect(spec("x=ones")).toEqual({ kind: "fill", name: "x", value: 1 });
    expect(spec("x=-1.5e-3")).toEqual({ kind: "fill", name: "x", value: -0.0015 });
    for (const wrong of [
      "",
      "x=",
      "ones",
      "seed:input",
      "x=seed:",
      "x=photo.gif",
      "x=photo",
      "x=1e999",
      "0.5",
      "d.safetensors:images",
    ])
      expect(codes(parseInputSpec(wrong)), wrong).toEqual(["input-spec"]);
    expect(inputPaths(["x=ones", "x=a.npy", "b.safetensors"])).toEqual(["a.npy", "b.safetensors"]);
  });
});

describe("inputs", () => {
  it("takes from a safetensors file what the model names", async () => {
    const found = must(await loadInputs([digits], [images]));
    expect(Object.keys(found)).toEqual(["images"]);
    expect(found["images"]!.shape).toEqual([360, 1, 8, 8]);
    const other: WantedInput = { ...images, name: "x" };
    expect(must(await loadInputs([`x=${digits}:images`], [other]))["x"]!.shape).toEqual([360, 1, 8, 8]);
    const none = await loadInputs([digits], [{ ...images, name: "image" }]);
    expect(none.diagnostics[0]).toMatchObject({ code: "input-tensor", help: "is it images?" });
    expect(codes(await loadInputs([`${digits}`], [{ ...images, dtype: "i32" }]))).toEqual(["tensor-dtype"]);
    expect(codes(await loadInputs([digits], [{ ...images, shape: ["B", "3", "8", "8"] }]))).toEqual([
      "input-shape",
    ]);
  });

  it("makes a batch of pictures, in colour or grey", async () => {
    const one = must(await loadInputs([cat], [image]))["image"]!;
    expect(one.shape).toEqual([1, 3, 32, 32]);
    const two = must(await loadInputs([`image=${cat}`, `image=${cat}`], [image]))["image"]!;
    expect(two.shape).toEqual([2, 3, 32, 32]);
    expect([...two.data.subarray(one.data.length)]).toEqual([...one.data]);
    const grey = must(await loadInputs([cat], [{ ...image, shape: ["B", "1", "32", "32"] }]))["image"]!;
    expect(grey.shape).toEqual([1, 1, 32, 32]);
    expect(Math.max(...grey.data)).toBeLessThanOrEqual(1);
    expect(codes(await loadInputs([cat], [{ ...image, shape: ["B", "3", "64", "64"] }]))).toEqual([
      "input-shape",
    ]);
    expect(codes(await loadInputs([cat], [{ ...image, shape: ["B", "5", "H", "W"] }]))).toEqual([
      "input-shape",
    ]);
    expect(codes(await loadInputs([`images=${cat}`], [images]))).toEqual(["input-preprocess"]);
  });

  it("makes inputs whose sizes are given or follow from the others", async () => {
    const { preprocess: _, ...plain } = image;
    const dims = { B: 2, H: 4, W: 4 };
    const made = must(await loadInputs(["image=seed:input"], [plain], dims))["image"]!;
    expect(made).toEqual(seededInput("input", [2, 3, 4, 4]));
    const lost = await loadInputs(["image=seed:input"], [plain], { B: 1 });
    expect(lost.diagnostics[0]).toMatchObject({ code: "input-dim", help: "add --dim H=SIZE --dim W=SIZE" });

    const folder = temporaryFolder();
    const path = join(folder, "hidden.npy");
    writeFileSync(
      path,
      writeNpy(
        tensor(
          "f32",
          [2, 3, 4],
          Array.from({ length: 24 }, (_, i) => i),
        ),
      ),
    );
    const found = must(await loadInputs(["mask=ones", `hidden=${path}`], [hidden, mask]));
    expect(found["mask"]).toEqual(tensor("i32", [2, 3], [1, 1, 1, 1, 1, 1]));
    const seeded = must(await loadInputs([`hidden=${path}`], [hidden, mask], {}, { seedMissing: true }));
    expect(seeded["mask"]).toEqual(seededInput("mask", [2, 3], "i32"));
    expect(codes(await loadInputs([path], [hidden, mask]))).toEqual(["input-spec"]);
    expect(codes(await loadInputs(["hidden=ones"], [hidden], { B: 2 ** 20, T: 2 ** 20 }))).toEqual([
      "input-dim",
    ]);
  });

  it("names what is wrong with an argument", async () => {
    const unknown = await loadInputs([`imgae=${cat}`], [image]);
    expect(unknown.diagnostics[0]).toMatchObject({ code: "unknown-input", help: "is it image?" });
    expect(codes(await loadInputs([], [image, mask]))).toEqual(["missing-input", "missing-input"]);
    expect(codes(await loadInputs(["mask=ones", "mask=zeros"], [mask], { B: 1, T: 1 }))).toEqual([
      "input-duplicate",
    ]);
    expect(codes(await loadInputs([digits, digits], [images]))).toEqual(["input-duplicate"]);
    expect(codes(await loadInputs(["image=nowhere.png"], [image]))).toEqual(["file-missing"]);
  });
});

describe("outputs", () => {
  const logits = tensor("f32", [1, 2], [0.25, 0.75]);

  it("writes files that read back", async () => {
    const folder = temporaryFolder();
    const path = join(folder, "out.safetensors");
    for (let run = 0; run < 2; run++) must(await writeOutputs(path, { logits, more: logits }));
    const store = must(await openCheckpoint(path));
    expect(must(await store.read("logits"))).toEqual(logits);
    await store.close();
    must(await writeOutputs(join(folder, "out.npy"), { logits }));
    expect(readFileSync(join(folder, "out.npy"))).toEqual(Buffer.from(writeNpy(logits)));
    expect(readdirSync(folder).sort()).toEqual(["out.npy", "out.safetensors"]);
  });

  it("spares the inputs, by whatever name", async () => {
    const folder = temporaryFolder();
    const input = join(folder, "in.safetensors");
    writeFileSync(input, writeSafetensors({ x: logits }));
    const before = readFileSync(input);
    symlinkSync(input, join(folder, "soft.safetensors"));
    linkSync(input, join(folder, "hard.safetensors"));
    for (const name of ["in", "soft", "hard"])
      expect(codes(await writeOutputs(join(folder, `${name}.safetensors`), { logits }, [input]))).toEqual([
        "output-is-input",
      ]);
    expect(readFileSync(input)).toEqual(before);
  });

  it("refuses what cannot hold them", async () => {
    const folder = temporaryFolder();
    expect(codes(await writeOutputs(join(folder, "out.txt"), { logits }))).toEqual(["output-format"]);
    expect(codes(await writeOutputs(join(folder, "out.npy"), { a: logits, b: logits }))).toEqual([
      "output-format",
    ]);
    expect(codes(await writeOutputs(join(folder, "none/out.npy"), { logits }))).toEqual(["file-write"]);
  });
});
