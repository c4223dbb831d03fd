// A plot as SVG text: what each setting of a method keeps of the model's quality, against what it still computes.

export interface Point {
  readonly method: string;
  readonly label: string;
  /** Share of the FLOPs, 0 to 1 or more. */
  readonly x: number;
  /** Quality, 0 to 1. */
  readonly y: number;
}

const size = { width: 640, height: 400, left: 64, right: 150, top: 24, bottom: 48 };
/** Told apart by people who do not see colours alike (Okabe and Ito), and by their marks. */
const colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

const escaped = (text: string): string => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/** `quality` and `work` are the names of the axes. */
export function sweepPlot(
  points: readonly Point[],
  title: string,
  quality: string,
  work = "FLOPs of the blocks, of those without reduction",
): string {
  const methods = [...new Set(points.map((p) => p.method))];
  const right = Math.max(1, ...points.map((p) => p.x));
  const low = Math.max(0, Math.floor(Math.min(...points.map((p) => p.y)) * 20 - 0.5) / 20);
  const x = (v: number) => size.left + (v / right) * (size.width - size.left - size.right);
  const y = (v: number) =>
    size.height - size.bottom - ((v - low) / (1 - low || 1)) * (size.height - size.top - size.bottom);
  const text = (at: readonly [number, number], value: string, more = "") =>
    `<text x="${at[0].toFixed(1)}" y="${at[1].toFixed(1)}"${more}>${escaped(value)}</text>`;
  const lines: string[] = [];
  for (let i = 0; i <= 4; i++) {
    const [vx, vy] = [(right * i) / 4, low + ((1 - low) * i) / 4];
    lines.push(
      `<path d="M${x(vx).toFixed(1)} ${size.top}V${size.height - size.bottom}M${size.left} ${y(vy).toFixed(1)}H${size.width - size.right}" stroke="#ddd"/>`,
      text([x(vx), size.height - size.bottom + 16], `${Math.round(vx * 100)} %`, ' text-anchor="middle"'),
      text([size.left - 6, y(vy) + 4], `${(vy * 100).toFixed(1)} %`, ' text-anchor="end"'),
    );
  }
  methods.forEach((method, m) => {
    const colour = colours[m % colours.length]!;
    const own = points.filter((p) => p.method === method).sort((a, b) => a.x - b.x);
    const path = own
      .map((p, i) => `${i === 0 ? "M" : "L"}${x(p.x).toFixed(1)} ${y(p.y).toFixed(1)}`)
      .join("");
    lines.push(`<path d="${path}" fill="none" stroke="${colour}"/>`);
    for (const p of own)
      lines.push(
        `<circle cx="${x(p.x).toFixed(1)}" cy="${y(p.y).toFixed(1)}" r="3" fill="${colour}"><title>${escaped(p.label)}</title></circle>`,
      );
    const at = size.top + 16 + 18 * m;
    lines.push(
      `<circle cx="${size.width - size.right + 18}" cy="${at - 4}" r="4" fill="${colour}"/>`,
      text([size.width - size.right + 28, at], method),
    );
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" font-family="sans-serif" font-size="12">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    ...lines,
    text([(size.left + size.width - size.right) / 2, size.height - 8], work, ' text-anchor="middle"'),
    text([size.left, 14], quality),
    "</svg>",
    "",
  ].join("\n");
}
