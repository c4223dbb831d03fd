// The command line as it is shipped: compiled to JavaScript once into a folder of its own, with a pipeline that can be made to fail, and
// run as child processes.

import { execFile } from "node:child_process";
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Ajv } from "ajv";

export const root = resolve(import.meta.dirname, "../..");

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/**
 * A mistake of ours, put into the pipeline where PLANTED asks for it: a pass that throws, one that swaps differences, a rule
 * (a + b = a - -b) at its beginning that is wrong in one block of the model, or an f16 pass that takes another epsilon for norms.
 */
const planted = `
const asked = process.env.PLANTED;

const addAsSub = {
  name: "add-as-sub", equation: "", doc: "", roots: ["add"],
  apply: (root, c) => {
    const [a, b] = root.inputs;
    return [c.add("sub", [a, root.scope.startsWith("stages.1.blocks.0") ? b : c.add("neg", [b])])];
  },
};
if (asked === "rule") pipeline.unshift({
  name: "planted", doc: "", level: 1, numerics: "exact", needs: [], gives: [], rules: [addAsSub],
});
else if (asked === "rounding") pipeline.splice(pipeline.findIndex((p) => p.name === "half-storage"), 1, {
  ...pipeline.find((p) => p.name === "half-storage"),
  run(graph, c) {
    const { graph: halved, ...rest } = halfStorage.run(graph, c);
    const weaken = (n) => n.op.name === "layer_norm" || n.op.name === "group_norm" ? { ...n, attrs: { ...n.attrs, eps: 1e-3 } } : n;
    return { ...rest, graph: { ...halved, nodes: halved.nodes.map(weaken) } };
  },
});
else if (asked === "swap" || asked === "throw") pipeline.splice(-1, 0, {
  name: "planted", doc: "", level: 1, numerics: "exact", needs: [], gives: [],
  run(graph) {
    if (asked === "throw") throw new TypeError("planted failure");
    const swap = (n) => n.op.name === "sub" ? { ...n, inputs: [n.inputs[1], n.inputs[0]] } : n;
    return { graph: { ...graph, nodes: graph.nodes.map(swap) }, events: [], refusals: [] };
  },
});
`;

/** A mistake of ours in WGSL: a coefficient of GELU that is off by two in a hundred. */
const plantedKernel = `
const right = printWgsl;
if (process.env.PLANTED === "gelu") printWgsl = (...given) => right(...given).replaceAll("1.4214138", "1.45");
`;

export class Installed {
  readonly folder = mkdtempSync(join(tmpdir(), "tokenloom-cli-"));

  /** Compiles `src`; types are checked elsewhere. */
  async build(): Promise<void> {
    const dist = join(this.folder, "dist");
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const ran = await execute([tsc, "-p", join(root, "tsconfig.build.json"), "--outDir", dist], {});
    if (!existsSync(join(dist, "cli.js"))) throw new Error(`the command line was not built: ${ran.out}`);
    for (const name of ["node_modules", "std", "package.json"])
      symlinkSync(join(root, name), join(this.folder, name));
    const pipeline = join(dist, "passes/pipeline.js");
    appendFileSync(pipeline, planted);
    appendFileSync(join(dist, "codegen/wgsl/print.js"), plantedKernel);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** With --json, what is printed must be what the published schema says: every test of a command is a test of that, too. */
  async run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
    const ran = await execute([this.path("dist/cli.js"), ...args], env);
    if (args.includes("--json") && ran.out !== "") checkData(args, ran.out);
    return ran;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const schemas = new Ajv({ strict: false, allowUnionTypes: true });
for (const name of ["cli", "explain"])
  schemas.addSchema(JSON.parse(readFileSync(join(root, `docs/${name}.schema.json`), "utf8")) as object, name);

/** The schema of what a command prints: its name in `cli.schema.json`; of `explain` and `annotate` they have one of their own. */
function schemaOf(args: readonly string[]): string {
  const [command] = args as readonly [string];
  if (command === "explain" || command === "annotate") return "explain";
  return `cli#/$defs/${schemaName(command)}${args.includes("--to") ? "To" : ""}`;
}

/** What a command is called in `cli.schema.json`: `reduceReport`. */
export function schemaName(command: string): string {
  return command.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function checkData(args: readonly string[], out: string): void {
  const valid = schemas.getSchema(schemaOf(args));
  if (!valid) throw new Error(`there is no schema of what ${args[0]} prints`);
  if (!valid(JSON.parse(out)))
    throw new Error(
      `${args.join(" ")} prints what its schema does not allow: ${schemas.errorsText(valid.errors)}`,
    );
}

function execute(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Ran> {
  return new Promise((done) => {
    const options = { cwd: root, env: { ...process.env, NO_COLOR: "1", ...env }, maxBuffer: 2 ** 28 };
    execFile(process.execPath, [...args], options, (failure, out, err) => {
      const code = failure ? (typeof failure.code === "number" ? failure.code : -1) : 0;
      done({ code, out, err });
    });
  });
}
