// Firefox by WebDriver BiDi, and a page of ours in it. It has no way to read a track frame by frame: what its video
// element shows is looked at, which is what people see.
import { existsSync } from "node:fs";
import { type Browser, launch, type Page } from "puppeteer-core";
import { expect } from "vitest";
import { cleanup } from "../support.js";
import { PATIENCE_MS } from "./chromium.js";
import { SIDE } from "./picture.mjs";

/** One picture that the element showed, RGBA. */
export interface Shown {
  width: number;
  height: number;
  data: Buffer;
}

/** Firefox with a new profile. */
export function launchFirefox(): Promise<Browser> {
  const found = ["/usr/bin/firefox-esr", "/usr/bin/firefox"].find((path) => existsSync(path));
  return launch({
    browser: "firefox",
    executablePath: process.env.FIREFOX ?? found ?? "firefox",
    headless: true,
    extraPrefsFirefox: {
      // Both ends are on this machine.
      "media.peerconnection.ice.loopback": true,
      "media.peerconnection.ice.obfuscate_host_addresses": false,
      "media.autoplay.default": 0,
      // A microphone that hums, for whoever asks.
      "media.navigator.streams.fake": true,
      "media.navigator.permission.disabled": true,
      // Plugins with other codecs are downloaded, which is no part of a stock browser.
      "media.gmp-manager.updateEnabled": false,
    },
  });
}

/** A page that is looked at; closed after the test. */
export class FirefoxViewer {
  readonly problems: string[] = [];

  private constructor(readonly page: Page) {
    page.on("pageerror", (error) => this.problems.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error") this.problems.push(`console: ${message.text()}`);
    });
  }

  /** Opens the page that a system serves on `port`, and waits until it shows a picture. */
  static async watching(browser: Browser, port: number, query = ""): Promise<FirefoxViewer> {
    const viewer = await FirefoxViewer.at(browser, `http://127.0.0.1:${port}/${query}`);
    await viewer.page.waitForFunction(() => (document.querySelector("video")?.videoWidth ?? 0) > 0);
    return viewer;
  }

  static async at(browser: Browser, url: string): Promise<FirefoxViewer> {
    const page = await browser.newPage();
    cleanup(() => page.close());
    page.setDefaultTimeout(2 * PATIENCE_MS);
    const viewer = new FirefoxViewer(page);
    await page.goto(url);
    return viewer;
  }

  /** Waits until the text of an element is like this. */
  async untilText(selector: string, pattern: RegExp): Promise<void> {
    await this.page.waitForFunction(
      (selector, pattern) =>
        new RegExp(pattern).test(document.querySelector(selector)?.textContent ?? ""),
      {},
      selector,
      pattern.source,
    );
  }

  /** Waits for a state of the page's client. */
  async untilState(state: string): Promise<void> {
    await this.page.waitForSelector(`html[data-state="${state}"]`);
  }

  /** Waits until so many more pictures have been decoded. */
  async untilMore(pictures: number): Promise<void> {
    const { frames } = await this.decoded();
    const more = async () => (await this.decoded()).frames - frames;
    await expect.poll(more, { timeout: PATIENCE_MS }).toBeGreaterThanOrEqual(pictures);
  }

  /** What the element shows now. */
  async shown(): Promise<Shown> {
    const { width, height, text } = await this.page.evaluate(async () => {
      const video = document.querySelector("video") as HTMLVideoElement;
      await new Promise((resolve) => video.requestVideoFrameCallback(resolve));
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
      const context = canvas.getContext("2d") as CanvasRenderingContext2D;
      context.drawImage(video, 0, 0);
      const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
      let text = "";
      for (let from = 0; from < data.length; from += 8192) {
        text += String.fromCharCode(...data.subarray(from, from + 8192));
      }
      return { width, height, text: btoa(text) };
    });
    return { width, height, data: Buffer.from(text, "base64") };
  }

  /** Frames that were decoded, and by which codec. */
  decoded(): Promise<{ frames: number; codec: string }> {
    return this.page.evaluate(async () => {
      const stats = await window.avatarClient.peerConnection?.getStats();
      const all = [...(stats?.values() ?? [])];
      const inbound = all.find(({ type, kind }) => type === "inbound-rtp" && kind === "video");
      const codec = all.find(({ id }) => id === inbound?.codecId);
      return { frames: inbound?.framesDecoded ?? 0, codec: codec?.mimeType ?? "" };
    });
  }
}

/** The number that a picture carries; null when its cells contradict themselves. */
export function numberOf({ width, height, data }: Shown): number | null {
  if (width !== SIDE || height !== SIDE) return null;
  const cell = width / 32;
  let code = 0;
  for (let bit = 0; bit < 32; bit++) {
    const at = (Math.floor(cell / 2) * width + Math.floor((bit + 0.5) * cell)) * 4;
    if ((data[at + 1] ?? 0) > 128) code |= 1 << bit;
  }
  const number = code & 0xffff;
  const check = ((number * 40503) ^ 0xa5a5) & 0xffff;
  return code >>> 16 === check ? number : null;
}
