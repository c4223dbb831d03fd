// The roofline: what each dispatch reaches, against what the adapter can do at that many FLOPs a byte. Without a profile the dispatches
// stand on the roof: that is where they would be at best.

import { intensity, ridge } from "../explain/speed.ts";
import { amount, bytes } from "../explain/units.ts";
import type { App } from "./app.ts";
import { percent, time } from "./parts.ts";
import { rule, words, type Brush, type Mark } from "./plot.ts";

export function drawRoofline(app: App, b: Brush): readonly Mark[] {
  const { doc, model, lit, hovered } = app;
  const { target } = doc;
  const work = model.entry.dispatches.map((d, i) => ({
    i,
    d,
    x: Math.max(intensity(d), 1e-3),
    y: (d.flops / Math.max(model.times[i]!, 1e-3)) * 1e9,
  }));
  const drawn = work.filter((w) => w.y > 0);
  const plot = { left: 58, right: b.width - 14, top: 16, bottom: b.height - 30 };
  const xs = [...drawn.map((w) => w.x), ridge(target) / 8, ridge(target) * 8];
  const ys = [...drawn.map((w) => w.y), target.flopsPerSecond * 1.6];
  const [x0, x1] = [Math.log10(Math.min(...xs)) - 0.15, Math.log10(Math.max(...xs)) + 0.15];
  const [y0, y1] = [Math.log10(Math.min(...ys)) - 0.15, Math.log10(Math.max(...ys))];
  const px = (x: number): number => plot.left + ((Math.log10(x) - x0) / (x1 - x0)) * (plot.right - plot.left);
  const py = (y: number): number =>
    plot.bottom - ((Math.log10(y) - y0) / (y1 - y0)) * (plot.bottom - plot.top);

  for (let e = Math.ceil(y0); e <= y1; e++) {
    rule(b, plot.left, py(10 ** e), plot.right, py(10 ** e));
    words(b, amount(10 ** e).trimEnd(), plot.left - 6, py(10 ** e), "right");
  }
  for (let e = Math.ceil(x0); e <= x1; e++) {
    rule(b, px(10 ** e), plot.top, px(10 ** e), plot.bottom);
    words(b, e >= 0 && e < 4 ? String(10 ** e) : `1e${e}`, px(10 ** e), plot.bottom + 10, "center");
  }
  words(b, "FLOP a byte", plot.right, plot.bottom + 22, "right");
  words(b, "FLOP/s", 4, plot.top - 8);

  const { c, colours } = b;
  const roof = (x: number): number => Math.min(target.flopsPerSecond, x * target.bytesPerSecond);
  c.save();
  c.beginPath();
  c.rect(plot.left, 0, plot.right - plot.left, plot.bottom);
  c.clip();
  c.beginPath();
  c.moveTo(px(10 ** x0), py(roof(10 ** x0)));
  c.lineTo(px(ridge(target)), py(target.flopsPerSecond));
  c.lineTo(plot.right, py(target.flopsPerSecond));
  c.lineWidth = 1.75;
  c.strokeStyle = colours["text"]!;
  c.stroke();
  c.restore();
  words(
    b,
    `${amount(target.flopsPerSecond)}FLOP/s`,
    plot.right,
    py(target.flopsPerSecond) - 8,
    "right",
    "text",
  );
  const slope = Math.atan2(py(roof(1)) - py(roof(10)), px(10) - px(1));
  const at = 10 ** (x0 + 0.1);
  c.save();
  c.translate(px(at) + 6, py(roof(at)) - 8);
  c.rotate(-slope);
  words(b, `${bytes(target.bytesPerSecond)}/s`, 10, -2, "left", "text");
  c.restore();

  const anyLit = lit.dispatches.size > 0;
  const most = Math.max(...model.times);
  return drawn.map(({ i, d, x, y }) => {
    const strong = lit.dispatches.has(i) || hovered.dispatches.has(i);
    const r = 3 + 7 * Math.sqrt(model.times[i]! / most);
    c.beginPath();
    c.arc(px(x), py(y), r, 0, 2 * Math.PI);
    c.globalAlpha = anyLit && !strong ? 0.25 : 0.65;
    c.fillStyle = strong ? colours["accent"]! : colours["heat"]!;
    c.fill();
    c.globalAlpha = 1;
    c.lineWidth = 1;
    c.strokeStyle = strong ? colours["accent"]! : colours["canvas"]!;
    c.stroke();
    const reached = model.measured ? `, ${percent(y / roof(x))} of the ceiling` : " at best";
    return {
      x: px(x) - r,
      y: py(y) - r,
      w: 2 * r,
      h: 2 * r,
      title: `#${i} ${doc.kernels[d.kernel]!.name}\n${amount(d.flops)}FLOP, ${bytes(d.bytes)}\n${time(model.times[i]!)}${reached}`,
      click: () => app.select({ kind: "dispatch", index: i }),
      hover: () => app.hover({ kind: "dispatch", index: i }),
    };
  });
}
