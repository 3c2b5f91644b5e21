import { mkdirSync } from "node:fs";
import path from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StreamingSystem } from "../index.js";
import { launch, PATIENCE_MS, Viewer } from "./support/chromium.js";
import { pushPictures } from "./support/picture.mjs";
import { PHONE, type Visit, Visitor } from "./support/visitor.js";
import { cleanup, next, pcm, systemWith } from "./support.js";

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

/** A system with pictures, and somebody who sees them. */
async function visited(visit: Visit = {}, query = "", flags: string[] = []) {
  const system = await systemWith({}, { microphone: { voiceGating: false } });
  await system.start();
  cleanup(pushPictures(system.bridge).stop);
  const own = flags.length > 0 ? await launch(...flags) : browser;
  if (own !== browser) cleanup(() => own.close());
  const url = `http://127.0.0.1:${system.server.port}/${query}`;
  const visitor = await Visitor.at(own, url, visit);
  await visitor.untilState("connected");
  await visitor.untilSeen();
  return { system, visitor, page: visitor.page };
}

describe("a person at the page", () => {
  it("finds every control with the keyboard, sees where the focus is, and uses it", async () => {
    const { visitor, page } = await visited();
    const order = ["details", "connect", "sound", "captions", "microphone", "copy-log"];
    for (const id of order) {
      await visitor.tabTo(id);
      const outline = await page.$eval(`#${id}`, (button) => getComputedStyle(button).outlineStyle);
      expect([id, outline]).toEqual([id, "solid"]);
    }
    await page.focus("#connect");
    await page.keyboard.press("Enter");
    await visitor.untilState("disconnected");
    await page.keyboard.press("Space");
    await visitor.untilState("connected");
    await page.focus("#sound");
    await page.keyboard.press("Space");
    await page.waitForSelector('#sound[aria-pressed="false"]');
    expect(await page.$eval("video", (video) => video.muted)).toBe(true);
    await page.keyboard.press("Enter");
    await page.waitForSelector('#sound[aria-pressed="true"]');
    expect(await page.$eval("video", (video) => video.muted)).toBe(false);
    expect(visitor.problems).toEqual([]);
  });

  it("reads captions when their moment is heard, unless they are switched off", async () => {
    const { system, page } = await visited();
    const patience = { timeout: PATIENCE_MS };
    const caption = page.locator("#caption");
    const say = async (data: unknown) => {
      await system.bridge.pushAudioChunk(pcm(1000));
      await system.bridge.pushCue({ at: 200, data });
    };
    await say({ type: "caption", text: "Good morning. <b>Not bold</b>", durationMs: 60_000 });
    await caption.filter({ hasText: "Good morning. <b>Not bold</b>" }).waitFor();
    // Another cue is no caption; a plain string is.
    await say({ type: "viseme", text: "aa" });
    await say("And good night.");
    await caption.filter({ hasText: /^And good night\.$/ }).waitFor();
    // It goes by itself once there was time to read it.
    await caption.waitFor({ state: "hidden" });

    await page.click("#captions");
    expect(await page.getAttribute("#captions", "aria-pressed")).toBe("false");
    const cues = await page.evaluateHandle(() => {
      const cues: unknown[] = [];
      window.avatarClient.addEventListener("cue", ({ detail }: CustomEventInit) => {
        cues.push(detail.data);
      });
      return cues;
    });
    await say("Nobody reads this.");
    await expect.poll(() => cues.jsonValue(), patience).toEqual(["Nobody reads this."]);
    expect(await caption.isVisible()).toBe(false);
    await page.click("#captions");
    await say("Read again.");
    await caption.filter({ hasText: "Read again." }).waitFor();
    await system.interrupt();
    await caption.waitFor({ state: "hidden" });
  });

  it("speaks, sees the level, and changes the microphone while it is on", async () => {
    const flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];
    const { system, visitor, page } = await visited({}, "", flags);
    expect(await page.isVisible("#microphone-device")).toBe(false);
    await page.click("#microphone");
    await page.waitForSelector('#microphone[aria-pressed="true"]');
    await expect
      .poll(async () => Number(await page.getAttribute("#level", "aria-valuenow")))
      .toBeGreaterThanOrEqual(40);
    const names = await page.locator("#microphone-device option").allTextContents();
    expect(names.length).toBeGreaterThanOrEqual(2);

    await next(system.bridge, "incoming-audio");
    const wanted = names.at(-1) ?? "";
    await page.selectOption("#microphone-device", { label: wanted });
    await page.locator("#log", { hasText: `Microphone on: ${wanted}` }).waitFor();
    const label = () =>
      page.evaluate(
        () =>
          window.avatarClient.peerConnection
            ?.getSenders()
            .find(({ track }) => track?.kind === "audio")?.track?.label,
      );
    await expect.poll(label).toBe(wanted);
    await next(system.bridge, "incoming-audio");
    expect(
      await page.$eval(
        "#microphone-device",
        (select) => (select as HTMLSelectElement).selectedOptions[0]?.label,
      ),
    ).toBe(wanted);

    await page.click("#connect");
    await page.waitForSelector('#microphone[aria-pressed="false"]');
    expect(visitor.problems).toEqual([]);
  });

  it("filters the log, copies what is shown, and clears it", async () => {
    const { visitor, page } = await visited({ permissions: ["clipboard-read", "clipboard-write"] });
    const shown = () => page.locator("#log li:visible").allTextContents();
    expect((await shown()).length).toBeGreaterThan(3);
    await page.fill("#log-filter", "RECEIVING");
    const lines = await shown();
    expect(lines.map((line) => line.replace(/^[\d:.]+ /, ""))).toEqual([
      expect.stringMatching(/^Receiving (audio|video)\.$/),
      expect.stringMatching(/^Receiving (audio|video)\.$/),
    ]);
    expect(await page.textContent("#log-count")).toMatch(/^2 of \d+ lines$/);
    await page.click("#copy-log");
    await page.locator("#copy-log", { hasText: "Copied" }).waitFor();
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(lines.join("\n"));

    await page.fill("#log-filter", "");
    await page.selectOption("#log-level", "error");
    expect(await shown()).toEqual([]);
    await page.selectOption("#log-level", "info");
    await page.click("#clear-log");
    expect(await shown()).toEqual([]);
    await page.click("#connect");
    await page.locator("#log", { hasText: "Disconnected." }).waitFor();
    expect(visitor.problems).toEqual([]);
  });

  it("puts the details away, and finds them so the next time", async () => {
    const { visitor, page } = await visited();
    const width = () => page.$eval(".screen", (screen) => screen.getBoundingClientRect().width);
    expect(await width()).toBeGreaterThan(500);
    await page.click("#details");
    expect(await page.isVisible("#side")).toBe(false);
    await page.reload();
    await visitor.untilSeen();
    expect(await page.isVisible("#side")).toBe(false);
    expect(await page.getAttribute("#details", "aria-expanded")).toBe("false");
    await page.click("#details");
    expect(await page.isVisible("#side")).toBe(true);
    expect(await width()).toBeGreaterThan(500);
  });

  it("sees by which path the media come, and plots of the last minutes", async () => {
    const { system, page } = await visited();
    await system.bridge.pushAudioChunk(pcm(30_000));
    const tile = (name: string) => page.locator(`[data-metric="${name}"]`);
    await tile("path")
      .filter({ hasText: /^(host|prflx) \/ udp$/ })
      .waitFor();
    await tile("buffer")
      .filter({ hasText: /^\d+ ms$/ })
      .waitFor();
    await tile("skew")
      .filter({ hasText: /^-?\d+ ms$/ })
      .waitFor();
    await page.locator("#latency-kind", { hasText: /^(measured|estimated)$/ }).waitFor();
    for (const name of ["delay", "bitrate", "fps", "loss"]) {
      const plot = page.locator(`#plot-${name}`);
      await expect.poll(() => plot.getAttribute("aria-label")).toMatch(/\d/);
      expect((await plot.locator("canvas").boundingBox())?.height).toBeGreaterThan(50);
    }
  });

  it("is let in by the token of the page's address, and takes only relays if it asks for them", async () => {
    const system = await systemWith();
    await system.start();
    const visitor = await Visitor.at(browser, "about:blank");
    const socket = visitor.page.waitForEvent("websocket");
    await visitor.page.goto(`http://127.0.0.1:${system.server.port}/?token=let%20me%20in&relay`);
    expect(new URL((await socket).url()).searchParams.get("token")).toBe("let me in");
    const policy = () =>
      visitor.page.evaluate(
        () => window.avatarClient.peerConnection?.getConfiguration().iceTransportPolicy,
      );
    await expect.poll(policy).toBe("relay");
  });

  it("scrolls only up and down, on the smallest phone too", async () => {
    const { visitor, page } = await visited({ viewport: { ...PHONE, width: 320 } });
    await page.locator('[data-metric="bitrate"]', { hasText: /\d/ }).waitFor();
    const tooWide = await page.evaluate(() =>
      [document.documentElement, ...document.querySelectorAll(".tiles dd, .tiles dt, button")]
        .filter((box) => box.scrollWidth > box.clientWidth + 1)
        .map((box) => box.outerHTML.slice(0, 80)),
    );
    expect(tooWide).toEqual([]);
    expect(visitor.problems).toEqual([]);
  });
});
