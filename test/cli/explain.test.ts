// `explain` and `annotate` as a reader meets them: the page as a file, every answer as text and as JSON of the published schema, and
// what is asked for wrongly.

import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { Ajv } from "ajv";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writePage } from "../../tools/build-page.ts";
import { Installed } from "./support.ts";

const installed = new Installed();
const tiny = ["examples/poolformer.model", "--config", "tiny", "--dim", "B=2", "H=64", "W=64"];
const ask = (...more: readonly string[]) => installed.run(["explain", ...tiny, ...more]);

beforeAll(async () => {
  await installed.build();
  await writePage(installed.path("dist"));
});
afterAll(() => installed.remove());

describe("explain", () => {
  it("writes one page that holds the document and asks for nothing from outside", async () => {
    const path = installed.path("tiny.html");
    const { code, out } = await ask("-o", path);
    expect(code).toBe(0);
    expect(out).toContain(path);
    const page = readFileSync(path, "utf8");
    expect(page).toContain("<title>poolformer</title>");
    expect(page).not.toMatch(/(?:src|href)="(?!data:)/);
    const document = /id="document">\s*([A-Za-z0-9+/=]+)\s*<\/script>/.exec(page)![1]!;
    const doc = JSON.parse(gunzipSync(Buffer.from(document, "base64")).toString()) as { format: string; rules: { code?: string }[] }; // prettier-ignore
    expect(doc.format).toBe("tokenloom-explain");
    // Every rule is found in the compiler's source.
    expect(doc.rules.filter((r) => r.code === undefined)).toEqual([]);
  });

  const answers: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ["a line", ["--line", "31"], ["MetaFormerStage", "mixer-of-norm x5  pool(n) - n =", "and 4 more like it", "dispatch 1"]],
    ["a kernel", ["--kernel", "1"], ["schedule", "because", "workgroups", "FLOP a byte", "at best", "@compute", "kernel @"]],
    ["a node", ["--node", "%3"], ["as the model says it", "pool-mixer  changed", "mixer-of-norm", "in the end", "dispatch"]],
    ["a weight", ["--weight", "stem.conv.weight"], ["stored as", "dispatch 0"]],
    ["why not", ["--why-not", "form-groups"], ["its result is written to memory, because", "src/passes/form-groups.ts", "%"]],
  ]; // prettier-ignore
  it.each(answers)("%s", async (_, args, words) => {
    const { code, out, err } = await ask(...args);
    expect(err).toBe("");
    expect(code).toBe(0);
    for (const w of words) expect(out).toContain(w);
    expect(out).not.toContain("\u001b[");
  });

  const ajv = new Ajv({ strict: false });
  const valid = ajv.compile(JSON.parse(readFileSync("docs/explain.schema.json", "utf8")) as object);

  it("gives the same as JSON of the schema", async () => {
    const { out } = await ask("--node", "3", "--json");
    expect(JSON.parse(out)).toMatchObject({ format: "tokenloom-explain-node", id: "%3" });
    expect(valid(JSON.parse(out)), ajv.errorsText(valid.errors?.slice(-3))).toBe(true);
  });

  it("annotates the file with what each line costs", async () => {
    const { out } = await installed.run(["annotate", ...tiny]);
    expect(out).toContain("2×8×16×16");
    expect(out).toContain("@stem.conv");
    expect(out).toMatch(/peak .* at dispatch \d+/);
  });

  it.each([
    ["line-spec", ["--line", "999"], "write a number from 1 to"],
    ["unknown-source", ["--line", "nope.model:3"], "there are"],
    ["unknown-kernel", ["--kernel", "conv2d_gel"], "did you mean conv2d_gelu?"],
    ["unknown-node", ["--node", "%99999"], "there is no node %99999"],
    ["unknown-weight", ["--weight", "stem.conv.weigth"], "did you mean stem.conv.weight?"],
    ["unknown-rule", ["--why-not", "form-group"], "did you mean form-groups?"],
  ] as const)("refuses with %s", async (error, args, words) => {
    const { code, err, out } = await ask(...args);
    expect([code, out]).toEqual([1, ""]);
    expect(err).toContain(`error[${error}]`);
    expect(err).toContain(words);
  });
});
