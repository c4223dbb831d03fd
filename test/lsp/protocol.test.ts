// The language server over its protocol: each feature, on files that are right, wrong, broken and half typed.

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type {
  CompletionItem,
  DocumentSymbol,
  Hover,
  InlayHint,
  Location,
  TextEdit,
  WorkspaceEdit,
} from "vscode-languageserver";
import { Installed } from "../cli/support.ts";
import { applied, Client } from "./client.ts";

const installed = new Installed();
let client: Client;

const blocks = `// Two layers with an activation between.
block Feed(ratio: int = 2, act: gelu | relu = gelu) (x: f32[B, dim]) -> f32[B, dim] {
  weight scale: f32[dim]
  h = x * scale |> linear(out = dim * ratio) @up
  h = if act == gelu then gelu(h) else relu(h)
  return h |> linear(out = dim) @down
}
`;

const net = `import { Feed } from "./blocks"
import { Mlp as Small } from "std/layers"

const width = 8

model net(depth: int = 2) (x: f32[B, width]) -> (y: f32[B, 3]) {
  repeat depth as i @blocks { x = x |> Feed(ratio = 4) @feed }
  low, high = Ends(x)
  out = high - low |> linear(out = 3) @head
  return out |> Small(ratio = 1) @last
}

block Ends (x: f32[B, C]) -> (low: f32[B, C], high: f32[B, C]) {
  return low = x, high = x + 1
}

checkpoint theirs of net {
  rename "a" = "head.weight"
}
`;

beforeAll(async () => {
  await installed.build();
  client = new Client(installed.path("dist/cli.js"), installed.folder);
  client.write("blocks.model", blocks);
  client.write("net.model", net);
  await client.start();
  await client.open("net.model", net);
  await client.open("blocks.model", blocks);
});

beforeEach(async () => {
  for (const [name, text] of [
    ["net.model", net],
    ["blocks.model", blocks],
  ] as const)
    if (client.text(name) !== text) await client.change(name, [{ text }], text);
});

afterAll(async () => {
  expect(client.faults).toEqual([]);
  expect(await client.stop()).toBe(0);
  installed.remove();
});

const hover = async (marked: string, file = "net.model"): Promise<string> => {
  const found = await client.at<Hover | null>("hover", file, marked);
  return (found?.contents as { value: string } | undefined)?.value ?? "";
};

const labels = async (marked: string, file = "net.model"): Promise<readonly string[]> =>
  (await client.at<CompletionItem[]>("completion", file, marked)).map((c) => c.label);

describe("what it says it can do", () => {
  it("incremental changes and every feature", () => {
    expect(client.capabilities).toMatchObject({
      textDocumentSync: 2,
      hoverProvider: true,
      definitionProvider: true,
      renameProvider: { prepareProvider: true },
      documentFormattingProvider: true,
      documentSymbolProvider: true,
      inlayHintProvider: true,
    });
  });
});

describe("diagnostics", () => {
  it("come and go while one types, in the file and in those that import it", async () => {
    expect(await client.diagnostics("net.model")).toEqual([]);
    await client.edit("net.model", "linear(out = 3) @head", "linear(out = 4) @head");
    const [wrong] = await client.diagnostics("net.model");
    expect(wrong).toMatchObject({ source: "tokenloom", severity: 1 });
    expect(wrong!.message).toMatch(/3|4/);
    await client.edit("net.model", "linear(out = 4) @head", "linear(out = 3) @head");
    expect(await client.diagnostics("net.model")).toEqual([]);
    // The other file, unsaved: what it breaks is shown where it is imported or called.
    await client.edit("blocks.model", "(out = dim) @down", "(out = dim + 1) @down");
    await client.diagnostics("blocks.model");
    await client.edit("net.model", "const width = 8", "const width = 9");
    const there = await client.diagnostics("net.model");
    expect(there.length).toBeGreaterThan(0);
    expect(JSON.stringify(there)).toContain("blocks.model");
    await client.edit("blocks.model", "(out = dim + 1) @down", "(out = dim) @down");
    await client.edit("net.model", "const width = 9", "const width = 8");
    expect(await client.diagnostics("net.model")).toEqual([]);
  });

  it("carry the code, the help, and the other places", async () => {
    await client.edit("net.model", "Ends(x)\n", "Ens(x)\n");
    const [d] = await client.diagnostics("net.model");
    expect(d).toMatchObject({ code: "unknown-name", range: { start: { line: 7 } } });
    expect(d!.message).toContain("did you mean Ends");
    await client.edit("net.model", "Ens(x)\n", "Ends(x)\n");
    await client.edit("net.model", "const width = 8", "const width = 8\nconst width = 9");
    const [twice] = await client.diagnostics("net.model");
    expect(twice!.relatedInformation![0]!.location.range.start.line).toBe(3);
    await client.edit("net.model", "const width = 8\nconst width = 9", "const width = 8");
    expect(await client.diagnostics("net.model")).toEqual([]);
  });
});

