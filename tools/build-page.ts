// The last step of npm run build: what the command line reads beside its own code. dist/explain/page.html is the page without a
// document, everything in one file; dist/explain/code.json says where each pass and rule is in the compiler's source.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { build, transform } from "esbuild";

/** The licence of what is bundled asks to go where the code goes: into every page. */
const licence = readFileSync("node_modules/@dagrejs/dagre/dist/dagre.esm.js.LEGAL.txt", "utf8");

async function bundle(entry: string, define: Readonly<Record<string, string>> = {}): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    format: "iife",
    target: "es2022",
    define,
    legalComments: "none",
  });
  // A script element ends at the first of these, wherever it stands.
  return outputFiles[0]!.text.replaceAll("</script", "<\\/script");
}

export async function pageTemplate(): Promise<string> {
  const worker = await bundle("src/page/layout-worker.ts");
  const script = await bundle("src/page/main.ts", { LAYOUT_WORKER: JSON.stringify(worker) });
  const css = readFileSync("src/page/style.css", "utf8");
  const style = await transform(css, { loader: "css", minify: true });
  return readFileSync("src/page/index.html", "utf8")
    .replace("%TOKENLOOM_STYLE%", () => style.code)
    .replace("%TOKENLOOM_SCRIPT%", () => licence + script);
}

/** `src/passes/pool-mixer.ts:12` by the name of each pass and rule: their records say their names. */
export function codePlaces(): Readonly<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const file of readdirSync("src/passes", { recursive: true, encoding: "utf8" }).sort())
    if (file.endsWith(".ts"))
      readFileSync(`src/passes/${file}`, "utf8")
        .split("\n")
        .forEach((line, i) => {
          const name = /^\s*name: "([a-z0-9-]+)",$/.exec(line)?.[1];
          if (name !== undefined) found[name] ??= `src/passes/${file}:${i + 1}`;
        });
  return found;
}

/** Writes both into the folder where the command line looks for them. */
export async function writePage(dist: string): Promise<void> {
  mkdirSync(`${dist}/explain`, { recursive: true });
  writeFileSync(`${dist}/explain/page.html`, await pageTemplate());
  writeFileSync(`${dist}/explain/code.json`, `${JSON.stringify(codePlaces(), null, 2)}\n`);
}

if (process.argv[1]?.endsWith("build-page.ts")) await writePage("dist");
