// Writes docs/ops.md from the op records: what each op means, what it takes, what can go wrong, and a worked example.

import { showDim, type Dim } from "../src/ir/dim.ts";
import type { AttrValue } from "../src/ir/graph.ts";
import {
  givenAttributes,
  type AttrSpec,
  type InputSpec,
  type Lowering,
  type NestedNumbers,
  type OpDefinition,
  type OpExample,
} from "../src/ir/op.ts";
import { allOps } from "../src/ops/index.ts";

const header = `# Ops

<!-- Made from the records in src/ops by tools/docs-ops.ts: run \`npm run update\` after changing one. -->

Every op that a \`.model\` file can call, and the ops the compiler makes for itself (at the end). Tensors are given by place, attributes
by name. An input marked *weight* is a parameter of the layer: the call makes it under its \`@label\`, unless a tensor is passed by
name; \`bias = false\` leaves it out. Sizes are symbolic; two sizes are equal when they are for every value of their symbols.

Two shapes **broadcast** when, aligned at the last axis, sizes are equal or one of them is 1; missing leading axes count as 1.

f16 tensors are stored in f16 and computed in f32. \`bool\` is 0 or 1.
`;

export function opsMarkdown(): string {
  const inLanguage = allOps.filter((op) => op.inLanguage !== false);
  const internal = allOps.filter((op) => op.inLanguage === false);
  const parts = [header, index(inLanguage), ...inLanguage.map(section)];
  if (internal.length > 0)
    parts.push(
      "# Made by the compiler\n\nNot callable from a `.model` file; they appear in dumps of the graph.\n",
      ...internal.map(section),
    );
  return parts.join("\n");
}

function index(ops: readonly OpDefinition[]): string {
  return ops.map((op) => `[\`${op.name}\`](#${op.name})`).join(" · ") + "\n";
}

function section(op: OpDefinition): string {
  const lines = [
    `## ${op.name}`,
    "",
    `\`\`\`\n${signature(op)}\n\`\`\``,
    "",
    op.doc,
    "",
    `    ${op.equation}`,
    "",
  ];
  lines.push(...list("Inputs", op.inputs.map(inputLine)));
  lines.push(...list("Attributes", Object.entries(op.attrs).map(attrLine)));
  lines.push(
    ...list(
      "Errors",
      Object.entries(op.constraints).map(([l, s]) => `\`${op.name}.${l}\`: ${s}`),
    ),
  );
  for (const example of op.examples) lines.push(...exampleLines(op, example));
  lines.push(`*${[...op.traits, loweringWords(op.lowering)].join(", ")}*`, "");
  return lines.join("\n");
}

function list(title: string, items: readonly string[]): string[] {
  return items.length === 0 ? [] : [`${title}:`, "", ...items.map((x) => `- ${x}`), ""];
}

/** `conv2d(x, out: dim, kernel: pair, stride: pair = [1, 1]) @label -> y`. */
function signature(op: OpDefinition): string {
  const inputs = op.inputs
    .filter((i) => !i.weight)
    .map(
      (i, k) => `${i.name}${i.optional ? "?" : ""}${op.variadic && k === op.inputs.length - 1 ? "..." : ""}`,
    );
  const attrs = givenAttributes(op).map(([name, spec]) => `${name}: ${kindWords(spec)}${defaultWords(spec)}`);
  const label = op.inputs.some((i) => i.weight) ? " @label" : "";
  return `${op.name}(${[...inputs, ...attrs].join(", ")})${label} -> ${op.results.join(", ")}`;
}

function kindWords(spec: AttrSpec): string {
  return spec.choices ? spec.choices.join(" | ") : spec.kind;
}

function defaultWords(spec: AttrSpec): string {
  return spec.default === undefined ? "" : ` = ${showAttr(spec.default)}`;
}

function isDim(value: AttrValue): value is Dim {
  return typeof value === "object" && !Array.isArray(value);
}

function showAttr(value: AttrValue): string {
  // The largest i32 stands for the end of an axis.
  if (value === 0x7fffffff) return "end";
  if (isDim(value)) return showDim(value);
  return Array.isArray(value) ? `[${value.map(showAttr).join(", ")}]` : String(value);
}

function inputLine(input: InputSpec): string {
  const marks = [input.weight ? "weight" : "", input.optional ? "optional" : ""].filter((x) => x !== "");
  return `\`${input.name}\`${marks.length ? ` (*${marks.join(", ")}*)` : ""}: ${input.doc}`;
}

function attrLine([name, spec]: readonly [string, AttrSpec]): string {
  const role =
    spec.role === "weight-shape"
      ? " Says which weights the call makes."
      : spec.declares
        ? " A call declares it."
        : "";
  const given = spec.default === undefined ? "" : `, default ${showAttr(spec.default)}`;
  return `\`${name}\` (${kindWords(spec)}${given}): ${spec.doc}.${role}`.replace("?.", "?");
}

function exampleLines(op: OpDefinition, example: OpExample): string[] {
  const attrs = Object.entries(example.attrs ?? {}).map(([k, v]) => `${k} = ${showAttr(v)}`);
  const inputs = Object.keys(example.inputs);
  const weights = new Set(op.inputs.filter((i) => i.weight).map((i) => i.name));
  const call = `${op.name}(${[...inputs.map((i) => (weights.has(i) ? `${i} = ${i}` : i)), ...attrs].join(", ")})`;
  return [
    `Example, ${example.about}:`,
    "",
    "```",
    ...Object.entries(example.inputs).map(([name, x]) => `${name} = ${showNumbers(x)}`),
    call,
    ...example.outputs.map((y) => `  = ${showNumbers(y)}`),
    "```",
    "",
  ];
}

function showNumbers(x: NestedNumbers): string {
  return typeof x === "number" ? String(x) : `[${x.map(showNumbers).join(", ")}]`;
}

function loweringWords(lowering: Lowering): string {
  switch (lowering.kind) {
    case "element":
      return "one expression per element";
    case "reduce":
      return `a ${lowering.reducer} over axes`;
    case "contraction":
      return "made by the contraction generator";
    case "program":
      return "kernels of its own";
    case "decompose":
      return "written with other ops";
    case "prepare":
      return "at load, on weights; no kernel";
    case "group":
      return "runs its body";
    default:
      return lowering satisfies never;
  }
}
