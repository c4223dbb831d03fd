// Every example as the tests run it: all models of all files in examples/, in their configuration `tiny`. A new file is found by itself;
// it has a line here only where the usual sizes do not suit it, or where other settings make another network worth a test.

import { readdirSync, readFileSync } from "node:fs";
import { compile, elaborateFile, type Compiled, type CompileOptions, type Front } from "../../src/index.ts";
import { resolveStd } from "./support.ts";

type Sizes = Readonly<Record<string, number>>;

interface Variant {
  readonly set?: Readonly<Record<string, string>>;
  /** Sizes of symbols, on top of the usual ones; each is a run. */
  readonly sizes?: readonly Sizes[];
}

/** What a symbol of that name is where nothing else is said. Small, and all different. */
const usual: Sizes = { B: 2, C: 6, D: 5, F: 4, H: 9, L: 7, N: 6, S: 3, T: 7, W: 8, n: 4 };

const variants: Readonly<Record<string, readonly Variant[]>> = {
  // As published for sentences, and every mode at once.
  bert: [{}, { set: { mean_sqrt_len: "true", weightedmean: "true", lasttoken: "true" } }],
  mistral_embed: [{}, { set: { causal: "false", head: "mean" } }],
  caformer: [{ sizes: [{ B: 2, H: 40, W: 33 }] }],
  convformer: [{ sizes: [{ B: 1, H: 40, W: 48 }] }],
  mesh: [{ sizes: [{ n: 6, m: 7, q: 9, k: 4, r: 5 }] }],
  graphs: [{ sizes: [{ n: 6, e: 9 }] }],
  digits_poolformer: [{ sizes: [{ B: 1 }, { B: 3 }] }],
  poolformer: [
    { set: { head: "timm", taps: "true" }, sizes: [{ B: 2, H: 32, W: 64 }] },
    { set: { head: "original" }, sizes: [{ B: 1, H: 64, W: 50 }] },
  ],
  describe: [{ sizes: [{ B: 1, H: 36, W: 45 }] }],
  ppllava_siglip: [{ set: { valuew_plus: "true" } }, {}],
  spp_regions: [{ sizes: [{ B: 1, H: 64, W: 81, R: 3 }] }],
  spp_net: [{ sizes: [{ B: 2, H: 45, W: 60 }] }],
};

export interface ExampleCase {
  /** `poolformer timm true`. */
  readonly name: string;
  readonly path: string;
  /** The name of the model in its file. */
  readonly model: string;
  /** Configurations that have its name, `tiny` among them. */
  readonly configs: readonly string[];
  readonly set: Readonly<Record<string, string>>;
  readonly sizes: readonly Sizes[];
}

const source = (path: string) => ({ name: path, text: readFileSync(path, "utf8") });

export const exampleCases: readonly ExampleCase[] = readdirSync("examples")
  .filter((f) => f.endsWith(".model"))
  .flatMap((f): ExampleCase[] => {
    const path = `examples/${f}`;
    const file = f.slice(0, -".model".length);
    const { models } = elaborateFile(source(path), { resolve: resolveStd, models: [] });
    const own = models.filter((m) => m.location.file === path);
    return own.flatMap(({ name: model, configs }) =>
      (variants[model] ?? [{}]).map(({ set = {}, sizes = [{}] }) => ({
        name: [...(own.length > 1 ? [file] : []), model, ...Object.values(set)].join(" "),
        path,
        model,
        configs: configs.map((c) => c.name),
        set,
        sizes: sizes.map((s) => ({ ...usual, ...s })),
      })),
    );
  });

const optionsOf = (c: ExampleCase, options: CompileOptions): CompileOptions => ({
  resolve: resolveStd,
  model: c.model,
  set: c.set,
  ...options,
});

/** As the file says it, in the configuration given or `tiny`. */
export const elaborateCase = (c: ExampleCase, options: CompileOptions = { config: "tiny" }): Front =>
  elaborateFile(source(c.path), optionsOf(c, options));

export const compileCase = (c: ExampleCase, options: CompileOptions = {}): Compiled =>
  compile(source(c.path), optionsOf(c, { config: "tiny", ...options }));
