// Firefox, and the page in it used as a person would.
import { once } from "node:events";
import { createServer as createSite } from "node:http";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { Browser } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { IncomingAudio, StreamingSystem, WebRTCConfig } from "../index.js";
import { PATIENCE_MS } from "./support/chromium.js";
import { FirefoxViewer, launchFirefox, numberOf } from "./support/firefox.js";
import { pushPictures } from "./support/picture.mjs";
import { cleanup, next, pcm, systemWith } from "./support.js";

const patience = { timeout: PATIENCE_MS, interval: 50 };

let browser: Browser;
beforeAll(async () => {
  browser = await launchFirefox();
});
afterAll(() => browser.close());

async function streaming(webrtc: WebRTCConfig = {}) {
  const system = await systemWith(webrtc, { microphone: { voiceGating: false } });
  await system.start();
  cleanup(pushPictures(system.bridge).stop);
  return { system, port: system.server.port ?? 0 };
}

async function watched(query = "") {
  const { system, port } = await streaming();
  const viewer = await FirefoxViewer.watching(browser, port, query);
  await viewer.untilState("connected");
  return { system, port, viewer, page: viewer.page };
}

const idOf = ({ page }: FirefoxViewer) => page.evaluate(() => window.avatarClient.peerId);
const peersOf = ({ server }: StreamingSystem) =>
  server.getPeers().map(({ id, state }) => ({ id, state }));

