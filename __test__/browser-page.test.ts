import { mkdirSync } from "node:fs";
import path from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StreamingSystem } from "../index.js";
import { launch, PATIENCE_MS, Viewer } from "./support/chromium.js";
import { pushPictures } from "./support/picture.mjs";
import { cleanup, next, systemWith } from "./support.js";

const SCREENSHOTS = path.resolve(".cache/screenshots");

let browser: Browser;
beforeAll(async () => {
  mkdirSync(SCREENSHOTS, { recursive: true });
  browser = await launch();
});
afterAll(() => browser.close());

async function watched(): Promise<{ system: StreamingSystem; viewer: Viewer; peerId: string }> {
  const system = await systemWith();
  await system.start();
  cleanup(pushPictures(system.bridge).stop);
  const viewer = await Viewer.watching(browser, system.server.port ?? 0);
  await viewer.untilState("connected");
  const peerId = await viewer.page.evaluate(() => window.avatarClient.peerId);
  return { system, viewer, peerId: peerId ?? "" };
}

describe("the path in use", () => {
  it("stays proved in both directions: the browser's checks are answered, and it answers ours", async () => {
    const { viewer } = await watched();
    const path = () =>
      viewer.page.evaluate(async () => {
        const reports = await window.watched.connections[0]?.getStats();
        const pairs = [...(reports?.values() ?? [])].filter(
          (report) => report.type === "candidate-pair" && report.nominated,
        );
        const { requestsSent, responsesReceived, requestsReceived, responsesSent } = pairs[0] ?? {};
        return { requestsSent, responsesReceived, requestsReceived, responsesSent };
      });
    const before = await path();
    // Theirs come every 2.5 s at the latest, ours every 6.
    const patience = { timeout: PATIENCE_MS, interval: 200 };
    const heard = async () => (await path()).responsesReceived - before.responsesReceived;
    const asked = async () => (await path()).responsesSent - before.responsesSent;
    await expect.poll(heard, patience).toBeGreaterThanOrEqual(4);
    await expect.poll(asked, patience).toBeGreaterThanOrEqual(2);
    const after = await path();
    const sent = after.requestsSent - before.requestsSent;
    expect(sent - (after.responsesReceived - before.responsesReceived)).toBeLessThanOrEqual(1);
  });
});

describe("the data channel", () => {
  it("carries commands from the page to the application", async () => {
    const { system, viewer, peerId } = await watched();
    await viewer.until(
      () => document.querySelector("#log")?.textContent?.includes("Control channel open") ?? false,
    );
    const command = next(system.server, "command");
    const data = { emotion: "happy", text: "é 😀", nested: { list: [1, null, true] } };
    expect(
      await viewer.page.evaluate(
        (data) => window.avatarClient.sendCommand("change-emotion", data),
        data,
      ),
    ).toBe(true);
    expect(await command).toEqual({ peerId, command: "change-emotion", data });

    const clicked = next(system.server, "command");
    await viewer.page.click('[data-emotion="sad"]');
    expect(await clicked).toEqual({ peerId, command: "change-emotion", data: { emotion: "sad" } });
  });

  it("carries commands from the application to one page or to all", async () => {
    const { system, viewer, peerId } = await watched();
    const other = await Viewer.watching(browser, system.server.port ?? 0);
    for (const page of [viewer, other]) {
      await page.page.evaluate(() => {
        Object.assign(window, { commands: [] });
        window.avatarClient.addEventListener("command", (event) => {
          (window as unknown as { commands: unknown[] }).commands.push(
            (event as CustomEvent).detail,
          );
        });
      });
    }
    const seen = (page: Viewer) =>
      page.page.evaluate(() => (window as unknown as { commands: unknown[] }).commands);
    await expect.poll(() => system.server.sendCommand("all", "ready", {})).toBe(2);
    await expect.poll(() => seen(other)).toContainEqual({ command: "ready", data: {} });

    expect(system.server.sendCommand(peerId, "show-text", { text: "hello" })).toBe(1);
    expect(system.server.sendCommand("all", "last", [1, 2])).toBe(2);
    for (const page of [viewer, other]) {
      await expect.poll(() => seen(page)).toContainEqual({ command: "last", data: [1, 2] });
    }
    const forOne = { command: "show-text", data: { text: "hello" } };
    expect(await seen(viewer)).toContainEqual(forOne);
    expect(await seen(other)).not.toContainEqual(forOne);
    expect(system.server.sendCommand("nobody", "x")).toBe(0);
  });
});

describe("the page", () => {
  it("shows the picture and true figures, without an error", async () => {
    const { viewer } = await watched();
    const tile = (name: string) =>
      viewer.page.$eval(`[data-metric="${name}"]`, (element) => element.textContent ?? "");
    await expect
      .poll(async () => Number.parseFloat(await tile("fps")), { timeout: 15_000 })
      .toBeGreaterThanOrEqual(28);
    expect(Number.parseFloat(await tile("fps"))).toBeLessThanOrEqual(33);
    await expect.poll(async () => Number.parseFloat(await tile("bitrate"))).toBeGreaterThan(0);
    expect(await tile("resolution")).toBe("512 × 512");
    expect(await tile("codec")).toMatch(/^(H264|VP8) \+ Opus$/);
    expect(await tile("loss")).toBe("0.0 %");
    expect(await tile("latency")).toMatch(/^\d+ ms$/);
    expect(await tile("rtt")).toMatch(/^\d+ ms$/);
    await viewer.page.screenshot({ path: path.join(SCREENSHOTS, "connected.png") });
    await viewer.page.setViewportSize({ width: 390, height: 844 });
    await viewer.page.screenshot({ path: path.join(SCREENSHOTS, "phone.png"), fullPage: true });
    const tooWide = await viewer.page.evaluate(() =>
      [document.documentElement, ...document.querySelectorAll(".tiles dd")]
        .filter((box) => box.scrollWidth > box.clientWidth)
        .map((box) => box.textContent),
    );
    expect(tooWide).toEqual([]);
    expect(viewer.problems).toEqual([]);
  });

  it("disconnects and connects at a click", async () => {
    const { system, viewer } = await watched();
    const gone = next(system.server, "peer-disconnected");
    await viewer.page.click("#connect");
    await viewer.untilState("disconnected");
    await gone;
    await expect.poll(() => system.server.getPeerCount()).toBe(0);
    expect(await viewer.page.isVisible("#poster")).toBe(true);
    await viewer.page.screenshot({ path: path.join(SCREENSHOTS, "disconnected.png") });

    const before = (await viewer.frames()).length;
    await viewer.page.click("#connect");
    await viewer.untilState("connected");
    await viewer.until((count) => window.watched.frames.length > count + 10, before);
    expect(system.server.getPeerCount()).toBe(1);
    expect(viewer.problems).toEqual([]);
  });
});
