// A machine that sleeps: every process of the browser is held, and goes on later as if nothing had happened.
import { describe, expect, it } from "vitest";
import { launchWithProcess, PATIENCE_MS, REAL_TIME, rateOf, Viewer } from "./support/chromium.js";
import { pushPictures } from "./support/picture.mjs";
import { putToSleep } from "./support/processes.js";
import { cleanup, next, systemWith } from "./support.js";

/**
 * Until then the seat is gone: the kernel of the machine that seems to sleep answers, so that the server waits for a pong
 * that does not come, and then for the client to come back.
 */
const GONE_MS = 120_000;

async function watching() {
  const system = await systemWith();
  await system.start();
  const { pushed, stop } = pushPictures(system.bridge);
  cleanup(stop);
  const { browser, pid } = await launchWithProcess();
  const viewer = await Viewer.watching(browser, system.server.port ?? 0);
  await viewer.untilState("connected");
  await viewer.untilNumber(30);
  const idOf = () => viewer.page.evaluate(() => window.avatarClient.peerId);
  const peers = () => system.server.getPeers().map(({ id, state }) => ({ id, state }));
  const sleep = () => {
    const wake = putToSleep(pid);
    cleanup(wake); // A browser that is held cannot be closed.
    return wake;
  };
  return { system, viewer, pushed, idOf, peers, sleep };
}

describe("a page whose machine sleeps", () => {
  it("goes on within 3 s after ten seconds, as the same peer", REAL_TIME, async () => {
    const { system, viewer, pushed, idOf, peers, sleep } = await watching();
    const peerId = await idOf();
    const joined: string[] = [];
    system.server.on("peer-connected", ({ id }) => joined.push(id));
    const wake = sleep();
    const end = Date.now() + 10_000;
    const left = () => end - Date.now();
    await expect.poll(left, { timeout: 10_000 + PATIENCE_MS }).toBeLessThanOrEqual(0);
    expect(peers().map(({ id }) => id)).toEqual([peerId]);
    const wokenAt = Date.now();
    wake();
    const back = await viewer.backAfter(pushed, wokenAt);
    console.log(`picture back ${back.toFixed(0)} ms after a sleep of 10 s`);
    expect(back).toBeLessThan(3000);
    const frames = await viewer.framesDuring(3000);
    expect(rateOf(frames, 3000)).toBeGreaterThanOrEqual(27);
    await viewer.untilState("connected");
    expect(await idOf()).toBe(peerId);
    expect(peers()).toEqual([{ id: peerId, state: "connected" }]);
    // Who takes the seat again over another WebSocket is told of as the same.
    expect(new Set([...joined, peerId])).toEqual(new Set([peerId]));
    expect(viewer.problems).toEqual([]);
  });

  it("has the picture back within 5 s by itself after a sleep that its seat does not outlive", {
    ...REAL_TIME,
    timeout: GONE_MS + 60_000,
  }, async () => {
    const { system, viewer, pushed, idOf, peers, sleep } = await watching();
    const peerId = await idOf();
    const gone = next(system.server, "peer-disconnected");
    const wake = sleep();
    const asleepAt = Date.now();
    expect(await gone).toMatchObject({ peerId });
    expect(peers()).toEqual([]);
    const wokenAt = Date.now();
    wake();
    const back = await viewer.backAfter(pushed, wokenAt);
    const slept = ((wokenAt - asleepAt) / 1000).toFixed(1);
    console.log(`picture back ${back.toFixed(0)} ms after a sleep of ${slept} s`);
    expect(back).toBeLessThan(5000);
    const frames = await viewer.framesDuring(3000);
    expect(rateOf(frames, 3000)).toBeGreaterThanOrEqual(27);
    await viewer.untilState("connected");
    const newId = await idOf();
    expect(newId).not.toBe(peerId);
    expect(peers()).toEqual([{ id: newId, state: "connected" }]);
  });
});
