// Debian's Chromium as a viewer.

import { chromium } from "playwright-core";

/** @returns {Promise<import("playwright-core").Browser>} */
export function launchChromium() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"].concat(
      ["--disable-background-networking", "--disable-component-update", "--disable-sync"],
      ["--autoplay-policy=no-user-gesture-required"],
    ),
  });
}

/**
 * Opens the server's page in a profile of its own.
 * @template T
 * @param {import("playwright-core").Browser} browser
 * @param {string} url the server's, as ws:
 * @param {() => void} record runs in the page before its own scripts
 * @param {(page: import("playwright-core").Page) => Promise<T>} use
 * @returns {Promise<T>}
 */
export async function withPage(browser, url, record, use) {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    await page.addInitScript(record);
    await page.goto(url.replace("ws:", "http:"));
    return await use(page);
  } finally {
    await context.close();
  }
}
