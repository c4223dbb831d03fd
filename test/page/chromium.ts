// Chromium for the page's tests: the system's own, by its usual paths or TOKENLOOM_CHROMIUM. Tests are skipped where there is none,
// with a word; where TOKENLOOM_BROWSER=required they fail instead.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { chromium, type Browser, type Page } from "playwright-core";
import type { ExplainDocument } from "../../src/explain/document.ts";
import { pageOf } from "../../src/explain/page-file.ts";
import { pageTemplate } from "../../tools/build-page.ts";

const usual = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];
const given = process.env["TOKENLOOM_CHROMIUM"];
export const executablePath = given ?? usual.find((path) => existsSync(path));
const required = process.env["TOKENLOOM_BROWSER"] === "required";

/** Why the tests in the browser do not run; empty where they do. */
export const missing =
  executablePath === undefined && !required
    ? " (SKIPPED: there is no Chromium; install it, on Debian with apt-get install chromium, or set TOKENLOOM_CHROMIUM)"
    : "";
if (missing !== "") process.stderr.write(`The page's tests in a browser do not run${missing}\n`);

export class Bench {
  readonly #folder = mkdtempSync(join(tmpdir(), "tokenloom-page-"));
  #browser: Browser | undefined;
  #template = "";

  async start(): Promise<void> {
    if (executablePath === undefined) throw new Error("TOKENLOOM_BROWSER=required, and there is no Chromium");
    this.#template = await pageTemplate();
    this.#browser = await chromium.launch({
      executablePath,
      args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    });
  }

  async stop(): Promise<void> {
    await this.#browser?.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  write(name: string, doc: ExplainDocument): string {
    const path = join(this.#folder, `${name}.html`);
    writeFileSync(path, pageOf(this.#template, gzipSync(JSON.stringify(doc)).toString("base64"), doc.model));
    return pathToFileURL(path).href;
  }

  /** Opens a page; what goes wrong in it, and whatever it asks the network for, is collected in `faults`. */
  async open(url: string, size = { width: 1280, height: 800 }): Promise<{ page: Page; faults: string[] }> {
    const page = await this.#browser!.newPage({ viewport: size });
    const faults: string[] = [];
    page.on("pageerror", (e) => faults.push(e.message));
    page.on("console", (m) => m.type() === "error" && faults.push(m.text()));
    page.on("request", (r) => /^(file|blob|data):/.test(r.url()) || faults.push(`asks for ${r.url()}`));
    await page.goto(url);
    await page.waitForSelector("html[data-ready]");
    return { page, faults };
  }
}

/** Where the graph has drawn an item, in pixels of the window; waits for it, as boxes are laid out in a worker. */
export async function rectOf(
  page: Page,
  id: string,
): Promise<{ x: number; y: number; w: number; h: number }> {
  const find = `window.tokenloom.rectOf(${JSON.stringify(id)}) ?? null`;
  await page.waitForFunction(find, undefined, { timeout: 20_000 }).catch(() => {
    throw new Error(`the graph shows no ${id}`);
  });
  const rect = await page.evaluate<{ x: number; y: number; w: number; h: number } | null>(find);
  if (!rect) throw new Error(`the graph showed ${id} and shows it no more`);
  return rect;
}

/** Waits until the graph of a step is drawn. */
export async function drawn(page: Page, step: number): Promise<void> {
  await page.waitForSelector(`html[data-graph="${step}"]`);
}

/** Waits for the next drawing: what was drawn before does not count. */
export async function redrawn(page: Page, act: () => Promise<void>): Promise<void> {
  await page.evaluate("delete document.documentElement.dataset.graph");
  await act();
  await page.waitForSelector("html[data-graph]");
}
