// The way back to a page that was left. Browsers may have kept it as it was (the back/forward cache), or load it anew.
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StreamingSystem } from "../index.js";
import { launchWithWayBack, PATIENCE_MS } from "./support/chromium.js";
import { streaming } from "./support/streaming.js";
import { Visitor } from "./support/visitor.js";
import { next, systemWith } from "./support.js";

let browser: Browser;
beforeAll(async () => {
  browser = await launchWithWayBack();
});
afterAll(() => browser.close());

const addressOf = ({ server }: StreamingSystem) => `http://127.0.0.1:${server.port}`;

/** Counts the most peers that are there at once from now on. */
function crowdOf({ server }: StreamingSystem): () => number {
  let most = server.getPeerCount();
  server.on("peer-connected", () => {
    most = Math.max(most, server.getPeerCount());
  });
  return () => most;
}

/** By this it is known again. */
const mark = (page: Page) => page.evaluate(() => void Object.assign(window, { isKept: true }));
const isKept = (page: Page) => page.evaluate(() => Reflect.get(window, "isKept") === true);

async function untilItMoves({ page }: Visitor): Promise<void> {
  const shown = () =>
    page.$eval("video", (video) => video.getVideoPlaybackQuality().totalVideoFrames);
  const before = await shown();
  await expect.poll(shown, { timeout: PATIENCE_MS }).toBeGreaterThan(before + 30);
}

async function isAlone({ page }: Visitor, { server }: StreamingSystem): Promise<string | null> {
  const peerId = await page.evaluate(() => window.avatarClient.peerId);
  const peers = server.getPeers().map(({ id, state }) => ({ id, state }));
  expect(peers).toEqual([{ id: peerId, state: "connected" }]);
  return peerId;
}

describe("a page that is left and come back to", () => {
  it.each([
    ["once its peer is gone", true],
    ["at once", false],
  ])("shows the avatar again as another peer, %s", async (_, isLate) => {
    const system = await streaming();
    const visitor = await Visitor.at(browser, addressOf(system));
    const { page } = visitor;
    await visitor.untilSeen();
    const first = await isAlone(visitor, system);
    const most = crowdOf(system);
    const gone = next(system.server, "peer-disconnected");
    await mark(page);
    await page.goto(`${addressOf(system)}/dashboard`);
    // The page says that it leaves: its seat does not outlive it.
    if (isLate) expect(await gone).toMatchObject({ peerId: first });
    await page.goBack({ waitUntil: "commit" });
    await visitor.untilState("connected");
    await visitor.untilSeen();
    expect(await gone).toMatchObject({ peerId: first });
    await untilItMoves(visitor);
    expect(await isAlone(visitor, system)).not.toBe(first);
    expect(most()).toBe(1);
    expect(visitor.problems).toEqual([]);
    // Chromium keeps no page that has ever had an RTCPeerConnection.
    console.log(`Chromium has kept the page: ${await isKept(page)}`);
  });

  it("that was kept while no server answered goes on with its tries, and shows the avatar", async () => {
    const free = await systemWith();
    const port = free.server.port ?? 0;
    await free.stop();
    const site = addressOf(await systemWith());
    const visitor = await Visitor.at(browser, `${site}/?server=127.0.0.1:${port}`);
    const { page } = visitor;
    await visitor.untilState("reconnecting");
    await mark(page);
    await page.goto(`${site}/dashboard`);
    const system = await streaming({ signalingPort: port });
    const most = crowdOf(system);
    await page.goBack({ waitUntil: "commit" });
    await visitor.untilState("connected");
    expect(await isKept(page)).toBe(true);
    await visitor.untilSeen();
    await untilItMoves(visitor);
    await isAlone(visitor, system);
    expect(most()).toBe(1);
    // It rested meanwhile, and has not only waited for its next try.
    await page.locator("#log", { hasText: "Disconnected." }).waitFor();
  });
});
