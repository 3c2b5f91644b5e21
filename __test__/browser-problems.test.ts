// What keeps somebody from seeing, hearing or being heard, each provoked: the page says what is wrong and what to do.
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocketServer } from "ws";
import type { StreamingSystem } from "../index.js";
import { explain, type ProblemCode } from "../web/view/problems.js";
import { launch } from "./support/chromium.js";
import { Relay } from "./support/relay.js";
import { streaming } from "./support/streaming.js";
import { DESKTOP, PHONE, Visitor } from "./support/visitor.js";
import { cleanup, join, systemWith } from "./support.js";

/** ICE may take so long to give up. */
const NO_PATH_MS = 40_000;

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

async function launched(...flags: string[]): Promise<Browser> {
  const own = await launch(...flags);
  cleanup(() => own.close());
  return own;
}

const words = (code: ProblemCode) => {
  const { wrong, remedy } = explain(code) ?? { wrong: "", remedy: "" };
  return { wrong, remedy, both: `${wrong} ${remedy}` };
};

/** What is wrong stands where the picture is to be, what to do below it, and a screen reader hears both. */
async function saysInThePicture({ page }: Visitor, code: ProblemCode, timeout?: number) {
  const { wrong, remedy, both } = words(code);
  await page.locator("#headline:visible").filter({ hasText: wrong }).waitFor({ timeout });
  expect(await page.textContent("#detail")).toBe(remedy);
  expect(await page.textContent("#announcement")).toContain(both);
}

async function saysInTheNotice({ page }: Visitor, code: ProblemCode) {
  const { both } = words(code);
  await page.getByRole("alert").filter({ hasText: both }).waitFor();
  await page.locator("#log", { hasText: both }).waitFor();
}

/** A port of this machine on which nobody listens. */
async function silentPort(): Promise<number> {
  const system = await systemWith();
  const port = system.server.port ?? 0;
  await system.stop();
  return port;
}

const at = (system: StreamingSystem, query = "") =>
  `http://127.0.0.1:${system.server.port}/${query}`;

describe("a page without a connection says", () => {
  it("that no server answers, and goes on as soon as one does", async () => {
    const port = await silentPort();
    const visitor = await Visitor.at(browser, at(await streaming(), `?server=127.0.0.1:${port}`));
    await saysInThePicture(visitor, "unreachable");
    await visitor.page.locator("#retry", { hasText: /^Trying again (now|in \d+ s)\.$/ }).waitFor();
    await streaming({ signalingPort: port });
    await visitor.untilSeen();
    expect(await visitor.page.textContent("#retry")).toBe("");
  });

  it("that the server is full, and shows the picture when a place is free", async () => {
    const system = await streaming({ maxClients: 1 });
    const { client } = await join(system.server.port ?? 0);
    const visitor = await Visitor.at(browser, at(system));
    await saysInThePicture(visitor, "server-full");
    client.socket.close();
    await visitor.untilState("connected");
    await visitor.untilSeen();
    expect(await visitor.page.textContent("#announcement")).toBe("Connected.");
  });

  it("that UDP is blocked where no relay is configured", async () => {
    const system = await streaming();
    const relay = await Relay.before(system.server.port ?? 0);
    relay.set({ blackout: true });
    const visitor = await Visitor.at(browser, at(system, `?server=${relay.url}`));
    await saysInThePicture(visitor, "no-udp-path", NO_PATH_MS);
  });

  it("that neither the direct way nor the relay works where one is configured", async () => {
    const urls = "turn:127.0.0.1:9";
    const system = await streaming({ iceServers: [{ urls, username: "a", credential: "b" }] });
    const relay = await Relay.before(system.server.port ?? 0);
    relay.set({ blackout: true });
    const visitor = await Visitor.at(browser, at(system, `?server=${relay.url}`));
    await saysInThePicture(visitor, "no-media-path", NO_PATH_MS);
  });

  it("that it has no codec of the server's", async () => {
    const system = await streaming({ videoCodec: ["VP9"] });
    const visitor = await Visitor.at(browser, at(system), {
      before: () => {
        const createOffer = RTCPeerConnection.prototype.createOffer;
        RTCPeerConnection.prototype.createOffer = function (
          this: RTCPeerConnection,
          ...options: unknown[]
        ) {
          for (const transceiver of this.getTransceivers()) {
            const { kind } = transceiver.receiver.track;
            const { codecs = [] } = RTCRtpReceiver.getCapabilities(kind) ?? {};
            const foreign = codecs.filter(({ mimeType }) => /AV1|G722/i.test(mimeType));
            transceiver.setCodecPreferences(foreign);
          }
          return createOffer.apply(this, options as never) as never;
        };
      },
    });
    await saysInThePicture(visitor, "no-shared-codec");
    await visitor.untilState("failed");
  });

  it("that the server is newer than the page", async () => {
    const newer = new WebSocketServer({ host: "127.0.0.1", port: 0 });
    cleanup(() => newer.close());
    await once(newer, "listening");
    newer.on("connection", (socket) => {
      const data = { iceServers: [], protocol: 1000, version: "1000.0.0", extensions: [] };
      socket.send(JSON.stringify({ type: "config", peerId: "a", data }));
    });
    const system = await streaming();
    const server = `ws://127.0.0.1:${(newer.address() as AddressInfo).port}`;
    const visitor = await Visitor.at(browser, at(system, `?server=${server}`));
    await saysInThePicture(visitor, "version-mismatch");
    await visitor.untilState("failed");
  });

  it("that its address cannot be used", async () => {
    const system = await streaming();
    const visitor = await Visitor.at(browser, at(system, "?server=ws://no:where"));
    await saysInThePicture(visitor, "bad-address");
    await visitor.untilState("failed");
  });

  it("that the browser has no WebRTC", async () => {
    const system = await streaming();
    const visitor = await Visitor.at(browser, at(system), {
      // As in browsers where it is switched off.
      before: () => Reflect.deleteProperty(window, "RTCPeerConnection"),
    });
    await saysInThePicture(visitor, "no-webrtc");
    await visitor.untilState("failed");
  });
});

