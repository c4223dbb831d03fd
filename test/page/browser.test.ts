// The page in headless Chromium, from a file URL: it loads without an error and without the network, and every way to ask it something
// gives the answer.

import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EntryDoc, ExplainDocument } from "../../src/explain/document.ts";
import { explainedFile, explainedText, firstToken, poolformer } from "../explain/support.ts";
import { Bench, drawn, missing, rectOf, redrawn } from "./chromium.ts";
import { syntheticDocument } from "./support.ts";

const code = { "pool-mixer": "src/passes/pool-mixer.ts:51", "mixer-of-norm": "src/passes/pool-mixer.ts:12" };
const { doc } = explainedFile(poolformer, { config: "tiny" }, { dims: { B: 2, H: 64, W: 64 }, code });
const entry = doc.entries[0]!;
const stepOf = (pass: string): number => doc.passes.findIndex((p) => p.name === pass) + 1;
const mixer = stepOf("pool-mixer");
const last = entry.steps.length;

/** The same with a profile: later dispatches take longer. */
const profiled: ExplainDocument = {
  ...doc,
  entries: [
    {
      ...entry,
      profile: { adapter: "an adapter", method: "timestamps", nanoseconds: entry.dispatches.map((_, i) => 1e5 * (i + 1)) }, // prettier-ignore
    } satisfies EntryDoc,
  ],
};

