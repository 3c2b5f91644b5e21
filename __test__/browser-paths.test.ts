import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StreamingSystem, WebRTCConfig } from "../index.js";
import { explain } from "../web/view/problems.js";
import { launch, PATIENCE_MS, rateOf, Viewer } from "./support/chromium.js";
import { pushPictures } from "./support/picture.mjs";
import { startTurn } from "./support/turn.js";
import { cleanup, systemWith } from "./support.js";

/** A page that finds no path says so after 15 s. */
const NO_PATH_MS = 25_000;
const SECRET = "north-by-northwest";

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

/** A system that shows moving pictures. */
async function showing(config: WebRTCConfig): Promise<StreamingSystem> {
  const system = await systemWith(config);
  await system.start();
  cleanup(pushPictures(system.bridge).stop);
  return system;
}

/** The page, told to use a relay and nothing else. */
const relayed = (system: StreamingSystem) =>
  Viewer.open(browser, system.server.port ?? 0, { query: { relay: "" } });

/** What the viewer tells of its path. */
async function pathOf(system: StreamingSystem) {
  const stats = () => {
    const [peer] = system.server.getPeers();
    return peer ? system.server.getPeerStats(peer.id) : null;
  };
  await expect.poll(() => stats()?.path, { timeout: PATIENCE_MS }).toBeTruthy();
  const { path, protocol, receivedAt } = stats() ?? {};
  expect(Date.now() - (receivedAt?.getTime() ?? 0)).toBeLessThan(10_000);
  return { path, protocol };
}

describe("a browser that may only use a relay", () => {
  it("sees the avatar with the credentials that the server made for it", async () => {
    const urls = await startTurn(SECRET);
    const system = await showing({ turn: { urls, secret: SECRET } });
    const viewer = await relayed(system);
    await viewer.untilState("connected");
    await viewer.untilNumber(10);
    const frames = await viewer.framesDuring(2000);
    expect(rateOf(frames, 2000)).toBeGreaterThanOrEqual(20);
    expect(await pathOf(system)).toEqual({ path: "relay", protocol: "udp" });

    const found = (await system.doctor()).filter(({ check }) => check === "turn");
    expect(found).toMatchObject([{ severity: "ok", remedy: null }]);
  });

  it("is told that there is no path when the relay refuses it, and so is the operator", async () => {
    const urls = await startTurn(SECRET);
    const system = await showing({ turn: { urls, secret: "another secret" } });
    const viewer = await relayed(system);
    const words = viewer.page.locator("#headline:visible");
    await words
      .filter({ hasText: String(explain("no-media-path")?.wrong) })
      .waitFor({ timeout: NO_PATH_MS });
    expect(await viewer.frames()).toEqual([]);

    const found = (await system.doctor()).filter(({ check }) => check === "turn");
    expect(found).toMatchObject([{ severity: "problem" }]);
    expect(found[0]?.message).toContain("401");
    expect(found[0]?.remedy).toContain("secret");
  });
});

describe("a browser in a network without UDP", () => {
  it("sees the avatar over TCP", async () => {
    const blocked = await launch("--webrtc-ip-handling-policy=disable_non_proxied_udp");
    cleanup(() => blocked.close());
    const system = await showing({ tcpPort: 0 });
    const viewer = await Viewer.open(blocked, system.server.port ?? 0);
    await viewer.untilState("connected");
    await viewer.untilNumber(10);
    const frames = await viewer.framesDuring(2000);
    expect(rateOf(frames, 2000)).toBeGreaterThanOrEqual(20);
    expect((await pathOf(system)).protocol).toBe("tcp");
    expect(system.server.tcpPort).toBeGreaterThan(0);

    // Elsewhere UDP is used, though TCP is offered.
    const near = await Viewer.watching(browser, system.server.port ?? 0);
    const peerId = (await near.page.evaluate(() => window.avatarClient.peerId)) ?? "";
    const protocol = () => system.server.getPeerStats(peerId)?.protocol;
    await expect.poll(protocol, { timeout: PATIENCE_MS }).toBe("udp");
  });
});
