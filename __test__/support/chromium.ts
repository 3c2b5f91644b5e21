// Chromium, and a page of ours in it that is watched from its first script on.
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { expect } from "vitest";
import { cleanup } from "../support.js";
import { type SeenFrame, watch } from "./watch.js";

/** How long a page may take for anything that is waited for. */
export const PATIENCE_MS = 15_000;

/**
 * For what must happen in real time: other work on the machine may spoil one run of it, and one
 * undisturbed run is proof.
 */
export const REAL_TIME = { retry: 2 };

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--autoplay-policy=no-user-gesture-required",
];

const options = (flags: string[] = []) => ({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [...FLAGS, ...flags],
});

/** Chromium with a new profile. */
export function launch(...flags: string[]): Promise<Browser> {
  return chromium.launch(options(flags));
}

/** Chromium that keeps pages for the way back, as it does for people: Playwright switches that off. */
export function launchWithWayBack(): Promise<Browser> {
  const ignoreDefaultArgs = ["--disable-back-forward-cache"];
  return chromium.launch({ ...options(), ignoreDefaultArgs });
}

/** Chromium, and the id of the process that all of its others descend from; closed after the test. */
export async function launchWithProcess(): Promise<{ browser: Browser; pid: number }> {
  const server = await chromium.launchServer(options());
  cleanup(() => server.close());
  const browser = await chromium.connect(server.wsEndpoint());
  return { browser, pid: server.process().pid ?? 0 };
}

/** A microphone that plays a WAV file once, from the moment it is opened. */
export const fakeMicrophone = (file: string) => [
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
  `--use-file-for-fake-audio-capture=${file}%noloop`,
];

/** How a page is opened. */
export interface Opening {
  /** Runs in the page before anything else. */
  before?: () => void;
  /** Where the page signals, if not where it comes from: the address of a relay. */
  server?: string;
  /** More of the page's address. */
  query?: Record<string, string>;
}

