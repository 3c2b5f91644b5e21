// <avatar-view> in a page of somebody else's: another server, another policy, another style.
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import type { AvatarView } from "avatar-webrtc-streaming/avatar-view";
import axe from "axe-core";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StreamingSystem } from "../index.js";
import { explain } from "../web/view/problems.js";
import { launch, PATIENCE_MS } from "./support/chromium.js";
import { pushPictures } from "./support/picture.mjs";
import { type Visit, Visitor } from "./support/visitor.js";
import { cleanup, next, pcm, systemWith } from "./support.js";

const FLAGS = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];
const WEB = path.resolve("web");
/** As strict as a policy can be that lets the element work. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src ws:; require-trusted-types-for 'script'";
const TYPES: Record<string, string> = { ".js": "text/javascript", ".css": "text/css" };

let browser: Browser;
beforeAll(async () => {
  browser = await launch(...FLAGS);
});
afterAll(() => browser.close());

/** A web server with a page of these elements, and the client's files beside it. */
async function siteWith(body: string): Promise<string> {
  const html = `<!doctype html><html lang="en"><title>Somebody's page</title>
    <script type="module" src="client/avatar-view.js"></script>
    <main><h1>Our shop</h1>${body}</main></html>`;
  const server = createServer(({ url = "/" }, response) => {
    if (url === "/") {
      const headers = { "content-type": "text/html", "content-security-policy": POLICY };
      return response.writeHead(200, headers).end(html);
    }
    const file = path.join(WEB, path.normalize(url.replace("/client/", "/")));
    try {
      const type = TYPES[path.extname(file)] ?? "text/plain";
      response.writeHead(200, { "content-type": type }).end(readFileSync(file));
    } catch {
      response.writeHead(404).end();
    }
  });
  cleanup(() => {
    server.closeAllConnections();
    server.close();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

async function streaming(): Promise<{ system: StreamingSystem; src: string }> {
  const system = await systemWith({}, { microphone: { voiceGating: false } });
  await system.start();
  cleanup(pushPictures(system.bridge).stop);
  return { system, src: `ws://127.0.0.1:${system.server.port}` };
}

/** Waits until an element shows a picture that moves. */
async function untilSeen(page: Page, selector = "avatar-view"): Promise<void> {
  await page.waitForSelector(`${selector}[state="connected"]`);
  await page.waitForFunction((selector) => {
    const video = document.querySelector(selector)?.shadowRoot?.querySelector("video");
    return (video?.videoWidth ?? 0) > 0 && !video?.paused && (video?.currentTime ?? 0) > 0;
  }, selector);
}

async function watched(attributes = "", visit: Visit = {}) {
  const { system, src } = await streaming();
  const site = await siteWith(`<avatar-view src="${src}" ${attributes}></avatar-view>`);
  const visitor = await Visitor.at(browser, site, visit);
  await untilSeen(visitor.page);
  return { system, src, visitor, page: visitor.page };
}

const mutedOf = (page: Page) =>
  page.locator("avatar-view video").evaluate((video) => (video as HTMLVideoElement).muted);

describe("<avatar-view>", () => {
  it("shows the avatar with one line in a page whose policy is strict", async () => {
    const { system, visitor, page } = await watched();
    expect(await mutedOf(page)).toBe(false);
    const [peer] = system.server.getPeers();
    expect(await page.$eval("avatar-view", (view) => view.client?.peerId)).toBe(peer?.id);
    // Without `controls` and `microphone` there is nothing to press.
    expect(await page.getByRole("button").count()).toBe(0);
    const box = await page.locator("avatar-view video").boundingBox();
    expect(box?.width).toBeGreaterThan(300);
    // It is styled: the words lie over the picture, not below it.
    const poster = await page
      .locator("avatar-view .poster")
      .evaluate((poster) => getComputedStyle(poster).position);
    expect(poster).toBe("absolute");
    expect(visitor.problems).toEqual([]);
  });

  it("emits what its client emits", async () => {
    const { system, page } = await watched();
    const heard = await page.evaluateHandle(() => {
      const heard: Record<string, unknown> = {};
      for (const type of ["stats", "command", "cue"]) {
        document.querySelector("avatar-view")?.addEventListener(type, (event) => {
          heard[type] = (event as CustomEvent).detail;
        });
      }
      return heard;
    });
    await expect.poll(() => system.server.sendCommand("all", "wave", { hand: "left" })).toBe(1);
    await system.bridge.pushAudioChunk(pcm(500));
    await system.bridge.pushCue({ at: 100, data: { any: "thing" } });
    await expect
      .poll(() => heard.jsonValue(), { timeout: PATIENCE_MS })
      .toEqual({
        stats: { metrics: expect.objectContaining({ width: expect.any(Number) }) },
        command: { command: "wave", data: { hand: "left" } },
        cue: { data: { any: "thing" } },
      });
  });

  it("keeps its connection when it is moved, ends it when it is removed, and has another one when it is back", async () => {
    const { system, visitor, page } = await watched();
    const [first] = system.server.getPeers();
    await page.evaluate(() => {
      const place = document.createElement("section");
      document.body.append(place);
      place.append(document.querySelector("avatar-view") as Element);
    });
    await untilSeen(page);
    expect(system.server.getPeers().map(({ id }) => id)).toEqual([first?.id]);

    const gone = next(system.server, "peer-disconnected");
    const removed = await page.evaluateHandle(() => {
      const view = document.querySelector("avatar-view") as HTMLElement;
      view.remove();
      return view;
    });
    expect(await gone).toMatchObject({ peerId: first?.id });
    expect(await removed.evaluate((view) => (view as AvatarView).client)).toBeNull();

    await removed.evaluate((view) => document.body.append(view));
    await untilSeen(page);
    expect(system.server.getPeers().map(({ id }) => id)).not.toContain(first?.id);
    expect(system.server.getPeerCount()).toBe(1);
    expect(visitor.problems).toEqual([]);
  });

  it("goes to another server when its src is another one, and reflects its properties", async () => {
    const { system, page } = await watched();
    const other = await streaming();
    const gone = next(system.server, "peer-disconnected");
    const reflected = await page.$eval(
      "avatar-view",
      (view, src) => {
        Object.assign(view, { src, token: "let me in", microphone: true, controls: true });
        return view.getAttributeNames().map((name) => [name, view.getAttribute(name)]);
      },
      other.src,
    );
    expect(Object.fromEntries(reflected)).toMatchObject({
      src: other.src,
      token: "let me in",
      microphone: "",
      controls: "",
    });
    await gone;
    await untilSeen(page);
    expect(system.server.getPeerCount()).toBe(0);
    await expect.poll(() => other.system.server.getPeerCount()).toBe(1);
  });

  it("opens one WebSocket, however many attributes say where to, from the start or later", async () => {
    const { system, src } = await streaming();
    const site = await siteWith("<p>Nothing yet.</p>");
    const { page } = await Visitor.at(browser, site);
    const urls: string[] = [];
    page.on("websocket", (socket) => urls.push(socket.url()));
    const view = `<avatar-view src="${src}" token="a" relay></avatar-view>`;
    await page.goto(await siteWith(view));
    await expect.poll(() => system.server.getPeerCount(), { timeout: PATIENCE_MS }).toBe(1);
    const [first] = system.server.getPeers();
    await page.$eval(
      "avatar-view",
      (view, src) => {
        Object.assign(view, { token: "b", relay: false, src: `${src}/?room=1` });
      },
      src,
    );
    await untilSeen(page);
    expect(system.server.getPeers().map(({ id }) => id)).not.toContain(first?.id);
    expect(urls.map((url) => new URL(url).searchParams.get("token"))).toEqual(["a", "b"]);
  });

  it("takes what was set on it before its module was there", async () => {
    const { src } = await streaming();
    const visitor = await Visitor.at(browser, await siteWith("<avatar-view></avatar-view>"), {
      before: () => {
        // The parser has made the element, and the module has not run yet.
        document.addEventListener("readystatechange", () => {
          const view = document.querySelector("avatar-view");
          if (view && !view.shadowRoot) Object.assign(view, { controls: true, early: true });
        });
      },
    });
    const view = visitor.page.locator("avatar-view");
    await view.getByText("The element has no src.").waitFor();
    expect(await view.evaluate((view) => "early" in view && view.hasAttribute("controls"))).toBe(
      true,
    );
    await view.evaluate((view, src) => view.setAttribute("src", src), src);
    await untilSeen(visitor.page);
  });

  it("has controls for connection, sound and captions, which the keyboard reaches", async () => {
    const { system, visitor, page } = await watched("controls");
    const view = page.locator("avatar-view");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.waitForSelector('avatar-view[state="disconnected"]');
    await view.getByText("Press Connect to see the avatar.").waitFor();
    await page.keyboard.press("Space");
    await untilSeen(page);

    await page.keyboard.press("Tab");
    await page.keyboard.press("Space");
    expect(await mutedOf(page)).toBe(true);
    await page.keyboard.press("Space");
    expect(await mutedOf(page)).toBe(false);

    const say = async (text: string) => {
      await system.bridge.pushAudioChunk(pcm(1000));
      await system.bridge.pushCue({ at: 100, data: { type: "caption", text, durationMs: 60_000 } });
    };
    await say("Can you read me?");
    await view.getByText("Can you read me?").waitFor();
    await view.getByRole("button", { name: "Captions" }).click();
    await view.getByText("Can you read me?").waitFor({ state: "hidden" });
    expect(visitor.problems).toEqual([]);
  });

  it("has a button for the microphone if it is asked for one, and lets go of it when it is removed", async () => {
    const { system, visitor, page } = await watched("microphone");
    const button = page.getByRole("button", { name: "Microphone" });
    await button.click();
    await page.getByRole("button", { name: "Microphone", pressed: true }).waitFor();
    await next(system.bridge, "incoming-audio");
    await expect
      .poll(() => button.evaluate((button) => Number(button.style.getPropertyValue("--level"))))
      .toBeGreaterThan(0.3);
    const track = await page.evaluateHandle(() => {
      const view = document.querySelector("avatar-view");
      const senders = view?.client?.peerConnection?.getSenders() ?? [];
      const track = senders.find(({ track }) => track?.kind === "audio")?.track;
      view?.remove();
      return track;
    });
    await expect.poll(() => track.evaluate((track) => track?.readyState)).toBe("ended");
    expect(visitor.problems).toEqual([]);
  });

  it("starts without sound where the browser wants a click first", async () => {
    const { system, src } = await streaming();
    const site = await siteWith(`<avatar-view src="${src}"></avatar-view>`);
    const { page, problems } = await Visitor.cautious(site, system.server);
    await untilSeen(page);
    expect(await mutedOf(page)).toBe(true);
    await page.getByRole("button", { name: "Play sound" }).click();
    await page.getByRole("button", { name: "Play sound" }).waitFor({ state: "hidden" });
    expect(await mutedOf(page)).toBe(false);
    expect(problems).toEqual([]);
  });

  it("says what is wrong", async () => {
    const site = await siteWith('<avatar-view src="ws://127.0.0.1:1024"></avatar-view>');
    const { page } = await Visitor.at(browser, site);
    const view = page.locator("avatar-view");
    const { wrong = "", remedy = "" } = explain("unreachable") ?? {};
    await view.locator(".headline", { hasText: wrong }).waitFor();
    await view.locator(".detail", { hasText: remedy }).waitFor();
    await view.locator(".retry", { hasText: "Trying again" }).waitFor();
  });

  it("names no button that is not there, and says why somebody was turned away all the same", async () => {
    const { system, page } = await watched();
    const detail = page.locator("avatar-view .detail");
    await page.$eval("avatar-view", (view) => view.client?.disconnect());
    await page.waitForSelector('avatar-view[state="disconnected"]');
    expect(await detail.textContent()).toBe("");
    await page.$eval("avatar-view", (view) => view.client?.connect());
    await untilSeen(page);
    for (const { id } of system.server.getPeers()) system.server.disconnectPeer(id, "not today");
    await page.waitForSelector('avatar-view[state="failed"]');
    const { remedy } = explain("refused") ?? {};
    expect(await detail.textContent()).toBe(`The server says: “not today”. ${remedy}`);
  });

  it.each(["light", "dark"] as const)(
    "has nothing that axe objects to in a %s page",
    async (colorScheme) => {
      const { page } = await watched("microphone controls", { colorScheme });
      await page.evaluate(axe.source);
      const found = await page.evaluate(async () => {
        const { violations } = await (window as unknown as { axe: typeof axe }).axe.run();
        return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html)}`);
      });
      expect(found).toEqual([]);
    },
  );
});
