import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StreamingSystem } from "../index.js";
import { launch, REAL_TIME, rateOf, Viewer } from "./support/chromium.js";
import { CENTRES, lumaNoise, patchErrors } from "./support/compare.js";
import { pushPictures, SIDE } from "./support/picture.mjs";
import { cleanup, systemWith } from "./support.js";

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

async function streaming(): Promise<{ system: StreamingSystem; port: number }> {
  const system = await systemWith();
  await system.start();
  return { system, port: system.server.port ?? 0 };
}

/** Pictures at 30 a second until the test ends. */
function moving(system: StreamingSystem, from = 1) {
  const source = pushPictures(system.bridge, { from });
  cleanup(source.stop);
  return source;
}

function percentile(values: number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? NaN;
}

describe("the picture in a browser", () => {
  it("is every frame that was pushed, in order, soon, and like it", REAL_TIME, async () => {
    const { system, port } = await streaming();
    const { pushed } = moving(system);
    const viewer = await Viewer.watching(browser, port);
    await viewer.page.evaluate(() => {
      window.watched.keepEvery = 30;
    });
    const frames = await viewer.framesDuring(10_000);

    const numbers = frames.map(({ number }) => number);
    expect(numbers.filter((number) => number === null)).toEqual([]);
    expect(numbers).toEqual(numbers.toSorted((a, b) => (a ?? 0) - (b ?? 0)));
    expect(rateOf(frames, 10_000)).toBeGreaterThanOrEqual(28);
    expect(frames.every(({ width, height }) => width === SIDE && height === SIDE)).toBe(true);

    const latencies = frames.map(({ number, at }) => at - (pushed.get(number ?? -1) ?? 0));
    const [p50, p95, p99] = [50, 95, 99].map((percent) => percentile(latencies, percent));
    console.log(
      `push to decoded: p50 ${p50?.toFixed(1)} ms, p95 ${p95?.toFixed(1)} ms, p99 ${p99?.toFixed(1)} ms`,
    );
    expect(Math.min(...latencies)).toBeGreaterThan(0);
    expect(p50).toBeLessThan(200);

    const noise = await lumaNoise(viewer);
    console.log(
      `luma PSNR of ${noise.length} frames: ${noise.map((db) => db.toFixed(1)).join(" ")} dB`,
    );
    expect(noise.length).toBeGreaterThanOrEqual(9);
    expect(Math.min(...noise)).toBeGreaterThanOrEqual(30);
  });

  it("has the colours that were pushed", async () => {
    const { system, port } = await streaming();
    moving(system);
    const viewer = await Viewer.watching(browser, port);
    await viewer.untilNumber(30);
    await viewer.until(() => (document.querySelector("video")?.videoWidth ?? 0) > 0);
    const errors = patchErrors(await viewer.coloursAt(CENTRES));
    console.log(`levels off in each patch: ${errors.join(" ")}`);
    expect(Math.max(...errors)).toBeLessThanOrEqual(6);
  });

  it("is there soon after the offer", async () => {
    const { system, port } = await streaming();
    moving(system);
    const waits: number[] = [];
    for (let round = 0; round < 3; round++) {
      const viewer = await Viewer.watching(browser, port);
      const [offered, decoded] = await viewer.page.evaluate(() => [
        window.watched.offers[0] ?? 0,
        window.watched.frames[0]?.at ?? 0,
      ]);
      waits.push((decoded ?? 0) - (offered ?? 0));
      await viewer.page.close();
    }
    console.log(`createOffer to first frame: ${waits.map((ms) => ms.toFixed(0)).join(", ")} ms`);
    expect(Math.min(...waits)).toBeGreaterThan(0);
    expect(percentile(waits, 50)).toBeLessThan(3000);
  });

  it("is the last one for who joins when nothing new is pushed", async () => {
    const { system, port } = await streaming();
    const source = moving(system);
    await expect.poll(() => source.last, { timeout: 10_000 }).toBeGreaterThanOrEqual(20);
    source.stop();
    await expect
      .poll(() => Date.now() - system.bridge.getMetrics().lastFrameTime, { timeout: 10_000 })
      .toBeGreaterThan(2000);
    const viewer = await Viewer.watching(browser, port);
    expect((await viewer.frames()).at(-1)?.number).toBe(source.last);
    await viewer.page.waitForSelector("#poster.gone", { state: "attached" });
  });

  it("leaves one viewer alone when another comes and goes", REAL_TIME, async () => {
    const { system, port } = await streaming();
    moving(system);
    const stays = await Viewer.watching(browser, port);
    const [frames] = await Promise.all([
      stays.framesDuring(4000),
      Viewer.watching(browser, port).then((other) => other.page.close()),
    ]);
    expect(rateOf(frames, 4000)).toBeGreaterThanOrEqual(28);
    await expect.poll(() => system.server.getPeerCount(), { timeout: 10_000 }).toBe(1);
  });
});

describe("a browser that offers sound alone", () => {
  it("is answered with sound alone", async () => {
    const { system, port } = await streaming();
    moving(system);
    const viewer = await Viewer.open(browser, port);
    const { sdp, state, kinds } = await viewer.page.evaluate(async () => {
      const socket = new WebSocket(`ws://${location.host}/`);
      const pc = new RTCPeerConnection();
      const kinds: string[] = [];
      pc.addEventListener("track", ({ track }) => kinds.push(track.kind));
      pc.addTransceiver("audio", { direction: "recvonly" });
      pc.addEventListener("icecandidate", ({ candidate }) => {
        if (candidate) socket.send(JSON.stringify({ type: "ice-candidate", data: candidate }));
      });
      let sdp = "";
      const connected = new Promise((resolve) => {
        pc.addEventListener("connectionstatechange", () => {
          if (pc.connectionState === "connected" || pc.connectionState === "failed") resolve(null);
        });
      });
      socket.addEventListener("message", async ({ data }) => {
        const message = JSON.parse(data);
        if (message.type === "config") {
          await pc.setLocalDescription();
          socket.send(JSON.stringify({ type: "offer", data: pc.localDescription }));
        }
        if (message.type === "answer") {
          sdp = message.data.sdp;
          await pc.setRemoteDescription(message.data);
        }
        if (message.type === "ice-candidate") await pc.addIceCandidate(message.data);
      });
      await connected;
      return { sdp, state: pc.connectionState, kinds };
    });
    expect(sdp.match(/^m=\w+/gm)).toEqual(["m=audio"]);
    expect(sdp).toMatch(/^a=sendonly/m);
    expect(state).toBe("connected");
    expect(kinds).toEqual(["audio"]);
  });
});
