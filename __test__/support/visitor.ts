// A person who visits a page: at any address, in any window, with any permission; and what the page complained of meanwhile.
import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import { expect } from "vitest";
import type { WebRTCStreamingServer } from "../../index.js";
import { cleanup } from "../support.js";
import { launch, PATIENCE_MS, problemsOf } from "./chromium.js";

export const PHONE = { width: 390, height: 844 };
export const DESKTOP = { width: 1280, height: 800 };

/** How somebody comes: their window and preferences, and what runs in the page before anything else. */
export type Visit = BrowserContextOptions & { before?: () => void };

/** Leaves after the test. */
export class Visitor {
  /** As {@link problemsOf} gives them. */
  readonly problems: string[];

  private constructor(
    readonly page: Page,
    readonly context: BrowserContext,
  ) {
    this.problems = problemsOf(page);
  }

  static async at(browser: Browser, url: string, { before, ...options }: Visit = {}) {
    const context = await browser.newContext({ viewport: DESKTOP, ...options });
    cleanup(() => context.close());
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    if (before) await page.addInitScript(before);
    const visitor = new Visitor(page, context);
    await page.goto(url);
    return visitor;
  }

  /**
   * Somebody who has not touched the page yet, and whose browser wants that before it plays sound. Playwright's every look
   * into a page counts as a touch: so they first wait until the server has them connected, which is after the first try
   * to play.
   */
  static async cautious(url: string, server: Pick<WebRTCStreamingServer, "getPeers">) {
    const browser = await launch("--autoplay-policy=document-user-activation-required");
    cleanup(() => browser.close());
    const visitor = await Visitor.at(browser, url);
    const states = () => server.getPeers().map(({ state }) => state);
    await expect.poll(states, { timeout: PATIENCE_MS }).toEqual(["connected"]);
    return visitor;
  }

  /** Waits for a state of the page's client. */
  async untilState(state: string): Promise<void> {
    await this.page.waitForSelector(`html[data-state="${state}"]`);
  }

  /** Waits until the picture is seen. */
  async untilSeen(): Promise<void> {
    await this.page.waitForSelector("#poster.gone", { state: "attached" });
  }

  /** Goes on with the Tab key to the element with this id, as far as there is something to go on to. */
  async tabTo(id: string): Promise<void> {
    for (let presses = 0; presses < 40; presses++) {
      await this.page.keyboard.press("Tab");
      if (await this.page.evaluate((id) => document.activeElement?.id === id, id)) return;
    }
    throw new Error(`the Tab key does not come to #${id}`);
  }
}
