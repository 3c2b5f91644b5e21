import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { WebRTCPeer } from "../index.js";
import { launch, REAL_TIME, rateOf, Viewer } from "./support/chromium.js";
import { pushPictures } from "./support/picture.mjs";
import { cleanup, systemWith } from "./support.js";

const STREAMER = fileURLToPath(new URL("support/streamer.mjs", import.meta.url));

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

/** A system in a process of its own. */
async function spawnStreamer(port: number): Promise<{ child: ChildProcess; port: number }> {
  const child = fork(STREAMER, [String(port)], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
  cleanup(() => child.kill("SIGKILL"));
  const [message] = (await once(child, "message")) as [{ port: number }];
  return { child, port: message.port };
}

async function peersOf(child: ChildProcess): Promise<Pick<WebRTCPeer, "id" | "state">[]> {
  child.send("peers");
  const [message] = (await once(child, "message")) as [{ peers: WebRTCPeer[] }];
  return message.peers.map(({ id, state }) => ({ id, state }));
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await once(child, "exit");
}

describe("a page whose server goes away", () => {
  it(
    "has the picture back without a click when a killed server is there again",
    REAL_TIME,
    async () => {
      const first = await spawnStreamer(0);
      const viewer = await Viewer.watching(browser, first.port);
      await viewer.untilNumber(30);
      const before = (await viewer.frames()).length;

      await kill(first.child);
      await viewer.untilState("reconnecting");
      const second = await spawnStreamer(first.port);
      const restartedAt = Date.now();
      await viewer.untilState("connected");
      await viewer.until((count) => window.watched.frames.length > count, before);
      console.log(`picture back ${Date.now() - restartedAt} ms after the restart`);
      await viewer.page.waitForSelector("#poster.gone", { state: "attached" });

      const frames = await viewer.framesDuring(3000);
      expect(rateOf(frames, 3000)).toBeGreaterThanOrEqual(28);
      const peerId = await viewer.page.evaluate(() => window.avatarClient.peerId);
      expect(await peersOf(second.child)).toEqual([{ id: peerId, state: "connected" }]);
    },
  );

  it("is there once, also for a server that was stopped and started in place", async () => {
    const free = await systemWith();
    const port = free.server.port ?? 0;
    await free.stop();
    const system = await systemWith({ signalingPort: port });
    await system.start();
    system.bridge.on("warning", () => {}); // Pictures are pushed on while it is stopped.
    cleanup(pushPictures(system.bridge).stop);
    const viewer = await Viewer.watching(browser, port);
    for (let round = 0; round < 2; round++) {
      const before = (await viewer.frames()).length;
      await system.stop();
      await viewer.untilState("reconnecting");
      await system.start();
      await viewer.untilState("connected");
      await viewer.until((count) => window.watched.frames.length > count + 30, before);
    }
    const peers = system.server.getPeers().map(({ id, state }) => ({ id, state }));
    const peerId = await viewer.page.evaluate(() => window.avatarClient.peerId);
    expect(peers).toEqual([{ id: peerId, state: "connected" }]);
  });

  it("stays away once it was told to", async () => {
    const first = await spawnStreamer(0);
    const viewer = await Viewer.watching(browser, first.port);
    await viewer.page.click("#connect");
    await viewer.untilState("disconnected");
    await expect.poll(() => peersOf(first.child), { timeout: 10_000 }).toEqual([]);
    await kill(first.child);
    const second = await spawnStreamer(first.port);
    // Longer than the first tries of a page that reconnects take together.
    const end = Date.now() + 2000;
    await viewer.until((end) => Date.now() > end, end);
    expect(await peersOf(second.child)).toEqual([]);
    expect(await viewer.page.evaluate(() => window.avatarClient.state)).toBe("disconnected");
  });
});
