// JSON for readers: what fits on a line stands on one. Reads back with JSON.parse.

export function jsonText(value: unknown, width = 110, indent = ""): string {
  const flat = JSON.stringify(value) ?? "null";
  if (typeof value !== "object" || value === null) return flat;
  const spaced = flatText(value);
  if (indent.length + spaced.length <= width) return spaced;
  const inner = `${indent}  `;
  const [open, close] = Array.isArray(value) ? ["[", "]"] : ["{", "}"];
  const isPlainList = Array.isArray(value) && value.every((x) => typeof x !== "object" || x === null);
  const lines = isPlainList
    ? filled(value.map(flatText), width, inner)
    : itemsOf(value).map(([key, x]) => `${inner}${key}${jsonText(x, width, inner)}`);
  return `${open}\n${lines.join(",\n")}\n${indent}${close}`;
}

/** As many items on each line as it has room for. */
function filled(items: readonly string[], width: number, indent: string): string[] {
  const lines: string[] = [];
  for (const item of items) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + item.length + 3 <= width)
      lines[lines.length - 1] = `${last}, ${item}`;
    else lines.push(indent + item);
  }
  return lines;
}

/** On one line, with a space where a reader expects one. */
function flatText(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const items = itemsOf(value).map(([key, x]) => `${key}${flatText(x)}`);
  if (Array.isArray(value)) return `[${items.join(", ")}]`;
  return items.length === 0 ? "{}" : `{ ${items.join(", ")} }`;
}

/** What stands in front of each item, and the item; fields without a value are left out, as JSON does. */
function itemsOf(value: object): [string, unknown][] {
  if (Array.isArray(value)) return value.map((x) => ["", x]);
  return Object.entries(value)
    .filter(([, x]) => x !== undefined)
    .map(([name, x]) => [`${JSON.stringify(name)}: `, x]);
}
