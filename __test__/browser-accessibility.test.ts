// What axe finds in the page, in both themes, at the size of a phone and of a desktop, in each state that it can be in.
import { mkdirSync } from "node:fs";
import path from "node:path";
import axe from "axe-core";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launch } from "./support/chromium.js";
import { pushPictures } from "./support/picture.mjs";
import { DESKTOP, PHONE, Visitor } from "./support/visitor.js";
import { cleanup, pcm, systemWith } from "./support.js";

const SCREENSHOTS = path.resolve(".cache/screenshots");
const FLAGS = [
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
  // An origin that is not secure.
  "--host-resolver-rules=MAP avatar.test 127.0.0.1",
];

let browser: Browser;
beforeAll(async () => {
  mkdirSync(SCREENSHOTS, { recursive: true });
  browser = await launch(...FLAGS);
});
afterAll(() => browser.close());

/** Violations in words, best practices among them. */
async function violations(page: Page): Promise<string[]> {
  // Nothing is judged while it fades.
  await page.waitForFunction(() =>
    document
      .getAnimations()
      .every(
        (one) =>
          one.playState !== "running" ||
          one.effect?.getTiming().iterations === Number.POSITIVE_INFINITY,
      ),
  );
  await page.evaluate(axe.source); // Not as a script element: the page's policy forbids foreign ones.
  return page.evaluate(async () => {
    const { violations } = await (window as unknown as { axe: typeof axe }).axe.run();
    return violations.flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 120)} ${failureSummary}`),
    );
  });
}

const sizes = { desktop: DESKTOP, phone: PHONE };
const cases = (["light", "dark"] as const).flatMap((theme) =>
  (["desktop", "phone"] as const).map((size) => [theme, size] as const),
);

describe.each(cases)("the page, %s, on a %s", (theme, size) => {
  const visit = { viewport: sizes[size], colorScheme: theme };

  it("has nothing that axe objects to, connected and not", async () => {
    const system = await systemWith();
    await system.start();
    cleanup(pushPictures(system.bridge).stop);
    const url = `http://127.0.0.1:${system.server.port}/`;
    const visitor = await Visitor.at(browser, url, visit);
    const { page } = visitor;
    await visitor.untilSeen();
    await page.click("#microphone");
    await page.waitForSelector('#microphone[aria-pressed="true"]');
    await page.click(".glossary summary");
    await system.bridge.pushAudioChunk(pcm(1000));
    await system.bridge.pushCue({
      at: 100,
      data: { type: "caption", text: "A caption.", durationMs: 60_000 },
    });
    await page.locator("#caption", { hasText: "A caption." }).waitFor();
    expect(visitor.problems).toEqual([]); // Before axe, which sets inline styles to try things out.
    expect(await violations(page)).toEqual([]);
    const file = path.join(SCREENSHOTS, `${theme}-${size}.png`);
    await page.screenshot({ path: file, fullPage: size === "phone" });

    await page.click("#connect");
    await visitor.untilState("disconnected");
    expect(await violations(page)).toEqual([]);
  });

  it("has nothing that axe objects to while it says what is wrong", async () => {
    const system = await systemWith();
    const url = `http://avatar.test:${system.server.port}/?server=ws://127.0.0.1:1024`;
    const visitor = await Visitor.at(browser, url, visit);
    await visitor.untilState("reconnecting");
    await visitor.page.getByRole("alert").filter({ hasText: /\S/ }).waitFor();
    await visitor.page.locator("#log .warn").first().waitFor();
    expect(await violations(visitor.page)).toEqual([]);
  });
});