describe("a page that is turned away", () => {
  it.each([DESKTOP, { ...PHONE, width: 320 }])(
    "says why, in the server's own words, in $width pixels",
    async (viewport) => {
      const system = await streaming();
      const visitor = await Visitor.at(browser, at(system), { viewport });
      const { page } = visitor;
      await visitor.untilSeen();
      const [peer] = system.server.getPeers();
      // As much as a close frame holds, in one word, with markup in it.
      const said = `<b>${"é".repeat(58)}</b>`;
      expect(system.server.disconnectPeer(peer?.id ?? "", said)).toBe(true);
      await visitor.untilState("failed");
      const { wrong, remedy } = words("refused");
      expect(await page.textContent("#headline")).toBe(wrong);
      expect(await page.textContent("#detail")).toBe(`The server says: “${said}”. ${remedy}`);
      expect(await page.textContent("#announcement")).toContain(`${wrong} The server says: `);
      const wide = (box: Element) => box.scrollWidth > box.clientWidth;
      expect(await page.$eval("#poster", wide)).toBe(false);
      expect(visitor.problems).toEqual([]);
    },
  );
});

describe("a page without a microphone says", () => {
  it("that it is not secure, before anybody asks, and is seen all the same", async () => {
    const own = await launched("--host-resolver-rules=MAP avatar.test 127.0.0.1");
    const system = await streaming();
    const url = `http://avatar.test:${system.server.port}/`;
    const visitor = await Visitor.at(own, url);
    expect(await visitor.page.evaluate(() => isSecureContext)).toBe(false);
    await saysInTheNotice(visitor, "insecure-context");
    await visitor.untilSeen();
    await visitor.page.getByRole("button", { name: "Dismiss" }).click();
    await visitor.page.getByRole("alert").waitFor({ state: "hidden" });
    await visitor.page.click("#microphone");
    await saysInTheNotice(visitor, "insecure-context");
    // Nor is there a clipboard: the lines are selected for the user's own copy.
    await visitor.page.click("#copy-log");
    await visitor.page.locator("#copy-log", { hasText: "Selected" }).waitFor();
    const selected = await visitor.page.evaluate(() => String(getSelection()));
    expect(selected).toContain("Connected.");
    expect(visitor.problems).toEqual([]);
  });

  it.each([
    // Headless Chromium denies what nobody has granted.
    ["microphone-denied", ["--use-fake-device-for-media-stream"]],
    ["microphone-missing", ["--use-fake-ui-for-media-stream", "--disable-audio-input"]],
    [
      "microphone-busy",
      [
        ...["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
        "--fail-audio-stream-creation",
      ],
    ],
  ] as const)("%s", async (code, flags) => {
    const own = await launched(...flags);
    const visitor = await Visitor.at(own, at(await streaming()));
    await visitor.untilState("connected");
    await visitor.page.click("#microphone");
    await saysInTheNotice(visitor, code);
    expect(await visitor.page.getAttribute("#microphone", "aria-pressed")).toBe("false");
    expect(visitor.problems).toEqual([]);
  });

  it("that it was taken away", async () => {
    const own = await launched("--use-fake-device-for-media-stream");
    const visitor = await Visitor.at(own, at(await streaming()), { permissions: ["microphone"] });
    await visitor.untilState("connected");
    await visitor.page.click("#microphone");
    await visitor.page.waitForSelector('#microphone[aria-pressed="true"]');
    await visitor.context.clearPermissions();
    await saysInTheNotice(visitor, "microphone-lost");
    await visitor.page.waitForSelector('#microphone[aria-pressed="false"]');
  });
});

describe("a page whose browser plays no sound by itself", () => {
  it.each(["#play-sound", "#sound"])(
    "plays the picture, and the sound at a click on %s",
    async (button) => {
      const system = await streaming();
      const visitor = await Visitor.cautious(at(system), system.server);
      const { page } = visitor;
      await visitor.untilSeen();
      await page.locator("#play-sound").waitFor();
      const { wrong } = words("autoplay-blocked");
      expect(await page.textContent("#play-sound-why")).toBe(wrong);
      const plays = () => page.$eval("video", ({ muted, paused }) => ({ muted, paused }));
      expect(await plays()).toEqual({ muted: true, paused: false });
      await page.click(button);
      await page.locator("#play-sound").waitFor({ state: "hidden" });
      expect(await plays()).toEqual({ muted: false, paused: false });
      expect(await page.getAttribute("#sound", "aria-pressed")).toBe("true");
      expect(visitor.problems).toEqual([]);
    },
  );

  it("shows no such button where the visitor has asked for silence", async () => {
    const { page } = await Visitor.at(browser, at(await streaming()));
    await page.waitForSelector("#poster.gone", { state: "attached" });
    await page.click("#sound");
    expect(await page.isVisible("#play-sound")).toBe(false);
    await page.click("#connect");
    await page.click("#connect");
    await page.waitForSelector("#poster.gone", { state: "attached" });
    expect(await page.$eval("video", (video) => video.muted)).toBe(true);
    expect(await page.isVisible("#play-sound")).toBe(false);
  });
});