/** What goes wrong in a page from now on: errors in its console, exceptions, and what its content security policy refused. */
export function problemsOf(page: Page): string[] {
  const problems: string[] = [];
  page.on("pageerror", (error) => problems.push(`exception: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(`console: ${message.text()}`);
  });
  return problems;
}

/** A page that watches; closed after the test. */
export class Viewer {
  /** As {@link problemsOf} gives them. */
  readonly problems: string[];

  private constructor(
    readonly page: Page,
    readonly context: BrowserContext,
  ) {
    this.problems = problemsOf(page);
  }

  /** Opens the page that a system serves on `port`, in a browser that has no Opus. */
  static withoutOpus(browser: Browser, port: number): Promise<Viewer> {
    const before = () => {
      const createOffer = RTCPeerConnection.prototype.createOffer;
      RTCPeerConnection.prototype.createOffer = function (
        this: RTCPeerConnection,
        ...options: unknown[]
      ) {
        const { codecs = [] } = RTCRtpReceiver.getCapabilities("audio") ?? {};
        const others = codecs.filter(({ mimeType }) => !/opus|red/i.test(mimeType));
        for (const transceiver of this.getTransceivers()) {
          if (transceiver.receiver.track.kind === "audio") transceiver.setCodecPreferences(others);
        }
        return createOffer.apply(this, options as never) as never;
      };
    };
    return Viewer.open(browser, port, { before });
  }

  /** Opens the page that a system serves on `port`. */
  static async open(
    browser: Browser,
    port: number,
    { before, server, query }: Opening = {},
  ): Promise<Viewer> {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    cleanup(() => context.close());
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    if (before) await page.addInitScript(before);
    await page.addInitScript(watch);
    const viewer = new Viewer(page, context);
    const search = new URLSearchParams({ ...(server && { server }), ...query });
    await page.goto(`http://127.0.0.1:${port}/?${search}`);
    return viewer;
  }

  /** Opens it, and waits for the first picture. */
  static async watching(browser: Browser, port: number, opening?: Opening): Promise<Viewer> {
    const viewer = await Viewer.open(browser, port, opening);
    await viewer.until(() => window.watched.frames.length > 0);
    return viewer;
  }

  /** Waits until `condition` holds in the page, which gets `argument`. */
  async until(condition: (argument: number) => boolean, argument = 0): Promise<void> {
    await this.page.waitForFunction(condition, argument, { polling: 20, timeout: PATIENCE_MS });
  }

  async untilState(state: string): Promise<void> {
    await this.page.waitForSelector(`html[data-state="${state}"]`, { timeout: PATIENCE_MS });
  }

  /** Waits for a frame with this number or a later one. */
  async untilNumber(number: number): Promise<void> {
    await this.until(
      (wanted) => window.watched.frames.some((frame) => (frame.number ?? -1) >= wanted),
      number,
    );
  }

  /**
   * How long after `since` a picture was shown that was made later than that; `pushed` tells by number when each was.
   */
  async backAfter(pushed: Map<number, number>, since: number): Promise<number> {
    const isNew = ({ number, at }: SeenFrame) =>
      at >= since && (pushed.get(number ?? 0) ?? 0) >= since;
    const find = async () => (await this.frames()).find(isNew)?.at;
    await expect.poll(find, { timeout: PATIENCE_MS, interval: 50 }).toBeDefined();
    return ((await find()) ?? Number.NaN) - since;
  }

  /** Every frame that was decoded so far. */
  frames(): Promise<SeenFrame[]> {
    return this.page.evaluate(() => window.watched.frames);
  }

  /** The frames that are decoded within the next `ms`. */
  async framesDuring(ms: number): Promise<SeenFrame[]> {
    const from = await this.page.evaluate(() => performance.timeOrigin + performance.now());
    await this.until((end) => performance.timeOrigin + performance.now() >= end, from + ms);
    return (await this.frames()).filter(({ at }) => at >= from && at < from + ms);
  }

  /** Colours that the video element shows at these places of its picture. */
  coloursAt(places: { x: number; y: number }[]): Promise<number[][]> {
    return this.page.evaluate((places) => {
      const video = document.querySelector("video") as HTMLVideoElement;
      const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
      const context = canvas.getContext("2d") as OffscreenCanvasRenderingContext2D;
      context.drawImage(video, 0, 0);
      return places.map(({ x, y }) => [...context.getImageData(x, y, 1, 1).data.slice(0, 3)]);
    }, places);
  }

  /** Starts to record what is played. */
  async listen(): Promise<void> {
    await this.page.evaluate(() => {
      window.watched.listening = true;
    });
  }

  /** The sound since `listen`, by channel. */
  async heard(): Promise<{ sampleRate: number; channels: Float32Array[] }> {
    const { sampleRate, channels } = await this.page.evaluate(() => {
      const pieces = window.watched.sound;
      const count = Math.max(0, ...pieces.map(({ channels }) => channels.length));
      const length = pieces.reduce((sum, { channels }) => sum + (channels[0]?.length ?? 0), 0);
      const joined = Array.from({ length: count }, (_, channel) => {
        const samples = new Int16Array(length);
        let at = 0;
        for (const { channels } of pieces) {
          // A mono piece among stereo ones sounds on both sides.
          const piece = channels[channel] ?? (channels[0] as Float32Array);
          for (const sample of piece) samples[at++] = Math.max(-1, Math.min(1, sample)) * 32767;
        }
        return window.watched.base64(new Uint8Array(samples.buffer));
      });
      return { sampleRate: pieces[0]?.sampleRate ?? 0, channels: joined };
    });
    const decode = (text: string) => {
      const bytes = Buffer.from(text, "base64");
      return Float32Array.from(
        { length: bytes.length / 2 },
        (_, at) => bytes.readInt16LE(at * 2) / 32767,
      );
    };
    return { sampleRate, channels: channels.map(decode) };
  }
}

/** How many different numbers a second these frames carry. */
export function rateOf(frames: SeenFrame[], ms: number): number {
  const numbers = new Set(frames.map(({ number }) => number).filter((number) => number !== null));
  return (numbers.size * 1000) / ms;
}
