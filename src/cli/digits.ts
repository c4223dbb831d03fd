// A few inputs drawn in the terminal with what the model says of them, and the share it has right. For small grey images.

import type { Tensor } from "../ir/tensor.ts";
import { colors, print } from "./common.ts";

/** Two pixels a character: the upper half block in the upper pixel's shade on the lower one's. */
const shades = " ░▒▓█";

export function showDigits(inputs: Readonly<Record<string, Tensor>>, logits: Tensor, classes: Tensor): void {
  const count = logits.shape[0]!;
  const width = logits.shape[1]!;
  const predicted = Array.from({ length: count }, (_, r) => argmax(logits.data, r * width, width));
  const right = predicted.filter((p, r) => p === classes.data[r]).length;
  const images = Object.values(inputs).find(
    (t) => t.shape.length === 4 && t.shape[1] === 1 && t.shape[3]! <= 32,
  );
  if (images) {
    const wrong = predicted.map((p, r) => ({ p, r })).filter(({ p, r }) => p !== classes.data[r]);
    print(colors.bold("the first eight"));
    draw(
      images,
      [0, 1, 2, 3, 4, 5, 6, 7].filter((r) => r < count),
      predicted,
      classes,
    );
    if (wrong.length > 0) {
      print();
      print(colors.bold(`${wrong.length} of ${count} are wrong`));
      draw(
        images,
        wrong.slice(0, 8).map((x) => x.r),
        predicted,
        classes,
      );
    }
    print();
  }
  print(
    `${colors.dim("accuracy")}  ${colors.bold(`${((100 * right) / count).toFixed(2)} %`)}  (${right} of ${count})`,
  );
}

function draw(images: Tensor, rows: readonly number[], predicted: readonly number[], classes: Tensor): void {
  const [, , height, width] = images.shape as readonly [number, number, number, number];
  const gap = "   ";
  for (let y = 0; y < height; y++) {
    const line = rows.map((r) =>
      Array.from({ length: width }, (_, x) => {
        const v = images.data[(r * height + y) * width + x]!;
        return shades[Math.max(0, Math.min(4, Math.round(v * 4)))]!.repeat(2);
      }).join(""),
    );
    print(line.join(gap));
  }
  const captions = rows.map((r) => {
    const ok = predicted[r] === classes.data[r];
    const text = ok ? `${predicted[r]}` : `${predicted[r]}, is ${classes.data[r]}`;
    const padded = text.padStart(Math.floor((width * 2 + text.length) / 2)).padEnd(width * 2);
    return ok ? colors.green(padded) : colors.red(padded);
  });
  print(captions.join(gap));
}

function argmax(data: Tensor["data"], from: number, count: number): number {
  let best = 0;
  for (let i = 1; i < count; i++) if (data[from + i]! > data[from + best]!) best = i;
  return best;
}
