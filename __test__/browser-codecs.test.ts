import type { Browser } from "playwright-core";
import type { Browser as Firefox } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StreamingSystem, WebRTCConfig } from "../index.js";
import { launch, REAL_TIME, rateOf, Viewer } from "./support/chromium.js";
import { CENTRES, lumaNoise, patchErrors, psnr } from "./support/compare.js";
import { FirefoxViewer, launchFirefox, numberOf } from "./support/firefox.js";
import { picture, pushPictures, SIDE } from "./support/picture.mjs";
import { onset, pcmOf, resemblance, sweep } from "./support/sound.js";
import { cleanup, join, systemWith } from "./support.js";

async function streaming(webrtc: WebRTCConfig): Promise<{ system: StreamingSystem; port: number }> {
  const system = await systemWith(webrtc);
  await system.start();
  const source = pushPictures(system.bridge);
  cleanup(source.stop);
  return { system, port: system.server.port ?? 0 };
}

/** The codec of what a page receives, as its statistics name it. */
function codecOf(viewer: Viewer, kind: "audio" | "video"): Promise<string> {
  return viewer.page.evaluate(async (kind) => {
    const stats = await window.watched.connections.at(-1)?.getStats();
    const all = [...(stats?.values() ?? [])];
    const inbound = all.find((entry) => entry.type === "inbound-rtp" && entry.kind === kind);
    return all.find(({ id }) => id === inbound?.codecId)?.mimeType ?? "";
  }, kind);
}

describe("Chromium", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launch();
  });
  afterAll(() => browser.close());

  it.each(["H264", "VP8", "VP9"] as const)(
    "shows every picture as it was pushed when %s is preferred",
    REAL_TIME,
    async (videoCodec) => {
      const { system, port } = await streaming({ videoCodec });
      const viewer = await Viewer.watching(browser, port);
      expect(await codecOf(viewer, "video")).toBe(`video/${videoCodec}`);
      const one = { H264: 0, VP8: 0, VP9: 0, opus: 1, pcmu: 0, pcma: 0, [videoCodec]: 1 };
      expect(system.getStatus().viewers).toEqual(one);
      await viewer.page.evaluate(() => {
        window.watched.keepEvery = 20;
      });
      const frames = await viewer.framesDuring(4000);
      const numbers = frames.map(({ number }) => number);
      expect(numbers).not.toContain(null);
      expect(numbers).toEqual(numbers.toSorted((a, b) => (a ?? 0) - (b ?? 0)));
      expect(rateOf(frames, 4000)).toBeGreaterThanOrEqual(28);
      const noise = await lumaNoise(viewer);
      const off = Math.max(...patchErrors(await viewer.coloursAt(CENTRES)));
      console.log(
        `${videoCodec}: luma PSNR ${noise.map((db) => db.toFixed(1)).join(" ")} dB, colours off by ${off}`,
      );
      const { keyframes, keyframeReasons, encodeMs } = system.bridge.getMetrics();
      expect(keyframeReasons.joined).toBeGreaterThanOrEqual(1);
      expect(Object.values(keyframeReasons).reduce((sum, count) => sum + count)).toBe(keyframes);
      expect(encodeMs.p50).toBeGreaterThan(0);
      expect(encodeMs.p99).toBeGreaterThanOrEqual(encodeMs.p50);
      expect(noise.length).toBeGreaterThanOrEqual(4);
      expect(Math.min(...noise)).toBeGreaterThanOrEqual(30);
      expect(off).toBeLessThanOrEqual(6);
    },
  );

  it("is told both lists when it has no codec of the list, and others watch on", async () => {
    const { system, port } = await streaming({ videoCodec: ["H264"] });
    const offers: string[] = [];
    system.server.on("offer", ({ peerId }) => offers.push(peerId));
    const viewer = await Viewer.watching(browser, port);
    const sdp = await viewer.page.evaluate(async () => {
      const pc = new RTCPeerConnection();
      const { codecs = [] } = RTCRtpReceiver.getCapabilities("video") ?? {};
      const transceiver = pc.addTransceiver("video", { direction: "recvonly" });
      transceiver.setCodecPreferences(codecs.filter(({ mimeType }) => mimeType === "video/VP8"));
      return (await pc.createOffer()).sdp;
    });
    const { client, peerId } = await join(port);
    client.send({ type: "offer", data: { type: "offer", sdp } });
    expect(await client.receive()).toEqual({
      type: "error",
      code: "no-shared-codec",
      error: expect.stringMatching(
        /^no video codec in common: the offer has VP8, this server sends H264 /,
      ),
    });
    expect(offers.at(-1)).toBe(peerId);
    expect(system.server.getPeers().find(({ id }) => id === peerId)?.state).toBe("connecting");
    expect((await viewer.framesDuring(1000)).length).toBeGreaterThan(20);
  });

  it.each(["pcmu", "pcma"] as const)(
    "hears what was pushed as %s when its offer has no Opus",
    REAL_TIME,
    async (audioCodec) => {
      const seconds = 3;
      const { system, port } = await streaming({ audioCodec: ["opus", audioCodec] });
      const viewer = await Viewer.withoutOpus(browser, port);
      await viewer.untilState("connected");
      expect(await codecOf(viewer, "audio")).toBe(`audio/${audioCodec.toUpperCase()}`);
      await viewer.listen();
      await viewer.until(() => window.watched.sound.length > 20);
      const data = pcmOf(sweep(24_000, seconds));
      system.bridge.pushAudioChunk({
        data,
        sampleRate: 24_000,
        channels: 1,
        timestamp: Date.now(),
      });
      for (;;) {
        const { sampleRate, channels } = await viewer.heard();
        const [heard = new Float32Array()] = channels;
        if (heard.length - onset(heard, sampleRate) < (seconds + 0.5) * sampleRate) {
          const length = await viewer.page.evaluate(() => window.watched.sound.length);
          await viewer.until((more) => window.watched.sound.length > more, length + 20);
          continue;
        }
        const found = resemblance(heard, sweep(sampleRate, seconds), sampleRate);
        const mean = found.reduce((sum, value) => sum + value, 0) / found.length;
        console.log(`${audioCodec} at ${sampleRate} Hz: correlation ${mean.toFixed(3)}`);
        expect(mean).toBeGreaterThanOrEqual(0.8);
        break;
      }
    },
  );
});

