// What is made from something else is fresh, what documents say exists does: generated pages, codes of errors, links, commands.

import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { addCommands } from "../src/cli/commands.ts";
import { pipeline } from "../src/passes/pipeline.ts";
import { checkOrder } from "../src/passes/run.ts";
import { layers } from "../tools/docs-errors.ts";
import { generated } from "../tools/update.ts";

describe("generated documents are fresh (npm run update)", () => {
  it.each(Object.keys(generated))("%s", (path) => {
    // Not toBe: the difference of two long pages takes long to show, and `npm run update` makes it anyway.
    expect(readFileSync(path, "utf8") === generated[path]!(), `${path} is stale: npm run update`).toBe(true);
  });
});

it("every need of a pass is given by one before it", () => checkOrder(pipeline));

describe("codes of errors", () => {
  const sources = filesUnder("src", ".ts").filter((f) => !f.endsWith("/codes.ts"));
  const texts = sources.map((f) => readFileSync(f, "utf8"));
  const documented = new Set(layers.flatMap((l) => Object.keys(l.codes)));

  it("each one in the sources has a paragraph", () => {
    const used = new Map<string, string>();
    sources.forEach((file, i) => codesIn(file, texts[i]!).forEach((code) => used.set(code, file)));
    const bare = [...used].filter(([code]) => !documented.has(code));
    expect(bare).toEqual([]);
    // The search still finds them: a new way to report an error would go unnoticed otherwise.
    expect(used.size).toBeGreaterThan(140);
  });

  it("each paragraph is of a code that its layer reports", () => {
    const everything = texts.join("\n");
    const idle = [...documented].filter((code) => !everything.includes(`"${code}"`));
    expect(idle).toEqual([]);
  });

  it("no two are the same words", () => {
    // `missing-inputs` beside `input-missing` would leave people to guess which means what.
    const words = (code: string): string =>
      [...code.matchAll(/[a-z]+/g)]
        .map(([w]) => w.replace(/s$/, ""))
        .sort()
        .join(" ");
    const alike = [...documented].filter((a) =>
      [...documented].some((b) => a !== b && words(a) === words(b)),
    );
    expect(alike).toEqual([]);
  });

  it("each paragraph is a sentence or more", () => {
    for (const { codes } of layers)
      for (const [code, text] of Object.entries(codes)) expect(text, code).toMatch(/^[A-Z`].{12,}[.?]$/s);
  });
});

/** Codes as they are written where an error is made. */
function codesIn(file: string, text: string): string[] {
  const found: string[] = [];
  const take = (pattern: RegExp): void => {
    for (const m of text.matchAll(pattern))
      for (const code of m[1]!.matchAll(/"([^"]+)"/g)) found.push(code[1]!);
  };
  const name = String.raw`"[a-z][a-z0-9]*(?:[-.][a-z0-9]+)*"`;
  take(new RegExp(String.raw`\b(?:error|warning|fault|wrong)\(\s*(${name}),`, "g"));
  take(new RegExp(String.raw`\bcode: (${name}(?: \| ${name})*)`, "g"));
  take(new RegExp(String.raw`\bcode = [^";]*\? (${name}\s*: ${name})`, "g"));
  if (/^src\/ir\/(?:parse|kernel)/.test(file))
    take(new RegExp(String.raw`\.(?:report|fail|stop|giveUp|add)\(\s*("(?:ir|kernel)-[a-z-]+")`, "g"));
  return found;
}

describe("documents", () => {
  const pages = [
    ...readdirSync(".").filter((f) => f.endsWith(".md")),
    ...filesUnder("docs", ".md"),
    ...["examples/data/README.md", "bench/README.md"].filter((f) => existsSync(f)),
  ];

  it.each(pages)("%s: every link leads somewhere", (page) => {
    const text = readFileSync(page, "utf8");
    const broken = [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = ""]) => {
      if (/^[a-z]+:/.test(target)) return [];
      const [path = "", anchor] = target.split("#");
      const file = path === "" ? page : join(dirname(page), path);
      if (!existsSync(file)) return [target];
      if (anchor === undefined || !file.endsWith(".md")) return [];
      return anchorsOf(readFileSync(file, "utf8")).has(anchor) ? [] : [target];
    });
    expect(broken).toEqual([]);
  });

  it.each(pages)("%s: every command exists, with its flags", async (page) => {
    const program = await commandLine();
    const wrong = commandsIn(readFileSync(page, "utf8")).flatMap((line) => {
      const problem = problemOf(program, line);
      return problem === undefined ? [] : [`${line}: ${problem}`];
    });
    expect(wrong).toEqual([]);
  });

  it("the search for commands finds them", async () => {
    const program = await commandLine();
    expect(commandsIn("```sh\n$ tokenloom check a.model --stats\n```\n")).toEqual(["check a.model --stats"]);
    expect(commandsIn("    tokenloom ir \\\n      x --diff\n")).toEqual(["ir x --diff"]);
    expect(commandsIn("`tokenloom bench\nx --kernels`, `tokenloom/runtime`")).toEqual(["bench x --kernels"]);
    expect(problemOf(program, "check a --nope")).toBe("no flag --nope");
    expect(problemOf(program, "chekc a")).toBe("no command chekc");
    expect(problemOf(program, "check a --stats --dim B=1")).toBeUndefined();
  });
});

function filesUnder(folder: string, ending: string): string[] {
  return readdirSync(folder)
    .map((name) => join(folder, name))
    .flatMap((f) => (statSync(f).isDirectory() ? filesUnder(f, ending) : f.endsWith(ending) ? [f] : []))
    .sort();
}

function withoutCode(text: string): string {
  return text.replace(/^```[\s\S]*?^```/gm, "").replace(/`[^`\n]+`/g, "`");
}

/** As forges make them of headings. */
function anchorsOf(text: string): ReadonlySet<string> {
  const headings = text.replace(/^```[\s\S]*?^```/gm, "").matchAll(/^#+ (.*)$/gm);
  return new Set(
    [...headings].map(([, h = ""]) =>
      h
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

/** What follows `tokenloom` in code blocks, fenced or indented, and in code within sentences. */
function commandsIn(text: string): string[] {
  const out: string[] = [];
  const joined = text.replace(/\\\n\s*/g, "");
  for (const m of joined.matchAll(/^ *(?:\$ )?(?:npx )?(?:tokenloom|node dist\/cli\.js) ([a-z].*)$/gm))
    if (/^ {4}/.test(m[0]) || inFence(joined, m.index)) out.push(m[1]!);
  for (const m of joined.replace(/^```[\s\S]*?^```/gm, "").matchAll(/`tokenloom ([a-z][^`]*)`/g))
    out.push(m[1]!.replace(/\s+/g, " "));
  return out;
}

function inFence(text: string, at: number): boolean {
  return (text.slice(0, at).match(/^```/gm) ?? []).length % 2 === 1;
}

function problemOf(program: Command, line: string): string | undefined {
  const [name = "", ...words] = line.replace(/ +[#|>].*$/, "").split(/\s+/);
  const command = program.commands.find((c) => c.name() === name);
  if (!command) return `no command ${name}`;
  const sub = command.commands.find((c) => c.name() === words[0]) ?? command;
  if (command.commands.length > 0 && words[0]?.startsWith("-") === false && sub === command)
    return `no command ${name} ${words[0]}`;
  for (const word of words) {
    const flag = word.split("=")[0]!;
    if (!/^--?[a-z]/.test(flag) || flag === "--help") continue;
    if (!sub.options.some((o) => o.long === flag || o.short === flag)) return `no flag ${flag}`;
  }
  return undefined;
}

async function commandLine(): Promise<Command> {
  const program = new Command("tokenloom");
  await addCommands(program);
  return program;
}