// Once more where it fails: a browser that shares its cores with other tests may draw after it was asked.
describe.skipIf(missing !== "")(`the page in Chromium${missing}`, { retry: 1 }, () => {
  const bench = new Bench();
  let url = "";
  let page: Page;
  let faults: string[];
  const text = (selector: string): Promise<string> => page.locator(selector).innerText();
  const hash = (): Promise<string> => page.evaluate<string>("location.hash");
  const lit = (): Promise<string[]> => page.locator("#source-lines .lit .number").allInnerTexts();

  beforeAll(async () => {
    await bench.start();
    url = bench.write("tiny", doc);
    ({ page, faults } = await bench.open(url));
    await drawn(page, 0);
  });
  afterAll(() => bench.stop());

  async function fresh(link: string, to: string = url): Promise<void> {
    await page.goto("about:blank");
    await page.goto(`${to}${link}`);
    await page.waitForSelector("html[data-ready]");
  }

  it("fits into 1280 x 800 without a scroll bar of its own", async () => {
    const over = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"); // prettier-ignore
    expect(over).toEqual([1280, 800]);
    expect(await text("#model-name")).toBe("poolformer");
    expect(await text("#inspector-title")).toBe("Overview");
  });

  it("a line: its nodes, kernels, weights, shape, work; the link to it", async () => {
    const line = doc.sources[0]!.text.split("\n").findIndex((l) => l.includes("@stem.conv")) + 1;
    await page.locator(`.src[data-line="${line}"]`).click();
    expect(await hash()).toBe(`#line=${line}`);
    expect(await lit()).toEqual([String(line)]);
    const said = await text("#inspector");
    for (const part of ["2×8×16×16", "%0 conv2d", "stem.conv.weight", "FLOP", "tokens", "conv2d"])
      expect(said).toContain(part);
    await page.keyboard.press("Escape");
    expect(await lit()).toEqual([]);
    expect(await hash()).toBe("");
  });

  it("hovering a line lights up, and stops", async () => {
    await page.locator(".src.live").first().hover();
    expect(await page.locator(".src.hovered").count()).toBe(1);
    await page.locator("#model-name").hover();
    expect(await page.locator(".src.hovered").count()).toBe(0);
  });

  it("up and down go from line to line in the source", async () => {
    await page.locator("#source-lines").focus();
    await page.keyboard.press("ArrowDown");
    const first = await hash();
    await page.keyboard.press("ArrowDown");
    expect(await hash()).not.toBe(first);
    await page.keyboard.press("ArrowUp");
    expect(await hash()).toBe(first);
    await page.keyboard.press("Escape");
  });

  it("walks with keys, with buttons, with the slider", async () => {
    await page.keyboard.press("ArrowRight");
    await drawn(page, 1);
    expect(await text("#step-label")).toContain(doc.passes[0]!.name);
    await page.locator("#next").click();
    await drawn(page, 2);
    await page.locator("#step").fill(String(mixer));
    await drawn(page, mixer);
    expect(await hash()).toBe("#pass=pool-mixer");
    expect(await text("#step-label")).toContain("pool-mixer");
    await page.keyboard.press("End");
    await drawn(page, last);
    await page.keyboard.press("Home");
    await drawn(page, 0);
    expect(await page.locator("#previous").isDisabled()).toBe(true);
    await page.locator(".tick").nth(mixer).click();
    await drawn(page, mixer);
  });

  it("opens and closes blocks, and selects what is clicked", async () => {
    await redrawn(page, () => page.locator("#close-all").click());
    const stage = await rectOf(page, "scope:stages.0");
    await redrawn(page, () => page.mouse.dblclick(stage.x + stage.w / 2, stage.y + stage.h / 2));
    const block = await rectOf(page, "scope:stages.0.blocks.0");
    await page.mouse.click(block.x + block.w - 20, block.y + block.h / 2);
    expect(await text("#inspector-title")).toBe("stages.0.blocks.0");
    expect(await hash()).toContain("scope=stages.0.blocks.0");
    await redrawn(page, () => page.keyboard.press("Enter"));
    await rectOf(page, "scope:stages.0.blocks.0.token_mixer");
    await redrawn(page, () => page.locator("#open-all").click());
    await page.keyboard.press("f");
    const shown = await text("#graph-status");
    expect(shown).toMatch(/^(\d+)\/\1$/);
    await redrawn(page, () => page.locator("#show-prepared").check());
    expect(await text("#graph-status")).not.toBe(shown);
    await redrawn(page, () => page.locator("#show-prepared").uncheck());
    await redrawn(page, () => page.locator("#show-removed").uncheck());
    await expect(rectOf(page, "%1")).rejects.toThrow("shows no %1");
    await redrawn(page, () => page.locator("#show-removed").check());
    await rectOf(page, "%1");
  });

  it("zooms and moves", async () => {
    const before = await rectOf(page, "%0");
    await page.keyboard.press("+");
    const larger = await rectOf(page, "%0");
    expect(larger.w).toBeGreaterThan(before.w);
    const canvas = (await page.locator("#graph").boundingBox())!;
    await page.mouse.move(canvas.x + 40, canvas.y + 300);
    await page.mouse.down();
    await page.mouse.move(canvas.x + 90, canvas.y + 320, { steps: 4 });
    await page.mouse.up();
    const moved = await rectOf(page, "%0");
    expect([moved.x - larger.x, moved.y - larger.y].map(Math.round)).toEqual([50, 20]);
    await page.mouse.wheel(0, 100);
    expect(Math.round((await rectOf(page, "%0")).y - moved.y)).toBe(-100);
    await page.keyboard.press("f");
  });

  it("a node: what became of it, by which pass, rule and equation", async () => {
    await fresh("#pass=pool-mixer&node=%253");
    await drawn(page, mixer);
    await rectOf(page, "%3");
    for (const part of [
      "As the model says it",
      "sub %2, %1",
      "mixer-of-norm",
      "pool(n) - n =",
      "token_mixer",
    ])
      await expect.poll(() => text("#inspector")).toContain(part);
    await page.locator("#inspector .history .link", { hasText: "mixer-of-norm" }).click();
    await expect.poll(hash).toContain("rule=mixer-of-norm");
    await expect.poll(() => text("#inspector")).toMatch(/src\/passes\/pool-mixer\.ts:\d+/);
  });

  it("goes from change to change with n and p", async () => {
    await page.keyboard.press("Escape");
    await page.keyboard.press("n");
    const first = await hash();
    expect(first).toContain("node=");
    await page.keyboard.press("n");
    expect(await hash()).not.toBe(first);
    await page.keyboard.press("p");
    expect(await hash()).toBe(first);
  });

  it("the changes of a pass: promise, cost, rules with equations and place, the difference", async () => {
    await page.keyboard.press("2");
    const said = await text("#changes");
    for (const part of [
      "reassociates",
      "src/passes/pool-mixer.ts:51",
      "mixer-of-norm",
      "pool(n) - n =",
      "FLOPs",
    ])
      expect(said).toContain(part);
    const step = entry.steps[mixer - 1]!;
    expect(await page.locator("#changes .diffs .minus").count()).toBeGreaterThanOrEqual(step.removed.length);
    await page.locator("#changes summary", { hasText: "what it did" }).click();
    expect(await page.locator("#changes .firing").count()).toBeGreaterThan(0);
    await page.locator("#changes .diffs .jump", { hasText: "%163" }).or(page.locator("#changes .diffs .jump")).first().click(); // prettier-ignore
    expect(await hash()).toContain("node=");
  });

  it("what was refused, with the condition and the line", async () => {
    await page.keyboard.press("End");
    const said = await text("#changes");
    expect(said).toContain("its result is written to memory, because");
    expect(await page.locator("#changes .refusal .chip").first().innerText()).toMatch(/\.model:\d+/);
    await page.locator("#changes .refusal .chip").first().click();
    expect(await hash()).toContain("line=");
  });

  it("fused groups are boxes with what they hold", async () => {
    await page.keyboard.press("1");
    await drawn(page, last);
    const group = entry.dispatches[0]!.nodes[0]!;
    await fresh(`#pass=form-groups&node=${encodeURIComponent(group)}`);
    await drawn(page, last);
    const closed = await rectOf(page, group);
    await redrawn(page, () => page.mouse.click(closed.x + 8, closed.y + 10));
    expect((await rectOf(page, group)).h).toBeGreaterThan(closed.h);
    expect(await text("#inspector")).toContain("Fused here");
  });

  it("a kernel: its code in both languages, schedule, workgroups, bindings, lines", async () => {
    await fresh("#tab=kernels&kernel=1");
    const k = doc.kernels[1]!;
    const said = await text("#kernel-detail");
    for (const part of [k.name, "@compute", "workgroups", "invocations", "FLOP a byte", ".model:"])
      expect(said).toContain(part);
    expect(said).toContain(entry.dispatches.find((d) => d.kernel === 1)!.schedule);
    expect(await page.locator("#kernel-detail .t-word").count()).toBeGreaterThan(10);
    await page.locator(".pick", { hasText: "kernel IR" }).click();
    expect(await text("#kernel-detail .listing")).toContain(`kernel @${k.name}`);
    await page.locator("#kernel-detail summary", { hasText: "Bindings" }).click();
    expect(await text("#kernel-detail")).toMatch(/uniform|read/);
    expect((await lit()).length).toBeGreaterThan(0);
    await page.locator("#kernel-table tbody tr").nth(3).click();
    expect(await hash()).toContain("kernel=");
    expect(await page.locator("#kernel-table tbody tr").count()).toBe(doc.kernels.length);
    await page.locator("#kernel-table th", { hasText: "bytes" }).locator("button").click();
    expect(await page.locator('th[aria-sort="descending"]').innerText()).toContain("bytes");
  });

  it("with a profile: times, shares, the distance from the ceiling, the roofline", async () => {
    const timed = bench.write("profiled", profiled);
    await fresh("#tab=kernels", timed);
    expect(await text("#kernel-table thead")).toContain("ceiling");
    expect(await text("#kernel-detail")).toContain("figures allow");
    expect(await text("#source-metric")).toContain("time");
    const circle = (await page.locator("#roofline").boundingBox())!;
    let found = "";
    for (let y = 20; y < circle.height - 30 && found === ""; y += 6)
      for (let x = 60; x < circle.width - 14 && found === ""; x += 6) {
        await page.mouse.move(circle.x + x, circle.y + y);
        found = await page.evaluate<string>("document.getElementById('roofline').title");
        if (found !== "") await page.mouse.click(circle.x + x, circle.y + y);
      }
    expect(found).toContain("of the ceiling");
    expect(await hash()).toContain("dispatch=");
    await page.keyboard.press("4");
    expect(await text("#timeline-note")).toContain("an adapter");
  });

  it("one run: the timeline, the memory plan and its peak", async () => {
    await fresh("#tab=run");
    expect(await text("#timeline-note")).toContain(`${entry.dispatches.length} dispatches`);
    expect(await text("#memory-note")).toContain(`at dispatch ${entry.memory.peakAt}`);
    const box = (await page.locator("#timeline").boundingBox())!;
    await page.mouse.click(box.x + 70, box.y + box.height / 2);
    expect(await text("#inspector-title")).toBe("dispatch 0");
    expect(await text("#inspector")).toContain("Buffers");
    const memory = (await page.locator("#memory").boundingBox())!;
    const largest = [...entry.memory.lifetimes].sort((a, b) => b.bytes - a.bytes)[0]!;
    const at = (n: number, of: number, size: number): number => (n / of) * size;
    const x = 66 + at((largest.first + largest.last + 1) / 2, entry.dispatches.length, memory.width - 80);
    const y = memory.height - 22 - at(largest.offset + largest.bytes / 2, entry.memory.arenaBytes, memory.height - 44); // prettier-ignore
    await page.mouse.click(memory.x + x, memory.y + y);
    expect(await hash()).toContain(`node=${encodeURIComponent(largest.id)}`);
    await page.locator("#run-axis").selectOption("time");
    expect(faults).toEqual([]);
  });

  it("searches lines, nodes, kernels, weights, scopes, passes and rules", async () => {
    await fresh("");
    await page.keyboard.press("/");
    for (const [word, kind] of [
      ["pool-mixer", "pass"],
      ["mixer-of-norm", "rule"],
      ["conv2d", "kernel"],
      ["%13", "node"],
      ["stem.conv.bias", "weight"],
      ["token_mixer", "scope"],
      ["enumerate", "line"],
    ] as const) {
      await page.locator("#search").fill(word);
      expect(await page.locator(".hit-kind").allInnerTexts(), word).toContain(kind);
    }
    await page.locator("#search").fill("stem.conv.bias");
    await page.keyboard.press("Enter");
    expect(await text("#inspector-title")).toBe("stem.conv.bias");
    expect(await text("#inspector")).toContain("Stored as");
    await page.keyboard.press("/");
    await page.locator("#search").fill("no such name");
    expect(await text("#search-hits")).toContain("nothing has that name");
    await page.keyboard.press("Escape");
  });

  it("goes back with the browser", async () => {
    await fresh("#kernel=0");
    await page.locator("#inspector .chip").first().click();
    expect(await text("#inspector-title")).toContain(".model:");
    await page.goBack();
    expect(await text("#inspector-title")).toBe("kernel 0");
  });

  it("is light and dark, and keeps the choice", async () => {
    const theme = (): Promise<string> => page.evaluate<string>("document.documentElement.dataset.theme");
    const was = await theme();
    await page.keyboard.press("t");
    expect(await theme()).not.toBe(was);
    await page.reload();
    await page.waitForSelector("html[data-ready]");
    expect(await theme()).not.toBe(was);
    await page.locator("#theme").click();
    expect(await theme()).toBe(was);
  });

  it("says its keys, and moves its panes", async () => {
    await page.keyboard.press("?");
    expect(await text("#help")).toContain("walk from pass to pass");
    await page.locator("#help-close").click();
    const width = async (): Promise<number> => (await page.locator("#source").boundingBox())!.width;
    const before = await width();
    const bar = (await page.locator('.splitter[data-pane="source"]').boundingBox())!;
    await page.mouse.move(bar.x + 2, bar.y + 200);
    await page.mouse.down();
    await page.mouse.move(bar.x + 62, bar.y + 200);
    await page.mouse.up();
    expect(Math.round((await width()) - before)).toBe(60);
  });

  it("shows another source file, and the lines in it that are lit", async () => {
    await fresh("#kernel=1");
    await page.locator("#source-more .link").first().click();
    expect(await page.locator("#source-lines .lit").count()).toBeGreaterThan(0);
    expect(await page.locator("#source-file").inputValue()).not.toBe("0");
  });

  it("shades dead tokens, and says how many live", async () => {
    const first = explainedText("first.model", firstToken, {}, { dims: { B: 2, T: 32 } }).doc;
    await fresh("#node=%251", bench.write("first", first));
    await drawn(page, 0);
    expect(await text("#inspector")).toContain("2 of 64 live");
  });

  it("takes ten thousand nodes, all open, and walks on", async () => {
    await fresh("", bench.write("synthetic", syntheticDocument(10_000)));
    await drawn(page, 0);
    await redrawn(page, () => page.locator("#open-all").click());
    expect(await text("#graph-status")).toBe("10002/10002");
    await page.keyboard.press("ArrowRight");
    await drawn(page, 1);
    await page.keyboard.press("2");
    expect(await page.locator("#changes .diff").count()).toBeGreaterThan(100);
    expect(await page.locator("#changes .diff").count()).toBeLessThan(1000);
    const some = await page.locator("#changes .diff").count();
    await page.locator("#changes").hover();
    await page.mouse.wheel(0, 1e6);
    await page.waitForFunction(`document.querySelectorAll('#changes .diff').length > ${some}`);
  });

  it("says no word of error through all of this", () => expect(faults).toEqual([]));
});