/** A way to a port of this machine that can be cut without a word of farewell. */
async function wireTo(port: number): Promise<{ url: string; cut: () => void }> {
  const ends = new Set<Socket>();
  const listener = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    for (const end of [near, far]) {
      ends.add(end);
      end.on("error", () => {});
    }
    near.pipe(far).pipe(near);
  });
  const cut = () => {
    for (const end of ends) end.destroy();
    ends.clear();
  };
  cleanup(() => {
    listener.close();
    cut();
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  return { url: `ws://127.0.0.1:${(listener.address() as AddressInfo).port}`, cut };
}

describe("somebody with Firefox", () => {
  it("sees pictures that move, how old they are, leaves, and comes back", async () => {
    const { system, viewer, page } = await watched();
    const first = numberOf(await viewer.shown());
    const second = numberOf(await viewer.shown());
    expect(second).toBeGreaterThan(first ?? Number.NaN);
    await viewer.untilText('[data-metric="latency"]', /^\d+ ms$/);
    await viewer.untilText('[data-metric="fps"]', /^(2[5-9]|3\d)(\.\d)? fps$/);

    const gone = next(system.server, "peer-disconnected");
    await page.click("#connect");
    await viewer.untilState("disconnected");
    await gone;
    await viewer.untilText("#detail", /^Press Connect to see the avatar\.$/);
    expect(system.server.getPeerCount()).toBe(0);
    await page.click("#connect");
    await viewer.untilState("connected");
    await viewer.untilMore(10);
    expect(peersOf(system)).toEqual([{ id: await idOf(viewer), state: "connected" }]);
    expect(viewer.problems).toEqual([]);
  });

  it("switches the sound and the captions off and on, and is shown an emotion", async () => {
    const { system, viewer, page } = await watched();
    const isMuted = () => page.$eval("video", (video) => video.muted);
    expect(await isMuted()).toBe(false);
    await page.click("#sound");
    await page.waitForSelector('#sound[aria-pressed="false"]');
    expect(await isMuted()).toBe(true);
    await page.click("#sound");
    await page.waitForSelector('#sound[aria-pressed="true"]');
    expect(await isMuted()).toBe(false);

    const say = async (text: string) => {
      await system.bridge.pushAudioChunk(pcm(1000));
      await system.bridge.pushCue({ at: 200, data: { type: "caption", text, durationMs: 60_000 } });
    };
    await say("Good morning.");
    await viewer.untilText("#caption", /^Good morning\.$/);
    await page.click("#captions");
    await page.waitForSelector("#caption", { hidden: true });
    await page.click("#captions");
    await say("And good night.");
    await viewer.untilText("#caption", /^And good night\.$/);
    await page.waitForSelector("#caption", { visible: true });

    await page.waitForSelector('[data-emotion="sad"]:not([disabled])');
    const command = next(system.server, "command");
    await page.click('[data-emotion="sad"]');
    expect(await command).toEqual({
      peerId: await idOf(viewer),
      command: "change-emotion",
      data: { emotion: "sad" },
    });
    expect(viewer.problems).toEqual([]);
  });

  it("speaks, and is silent again", async () => {
    const { system, viewer, page } = await watched();
    let loudest = 0;
    system.bridge.on("incoming-audio", ({ data }: IncomingAudio) => {
      for (let at = 0; at < data.length; at += 2)
        loudest = Math.max(loudest, Math.abs(data.readInt16LE(at)));
    });
    await page.click("#microphone");
    await page.waitForSelector('#microphone[aria-pressed="true"]');
    await page.waitForSelector("#level.on");
    const { peerId, data } = await next(system.bridge, "incoming-audio");
    expect(peerId).toBe(await idOf(viewer));
    expect(data.length).toBeGreaterThan(0);
    // Not the level that is shown: without a sound device, as here, Firefox's AudioContext stays suspended and measures none.
    await expect.poll(() => loudest, patience).toBeGreaterThan(1000);
    await page.waitForSelector("#microphone-device:not([hidden]) option");
    await page.click("#microphone");
    await page.waitForSelector('#microphone[aria-pressed="false"]');
    await page.waitForSelector("#level:not(.on)");
    expect(viewer.problems).toEqual([]);
  });

  it("puts the details away and back, and finds words in the log", async () => {
    const { viewer, page } = await watched();
    const isVisible = (selector: string) =>
      page.$eval(selector, (element) => element.checkVisibility());
    await page.click("#details");
    expect(await isVisible("#side")).toBe(false);
    await page.click("#details");
    expect(await isVisible("#side")).toBe(true);

    await page.type("#log-filter", "RECEIVING");
    await viewer.untilText("#log-count", /^2 of \d+ lines$/);
    const lines = await page.$$eval("#log li:not([hidden])", (lines) =>
      lines.map((line) => line.lastElementChild?.textContent),
    );
    expect(lines.toSorted()).toEqual(["Receiving audio.", "Receiving video."]);
    await page.click("#copy-log");
    await viewer.untilText("#copy-log", /^Copied$/);
    await page.click("#clear-log");
    await viewer.untilText("#log-count", /^0 lines$/);
    expect(viewer.problems).toEqual([]);
  });

  it("does not see that the WebSocket broke", async () => {
    const { system, port } = await streaming();
    const wire = await wireTo(port);
    const viewer = await FirefoxViewer.watching(browser, port, `?server=${wire.url}`);
    await viewer.untilState("connected");
    const peerId = await idOf(viewer);
    const before = await viewer.page.evaluateHandle(() => window.avatarClient.peerConnection);
    const back = next(system.server, "peer-connected");
    wire.cut();
    expect(await back).toMatchObject({ id: peerId, resumed: true });
    await viewer.untilMore(30);
    const isSame = (before: RTCPeerConnection | null) =>
      window.avatarClient.peerConnection === before && window.avatarClient.state === "connected";
    expect(await viewer.page.evaluate(isSame, before)).toBe(true);
    expect(peersOf(system)).toEqual([{ id: peerId, state: "connected" }]);
  });

  it("has the picture back when the server was stopped and started again", async () => {
    const free = await systemWith();
    const port = free.server.port ?? 0;
    await free.stop();
    const { system } = await streaming({ signalingPort: port });
    system.bridge.on("warning", () => {}); // Pictures are pushed on while it is stopped.
    const viewer = await FirefoxViewer.watching(browser, port);
    await viewer.untilState("connected");
    await system.stop();
    await viewer.untilState("reconnecting");
    await system.start();
    await viewer.untilState("connected");
    await viewer.untilMore(10);
    expect(peersOf(system)).toEqual([{ id: await idOf(viewer), state: "connected" }]);
  });

  it("sees the avatar in another site's page", async () => {
    const { system, port } = await streaming();
    const site = createSite((_, response) =>
      response.writeHead(200, { "content-type": "text/html" }).end(`<!doctype html>
        <script type="module" src="http://127.0.0.1:${port}/avatar-view.js"></script>
        <avatar-view src="ws://127.0.0.1:${port}"></avatar-view>`),
    );
    cleanup(() => {
      site.closeAllConnections();
      site.close();
    });
    site.listen(0, "127.0.0.1");
    await once(site, "listening");
    const url = `http://127.0.0.1:${(site.address() as AddressInfo).port}/`;
    const { page, problems } = await FirefoxViewer.at(browser, url);
    await page.waitForSelector('avatar-view[state="connected"]');
    await page.evaluate(async () => {
      const video = document.querySelector("avatar-view")?.shadowRoot?.querySelector("video");
      for (let pictures = 0; pictures < 10; pictures++) {
        await new Promise((resolve) => video?.requestVideoFrameCallback(resolve));
      }
    });
    expect(system.server.getPeerCount()).toBe(1);
    expect(problems).toEqual([]);
  });
});
