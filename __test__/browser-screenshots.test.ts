// How the page and the dashboard look, beside how they looked when somebody looked last: __test__/screenshots/. What is
// meant to look otherwise from now on: look at it, then UPDATE_SCREENSHOTS=1 npx vitest run browser-screenshots
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { launch } from "./support/chromium.js";
import { pushPictures } from "./support/picture.mjs";
import { difference, pngOf, type Surfaces, surfacesOf } from "./support/surfaces.js";
import { DESKTOP, PHONE, Visitor } from "./support/visitor.js";
import { cleanup, join, systemWith } from "./support.js";

const REFERENCES = path.resolve("__test__/screenshots");
const IS_UPDATE = process.env.UPDATE_SCREENSHOTS === "1";
/** So much of a page may look otherwise, in percent: another font makes some of its boxes wider. */
const MOST = 1;
/** What moves by itself is not seen, and what a font may make a line longer moves nothing. */
const MASKS = `video, .plot-body { visibility: hidden !important }
  .notice, .matches { white-space: nowrap; overflow: hidden }
  .plot-head { height: 1.5em; overflow: hidden }`;

const sizes = { desktop: DESKTOP, phone: PHONE };
type Theme = "light" | "dark";
type Size = keyof typeof sizes;

let browser: Browser;
/** An empty page: it decodes what is compared. */
let decoder: Page;
beforeAll(async () => {
  mkdirSync(REFERENCES, { recursive: true });
  browser = await launch();
  decoder = await browser.newPage();
});
afterAll(() => browser.close());

/** What can be looked at: opens it at an address of a system that runs, and waits until it is all there. */
const views = {
  async connected({ theme, size }: { theme: Theme; size: Size }) {
    const { port, bridge } = await started();
    cleanup(pushPictures(bridge).stop);
    const visitor = await visit(`http://127.0.0.1:${port}/`, theme, size);
    await visitor.untilSeen();
    return visitor.page;
  },
  async failed({ theme, size }: { theme: Theme; size: Size }) {
    const { port } = await started();
    const visitor = await visit(`http://127.0.0.1:${port}/?server=ws://no:where`, theme, size);
    await visitor.untilState("failed");
    return visitor.page;
  },
  async "dashboard-live"({ theme, size }: { theme: Theme; size: Size }) {
    const { port } = await started();
    await join(port);
    const { page } = await visit(`http://127.0.0.1:${port}/dashboard`, theme, size);
    await page.locator("#pill", { hasText: "Live" }).waitFor();
    await page.locator("#rows .id").waitFor();
    return page;
  },
  async "dashboard-lost"({ theme, size }: { theme: Theme; size: Size }) {
    const { port, stop } = await started();
    const { page } = await visit(`http://127.0.0.1:${port}/dashboard`, theme, size);
    await page.locator("#pill", { hasText: "Live" }).waitFor();
    await stop();
    await page.locator("#pill", { hasText: "Connection lost" }).waitFor();
    return page;
  },
};

async function started() {
  const system = await systemWith();
  await system.start();
  return { bridge: system.bridge, port: system.server.port ?? 0, stop: () => system.stop() };
}

async function visit(url: string, colorScheme: Theme, size: Size): Promise<Visitor> {
  const visitor = await Visitor.at(browser, url, {
    viewport: sizes[size],
    colorScheme,
    reducedMotion: "reduce",
    bypassCSP: true, // For the styles below.
  });
  await visitor.page.addStyleTag({ content: MASKS });
  return visitor;
}

/** On a phone the page to its end, on a desktop what is in the window. */
const shotOf = (page: Page, size: Size) =>
  page.screenshot({ fullPage: size === "phone", animations: "disabled" });

async function referenceOf(name: string): Promise<Surfaces> {
  return surfacesOf(decoder, readFileSync(path.join(REFERENCES, `${name}.png`)), 1);
}

const themes = ["light", "dark"] as const;
const names = Object.keys(views) as (keyof typeof views)[];
const cases = names.flatMap((view) =>
  themes.flatMap((theme) => (["desktop", "phone"] as const).map((size) => ({ view, theme, size }))),
);

it.each(cases)("$view, $theme, on a $size, looks as it did", async ({ view, ...how }) => {
  const name = `${view}-${how.theme}-${how.size}`;
  const page = await views[view](how);
  const shot = await shotOf(page, how.size);
  const surfaces = await surfacesOf(decoder, shot);
  if (IS_UPDATE) {
    writeFileSync(path.join(REFERENCES, `${name}.png`), await pngOf(decoder, surfaces));
    return;
  }
  const share = difference(await referenceOf(name), surfaces);
  if (share <= MOST) return;
  const file = path.join(mkdtempSync(path.join(tmpdir(), "avatar-looks-")), `${name}.png`);
  writeFileSync(file, shot);
  expect.fail(`${name} looks otherwise in ${share.toFixed(1)} % of its cells: see ${file}`);
});

// What is seen, and what is not, in a picture so coarse.
const styles: { what: string; content: string; isSeen: boolean }[] = [
  {
    what: "a panel that is missing",
    content: ":is(.emotions, .over-time > :first-child) { display: none !important }",
    isSeen: true,
  },
  { what: "40 px further down", content: "body { translate: 0 40px }", isSeen: true },
  { what: "40 px to the right", content: "body { translate: 40px 0 }", isSeen: true },
  ...["serif", "Liberation Sans Narrow", "DejaVu Sans Mono"].map((font) => ({
    what: font,
    // Not "serif" alone: browsers may give a generic family another size.
    content: `* { font-family: ${font}, sans-serif, sans-serif !important }`,
    isSeen: false,
  })),
];

it.each([
  { view: "failed", theme: "light", size: "desktop" },
  { view: "failed", theme: "dark", size: "phone" },
  { view: "dashboard-live", theme: "dark", size: "desktop" },
  { view: "dashboard-live", theme: "light", size: "phone" },
] as const)(
  "another $view is told apart, $theme, on a $size, and another font is not",
  async ({ view, ...how }) => {
    const page = await views[view](how);
    const reference = await referenceOf(`${view}-${how.theme}-${how.size}`);
    const share = async () =>
      difference(reference, await surfacesOf(decoder, await shotOf(page, how.size)));
    for (const { what, content, isSeen } of styles) {
      const style = await page.addStyleTag({ content });
      const changed = await share();
      expect([what, changed.toFixed(2), changed > MOST]).toEqual([what, expect.anything(), isSeen]);
      await style.evaluate((style: Element) => style.remove());
    }
    await page.emulateMedia({ colorScheme: how.theme === "light" ? "dark" : "light" });
    expect(await share()).toBeGreaterThan(50);
  },
);