describe("hover", () => {
  it("shows shape, parameters and FLOPs of a call, and what it calls", async () => {
    const feed = await hover("F|eed(ratio = 4)");
    expect(feed).toContain("block Feed(ratio: int = 2");
    expect(feed).toContain("Two layers with an activation between.");
    expect(feed).toContain("`f32[B, 8]`");
    expect(feed).toMatch(/1,\d{3} parameters in 10 tensors/);
    expect(feed).toMatch(/\d+\*B FLOP/);
    expect(feed).toContain("in 2 calls");
    const op = await hover("l|inear(out = 3)");
    expect(op).toContain("linear(");
    expect(op).toContain("27 parameters in 2 tensors");
  });

  it("shows what names are", async () => {
    expect(await hover("repeat dep|th")).toContain("(parameter) depth: int = 2");
    expect(await hover("repeat dep|th")).toContain("`2`");
    expect(await hover("= hi|gh - low")).toContain("f32[B,");
    expect(await hover("const wi|dth")).toContain("const width = 8");
    expect(await hover("S|mall(ratio")).toContain("block Mlp(");
    expect(await hover("wei|ght scale", "blocks.model")).toBe("");
  });
});

describe("definition and references", () => {
  const definition = (marked: string, file = "net.model") =>
    client.at<Location | null>("definition", file, marked);

  it("lead across imports and into the library", async () => {
    expect(await definition("F|eed(ratio = 4)")).toMatchObject({
      uri: client.uri("blocks.model"),
      range: { start: { line: 1, character: 6 } },
    });
    expect((await definition("S|mall(ratio"))!.uri).toMatch(/std\/layers\.model$/);
    expect((await definition('"std/la|yers"'))!.uri).toMatch(/std\/layers\.model$/);
    expect(await definition("Feed(rat|io = 4)")).toMatchObject({
      uri: client.uri("blocks.model"),
      range: { start: { line: 1, character: 11 } },
    });
    expect(await definition("E|nds(x)")).toMatchObject({ range: { start: { line: 12 } } });
    expect(await definition("repeat dep|th")).toMatchObject({ range: { start: { line: 5, character: 10 } } });
    expect(await definition("l|inear(out = 3)")).toBeNull();
  });

  it("find every place of a name", async () => {
    const context = { includeDeclaration: true };
    const found = await client.at<Location[]>("references", "blocks.model", "block Fe|ed", { context });
    expect(found.map((l) => [l.uri.replace(/^.*\//, ""), l.range.start.line]).sort()).toEqual([
      ["blocks.model", 1],
      ["net.model", 0],
      ["net.model", 6],
    ]);
  });
});

describe("rename", () => {
  const rename = (marked: string, newName: string, file = "net.model") =>
    client.at<WorkspaceEdit>("rename", file, marked, { newName });
  const after = (edit: WorkspaceEdit, file: string): string =>
    applied(client.text(file), edit.changes![client.uri(file)] ?? []);

  it("changes a block in every file that knows it, and a parameter where it is given", async () => {
    const block = await rename("F|eed(ratio = 4)", "FeedForward");
    expect(after(block, "net.model")).toBe(net.replaceAll("Feed", "FeedForward"));
    expect(after(block, "blocks.model")).toBe(blocks.replaceAll("Feed", "FeedForward"));
    const parameter = await rename("(rat|io: int", "factor", "blocks.model");
    expect(after(parameter, "net.model")).toContain("Feed(factor = 4)");
    expect(after(parameter, "net.model")).toContain("Small(ratio = 1)");
    expect(after(parameter, "blocks.model")).toBe(blocks.replaceAll("ratio", "factor"));
  });

  it("keeps names apart that are not the same one, and the keys of weights", async () => {
    const low = await rename("lo|w, high = Ends", "small");
    expect(after(low, "net.model")).toContain("small, high = Ends(x)");
    expect(after(low, "net.model")).toContain("high - small |>");
    expect(after(low, "net.model")).toContain("return low = x");
    const weight = await rename("weight sc|ale", "factor", "blocks.model");
    expect(after(weight, "blocks.model")).toContain("weight factor: f32[dim] @scale");
    const alias = await rename("S|mall(ratio", "Tiny");
    expect(after(alias, "net.model")).toContain("Mlp as Tiny");
    expect(Object.keys(alias.changes!)).toEqual([client.uri("net.model")]);
  });

  it.each([
    ["out = hi|gh", "low", "already"],
    ["out = hi|gh", "9th", "no name"],
    ["out = hi|gh", "return", "no name"],
    ["E|nds(x)", "linear", "op"],
    ["l|inear(out = 3)", "dense", "no name here"],
    ["Mlp| as", "Other", "standard library"],
  ])("says why not: %s to %s", async (marked, to, why) => {
    await expect(rename(marked, to)).rejects.toThrow(why);
  });
});

describe("completion", () => {
  it("offers what can be called behind a pipe, and the parameters of a call", async () => {
    await client.edit("net.model", "return out |> Small", "return out |> S");
    const called = await labels("return out |> ^S");
    expect(called).toEqual(expect.arrayContaining(["Feed", "Small", "Ends", "linear", "gelu"]));
    expect(called).not.toContain("width");
    await client.edit("net.model", "return out |> S", "return out |> Small");
    const parameters = await labels("Feed(|ratio = 4)");
    expect(parameters).toEqual(expect.arrayContaining(["ratio", "act", "depth", "width", "i"]));
    expect(parameters).not.toContain("scale");
    expect(await labels("linear(|out = 3)")).toEqual(expect.arrayContaining(["out", "bias", "weight"]));
  });

  it("offers words, paths, imported names and weights", async () => {
    await client.edit("net.model", "Feed(ratio = 4)", "Feed(act = )");
    expect(await labels("Feed(act = |)")).toEqual(["gelu", "relu"]);
    await client.edit("net.model", "Feed(act = )", "Feed(ratio = 4)");
    expect(await labels('from "./|blocks"')).toEqual(expect.arrayContaining(["std/layers", "./blocks"]));
    expect(await labels("import { |Feed }")).toEqual(["Feed"]);
    expect(await labels('rename "a" = "|head.weight"')).toEqual(
      expect.arrayContaining(["head.weight", "blocks.0.feed.up.weight", "blocks.1.feed.scale"]),
    );
    expect(await labels("checkpoint theirs of |net")).toEqual(["net"]);
  });

  it("goes on in a file that does not parse", async () => {
    await client.edit("net.model", "return out |> Small(ratio = 1) @last\n}", "return out |> Small(");
    expect((await client.diagnostics("net.model")).length).toBeGreaterThan(0);
    expect(await labels("|> Small(^")).toEqual(expect.arrayContaining(["ratio", "activation", "bias"]));
    await client.edit("net.model", "return out |> Small(", "return out |> Small(ratio = 1) @last\n}");
    expect(await client.diagnostics("net.model")).toEqual([]);
  });
});

describe("the document", () => {
  it("is formatted, unless it does not parse", async () => {
    expect(await client.request<TextEdit[]>("formatting", "net.model", { options: {} })).toEqual([]);
    await client.open("untidy.model", "model m(x:f32[B,4])->f32[B,4]{return x*2}\n");
    const edits = await client.request<TextEdit[]>("formatting", "untidy.model", { options: {} });
    const tidy = applied(client.text("untidy.model"), edits);
    expect(tidy).toContain("model m (x: f32[B, 4]) -> f32[B, 4] {\n  return x * 2\n}\n");
    await client.edit("untidy.model", "return x*2}", "return x*");
    expect(await client.request<TextEdit[]>("formatting", "untidy.model", { options: {} })).toEqual([]);
    await client.close("untidy.model");
  });

  it("has an outline, with the size of a model", async () => {
    const symbols = await client.request<DocumentSymbol[]>("documentSymbol", "net.model");
    expect(symbols.map((s) => s.name)).toEqual(["width", "net", "Ends", "theirs"]);
    expect(symbols[1]!.detail).toMatch(/^[\d,]+ parameters$/);
    expect(symbols[1]!.children!.map((s) => `${s.name} ${s.detail}`)).toEqual([
      "depth int = 2",
      "x f32[B, width]",
    ]);
  });

  it("has the shape of every assigned name beside it", async () => {
    const range = { start: { line: 0, character: 0 }, end: { line: 100, character: 0 } };
    const hints = await client.request<InlayHint[]>("inlayHint", "net.model", { range });
    expect(hints.map((h) => [h.position.line, h.label])).toEqual([
      [6, ": f32[B, 8]"],
      [7, ": f32[B, C=8]"],
      [7, ": f32[B, C=8]"],
      [8, ": f32[B, C=3]"],
    ]);
    const few = { start: { line: 8, character: 0 }, end: { line: 9, character: 0 } };
    expect(await client.request<InlayHint[]>("inlayHint", "net.model", { range: few })).toHaveLength(1);
  });
});

describe("whatever the text is", () => {
  const requests = ["hover", "definition", "completion", "prepareRename"];

  it("every request is answered, on every wrong model and on files cut anywhere", async () => {
    const folder = "test/errors";
    const wrong = readdirSync(folder).filter((f) => f.endsWith(".model"));
    const texts = wrong.filter((_, i) => i % 6 === 0).map((f) => readFileSync(join(folder, f), "utf8"));
    for (let cut = 0; cut < net.length; cut += 97) texts.push(net.slice(0, cut));
    texts.push(
      "",
      "\u0000\u0001",
      "((((((((",
      '"',
      "model m (x: f32[B]) -> f32[B] { return x |> ",
      "é🙂 model",
    );
    await client.open("any.model", "");
    for (const text of texts) {
      await client.change("any.model", [{ text }], text);
      const lines = text.split("\n");
      for (const line of [0, Math.floor(lines.length / 2), lines.length + 5])
        for (const method of requests)
          await client
            .request(method, "any.model", {
              position: { line, character: Math.floor((lines[line]?.length ?? 9) / 2) },
            })
            .catch((e: unknown) => expect(String(e)).toMatch(/no name here|standard library/));
      await client.request("documentSymbol", "any.model");
      await client.request("formatting", "any.model", { options: {} });
      await client.request("inlayHint", "any.model", {
        range: { start: { line: 0, character: 0 }, end: { line: 9999, character: 0 } },
      });
    }
    expect(client.alive).toBe(true);
    expect(client.faults).toEqual([]);
    await client.diagnostics("any.model");
    await client.close("any.model");
  });

  it("typing a file letter by letter leaves the server with that file", async () => {
    await client.open("typed.model", "");
    const text = "model m (x: f32[B, 4]) -> f32[B, 4] {\n  return x |> relu()\n}\n";
    let so_far = "";
    for (const character of text) {
      const lines = so_far.split("\n");
      const place = { line: lines.length - 1, character: lines.at(-1)!.length };
      so_far += character;
      await client.change("typed.model", [{ range: { start: place, end: place }, text: character }], so_far);
    }
    expect(await client.diagnostics("typed.model")).toEqual([]);
    expect(await hover("re|lu()", "typed.model")).toContain("f32[B, 4]");
    await client.close("typed.model");
  });
});