describe("Firefox without H.264", () => {
  let browser: Firefox;
  beforeAll(async () => {
    browser = await launchFirefox();
  });
  afterAll(() => browser.close());

  it("plays VP8 beside a Chromium that plays H.264", REAL_TIME, async () => {
    const { port } = await streaming({});
    const chromium = await launch();
    cleanup(() => chromium.close());
    const other = await Viewer.watching(chromium, port);
    const viewer = await FirefoxViewer.watching(browser, port);
    expect((await viewer.decoded()).codec).toBe("video/VP8");
    expect(await codecOf(other, "video")).toBe("video/H264");
    const before = await viewer.decoded();
    const frames = await other.framesDuring(4000);
    expect(rateOf(frames, 4000)).toBeGreaterThanOrEqual(28);
    expect((await viewer.decoded()).frames - before.frames).toBeGreaterThanOrEqual(4 * 28);

    const shown = [await viewer.shown(), await viewer.shown(), await viewer.shown()];
    const numbers = shown.map(numberOf);
    expect(numbers).not.toContain(null);
    expect(new Set(numbers).size).toBe(3);
    const noise = shown.map(({ data }, at) => psnr(data, picture(numbers[at] ?? 0)));
    const colours = CENTRES.map(({ x, y }) => {
      const at = (y * SIDE + x) * 4;
      return [...(shown[0]?.data.subarray(at, at + 3) ?? [])];
    });
    const off = Math.max(...patchErrors(colours));
    console.log(
      `Firefox: RGB PSNR ${noise.map((db) => db.toFixed(1)).join(" ")} dB, colours off by ${off}`,
    );
    expect(Math.min(...noise)).toBeGreaterThanOrEqual(28);
    expect(off).toBeLessThanOrEqual(6);
    expect(viewer.problems).toEqual([]);
  });
});
