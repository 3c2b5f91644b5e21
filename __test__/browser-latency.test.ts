import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { sum } from "../bench/lib/statistics.mjs";
import type { Metrics } from "../web/client/statistics.js";
import { launch, type Opening, REAL_TIME, Viewer } from "./support/chromium.js";
import { codeOf, pushPictures } from "./support/picture.mjs";
import { Relay } from "./support/relay.js";
import { cleanup, systemWith } from "./support.js";

interface Seen {
  /** The codes of the pictures that the page's video element showed, and when, on the clock of `Date.now()`. */
  drawn: { code: number; at: number }[];
  stats: { at: number; metrics: Metrics }[];
}

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

/** Draws each frame that the video element shows, and reads the cells of its top row. */
function look() {
  const seen: Seen = { drawn: [], stats: [] };
  Object.assign(window, { seen });
  const video = document.querySelector("video") as HTMLVideoElement;
  const context = new OffscreenCanvas(512, 16).getContext("2d", {
    willReadFrequently: true,
  }) as OffscreenCanvasRenderingContext2D;
  const frame: VideoFrameRequestCallback = (_, { expectedDisplayTime }) => {
    context.drawImage(video, 0, 0, 512, 16, 0, 0, 512, 16);
    const { data } = context.getImageData(0, 8, 512, 1);
    let code = 0;
    for (let bit = 0; bit < 32; bit++) {
      if ((data[(bit * 16 + 8) * 4] ?? 0) > 128) code |= 1 << bit;
    }
    seen.drawn.push({ code: code >>> 0, at: performance.timeOrigin + expectedDisplayTime });
    video.requestVideoFrameCallback(frame);
  };
  video.requestVideoFrameCallback(frame);
  window.avatarClient.addEventListener("stats", (event) => {
    const { metrics } = (event as CustomEvent).detail;
    seen.stats.push({ at: performance.timeOrigin + performance.now(), metrics });
  });
}

it.each([
  { way: "a good network", network: {} },
  { way: "60 ms of delay and 10 of jitter", network: { delayMs: 60, jitterMs: 10 } },
])(
  "the latency that is shown is that of the pictures, by way of $way",
  REAL_TIME,
  async ({ way, network }) => {
    const system = await systemWith();
    await system.start();
    const source = pushPictures(system.bridge);
    cleanup(source.stop);
    const port = system.server.port ?? 0;
    const relay = await Relay.before(port);
    relay.set(network);
    relay.signallingDelayMs = network.delayMs ?? 0;
    const viewer = await Viewer.watching(browser, port, { server: relay.url });
    await viewer.untilState("connected");
    await viewer.page.evaluate(look);
    await viewer.framesDuring(8000);

    const { drawn, stats } = await viewer.page.evaluate(() => Reflect.get(window, "seen") as Seen);
    const pushed = new Map([...source.pushed].map(([number, at]) => [codeOf(number), at]));
    const ages = drawn.flatMap(({ code, at }) => {
      const since = pushed.get(code);
      return since === undefined ? [] : [{ at, ms: at - since }];
    });
    expect(ages.length).toBeGreaterThan(100);
    const compared = stats.slice(2).map(({ at, metrics }) => {
      const during = ages.filter((age) => age.at > at - 1000 && age.at <= at);
      const ms = sum(during.map((age) => age.ms)) / during.length;
      return { shown: metrics.latencyMs ?? Number.NaN, drawn: ms, metrics };
    });
    const errors = compared.map(({ shown, drawn }) => shown - drawn);
    console.log(
      `${way}: ${compared.map(({ shown, drawn }) => `${shown.toFixed(1)} (${drawn.toFixed(1)})`).join(", ")} ms`,
    );
    expect(compared.length).toBeGreaterThan(3);
    expect(compared.every(({ metrics }) => metrics.latencyIsMeasured)).toBe(true);
    expect(Math.max(...errors.map(Math.abs))).toBeLessThan(5);
  },
);

it(
  "a picture is shown as soon as it is decoded, where the browser lets us ask for that",
  REAL_TIME,
  async () => {
    const system = await systemWith();
    await system.start();
    const source = pushPictures(system.bridge);
    cleanup(source.stop);
    const port = system.server.port ?? 0;
    const unasked = () => {
      const createOffer = RTCPeerConnection.prototype
        .createOffer as () => Promise<RTCSessionDescriptionInit>;
      const offerWithout = async function (this: RTCPeerConnection) {
        const { type, sdp } = await createOffer.call(this);
        return { type, sdp: sdp?.replace(/a=extmap:.*playout-delay\r\n/g, "") };
      };
      Object.assign(RTCPeerConnection.prototype, { createOffer: offerWithout });
    };
    /** Of one viewer at a time: a page in the background is shown nothing. */
    const latencyOf = async (opening?: Opening) => {
      const viewer = await Viewer.watching(browser, port, opening);
      await viewer.page.evaluate(look);
      await viewer.framesDuring(6000);
      const { stats } = await viewer.page.evaluate(() => Reflect.get(window, "seen") as Seen);
      await viewer.context.close();
      return stats.at(-1)?.metrics.latencyP50Ms ?? Number.NaN;
    };
    const asked = await latencyOf();
    const notAsked = await latencyOf({ before: unasked });
    console.log(`asked ${asked.toFixed(1)} ms, not asked ${notAsked.toFixed(1)} ms`);
    expect(asked).toBeLessThan(notAsked - 4);
  },
);
