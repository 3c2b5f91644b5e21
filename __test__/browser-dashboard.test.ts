// The operator's dashboard against a server with viewers, and with more of them than a test can bring.
import { mkdirSync } from "node:fs";
import path from "node:path";
import axe from "axe-core";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StreamingSystem } from "../index.js";
import type { Answer, Peer } from "../web/dashboard/dashboard-data.js";
import { launch, PATIENCE_MS, problemsOf, REAL_TIME, Viewer } from "./support/chromium.js";
import { pushPictures } from "./support/picture.mjs";
import { Relay } from "./support/relay.js";
import { cleanup, join, systemWith } from "./support.js";

const SCREENSHOTS = path.resolve(".cache/screenshots");
const DATA = "**/dashboard/data";
/** What an update of the page may take of its main thread, drawing included. */
const UPDATE_MS = 50;
const UPDATES = 7;

const patience = { timeout: PATIENCE_MS, interval: 100 };

let browser: Browser;
beforeAll(async () => {
  mkdirSync(SCREENSHOTS, { recursive: true });
  browser = await launch();
});
afterAll(() => browser.close());

/** The dashboard of a server, and what went wrong in it. */
async function openDashboard(
  port: number,
  before: (page: Page) => Promise<unknown> = async () => {},
): Promise<{ page: Page; problems: string[] }> {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  cleanup(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const problems = problemsOf(page);
  // An answer that is under way when the test ends is nobody's.
  cleanup(() => page.unrouteAll({ behavior: "ignoreErrors" }));
  await before(page);
  await page.goto(`http://127.0.0.1:${port}/dashboard`);
  return { page, problems };
}

/** A system that is streaming; `end` stops it for good. */
async function streaming(): Promise<{
  system: StreamingSystem;
  port: number;
  end: () => Promise<void>;
}> {
  const system = await systemWith();
  await system.start();
  const { stop } = pushPictures(system.bridge);
  cleanup(stop);
  const end = () => {
    stop();
    return system.stop();
  };
  return { system, port: system.server.port ?? 0, end };
}

async function answerOf(port: number): Promise<Answer> {
  const response = await fetch(`http://127.0.0.1:${port}/dashboard/data`);
  expect(response.status).toBe(200);
  return (await response.json()) as Answer;
}

const figure = (page: Page, name: string) =>
  page.$eval(`[data-figure="${name}"]`, (element) => element.textContent ?? "");
const number = async (page: Page, name: string) => Number.parseFloat(await figure(page, name));
const pill = (page: Page) => page.$eval("#state", (element) => element.textContent ?? "");
const notice = (page: Page) => page.$eval("#notice", (element) => element.textContent ?? "");

/** As if the page's tab was covered, or shown. */
const see = (page: Page, state: "hidden" | "visible") =>
  page.evaluate((state) => {
    Object.defineProperty(document, "hidden", { value: state === "hidden", configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, state);

/** What stands in a column, from the top, of the rows that are drawn. */
const column = (page: Page, name: string) =>
  page.$$eval(name === "id" ? "#rows .id" : `#rows td[data-column="${name}"]`, (cells) =>
    cells.map((cell) => cell.textContent ?? ""),
  );

/** Each peer many times over, with ids and addresses of their own and values that change with every answer. */
function enlarged(answer: Answer, count: number, nth: number): Answer {
  const [peer] = answer.peers;
  if (!peer) throw new Error("there is no peer to enlarge");
  const peers = Array.from({ length: count }, (_, n): Peer => {
    const wave = (n * 7919 + nth * 104_729) % 1000;
    return {
      ...peer,
      id: `${(n * 2_654_435_761) % 2 ** 32}`.padStart(8, "0") + peer.id.slice(8),
      address: `198.51.${Math.floor(n / 256)}.${n % 256}`,
      createdAt: peer.createdAt - n * 1000,
      statistics: {
        receivedAt: answer.time,
        latencyMs: wave,
        packetLossPercent: wave / 500,
        roundTripTimeMs: wave / 10,
        framesPerSecond: 30 - (wave % 3),
        freezeCount: n % 5,
        bitrateBps: 1e6 + wave * 1000,
        jitterBufferMs: wave / 20,
        lipSyncSkewMs: (wave % 100) - 50,
        videoCodec: n % 3 === 0 ? "VP8" : "H264",
        audioCodec: "Opus",
        path: n % 10 === 0 ? "relay" : "host",
        protocol: "udp",
      },
    };
  });
  return { ...answer, peers, maxClients: count };
}

describe("the dashboard", () => {
  it("agrees with the server's peers and with what is pushed", REAL_TIME, async () => {
    const { system, port } = await streaming();
    for (const _ of [1, 2]) {
      const viewer = await Viewer.watching(browser, port);
      await viewer.untilState("connected");
    }
    // One that has a WebSocket and no media.
    await join(port);
    const { page, problems } = await openDashboard(port);
    await expect.poll(() => figure(page, "viewers"), patience).toBe("2 / 100");
    expect(await figure(page, "viewers-more")).toBe("and 1 not connected");
    expect(await pill(page)).toBe("Live");
    const fps = async () => Math.abs((await number(page, "fps")) - 30);
    await expect.poll(fps, patience).toBeLessThan(3);
    await expect.poll(() => number(page, "load"), patience).toBeGreaterThan(0);
    expect(await figure(page, "bitrate")).toMatch(/^[\d.]+ [kM]b\/s$/);

    const peers = system.server.getPeers();
    await expect.poll(async () => (await column(page, "id")).length, patience).toBe(peers.length);
    const ids = await column(page, "id");
    expect(ids.toSorted()).toEqual(peers.map(({ id }) => id).toSorted());
    const states = await column(page, "state");
    for (const { id, state } of peers) expect(states[ids.indexOf(id)]).toBe(state);
    // What the pages tell of themselves comes each 2 s.
    const known = async (name: string) =>
      (await column(page, name)).filter((text) => text !== "–").length;
    for (const name of ["fps", "rtt", "codec", "path", "bitrate", "buffer"]) {
      await expect.poll(() => known(name), { ...patience, message: name }).toBe(2);
    }
    expect(new Set(await column(page, "address"))).toEqual(new Set(["127.0.0.1"]));

    const plot = page.getByRole("img", {
      name: /^Frame rate: pushed (2[7-9]|3[0-3])(\.\d)? fps, /,
    });
    await expect.poll(() => plot.count(), patience).toBe(1);
    expect(await page.locator("#plots canvas").count()).toBe(8);
    await page.screenshot({ path: path.join(SCREENSHOTS, "dashboard.png"), fullPage: true });
    expect(problems).toEqual([]);
  });

  it("shows who comes and goes, and keeps the row of who stays", async () => {
    const { system, port } = await streaming();
    const stays = await join(port);
    const { page } = await openDashboard(port);
    await expect.poll(() => column(page, "id"), patience).toEqual([stays.peerId]);
    const row = await page.$("#rows [data-id]");
    const goes = await join(port);
    // The newest is on top.
    await expect.poll(() => column(page, "id"), patience).toEqual([goes.peerId, stays.peerId]);
    goes.client.socket.close();
    await expect.poll(() => column(page, "id"), patience).toEqual([stays.peerId]);
    expect(await row?.evaluate((element) => element.isConnected)).toBe(true);
    const { joins, drops } = await answerOf(port);
    expect([joins, drops.total]).toEqual([2, 1]);
    const counted = await page.$$eval("#counters-joins-and-drops > div", (lines) =>
      lines.map((line) => [line.children[0]?.textContent, line.children[1]?.textContent]),
    );
    expect(counted.slice(0, 2)).toEqual([
      ["joins", "2"],
      ["drops", "1"],
    ]);
    expect(counted.slice(2)).toHaveLength(Object.keys(drops.byReason).length);
    expect(system.server.getPeerCount()).toBe(1);
  });

  it("says whose WebSocket is lost while its media goes on, until it is back", async () => {
    const { port } = await streaming();
    const relay = await Relay.before(port);
    const viewer = await Viewer.watching(browser, port, { server: relay.url });
    await viewer.untilState("connected");
    const { page } = await openDashboard(port);
    await expect.poll(() => column(page, "state"), patience).toEqual(["connected"]);
    // No way for signalling, a free one for the media.
    relay.darken();
    relay.set({ blackout: false });
    relay.cut();
    await expect.poll(() => column(page, "state"), patience).toEqual(["connected, media only"]);
    await page.check("#troubled");
    expect(await column(page, "state")).toEqual(["connected, media only"]);
    relay.lighten();
    // Its try in the dark has to be given up first.
    const longer = { ...patience, timeout: 2 * PATIENCE_MS };
    await expect.poll(() => column(page, "state"), longer).toEqual([]);
    await page.uncheck("#troubled");
    expect(await column(page, "state")).toEqual(["connected"]);
  });

  it("says that the server is gone, and begins anew with the next one on the same port", async () => {
    const { port, end } = await streaming();
    const { page } = await openDashboard(port);
    await expect.poll(() => pill(page), patience).toBe("Live");
    await end();
    await expect.poll(() => pill(page), patience).toBe("Connection lost");
    expect(await notice(page)).toMatch(/^The server has not answered since \d\d:\d\d:\d\d\./);
    await page.screenshot({ path: path.join(SCREENSHOTS, "dashboard-lost.png") });

    await systemWith({ signalingPort: port });
    await expect.poll(() => pill(page), patience).toBe("The bridge is stopped");
    expect(await page.isHidden("#notice")).toBe(true);
    expect(await page.textContent("#history")).toMatch(
      /since the server was restarted at \d\d:\d\d:\d\d$/,
    );
    const drawn = page.getByRole("img", { name: /^Viewers: connected 0, all 0$/ });
    expect(await drawn.count()).toBe(1);
  });

  it("shows the sentence that a server refuses it with", async () => {
    const { port } = await streaming();
    const { page } = await openDashboard(port, (page) =>
      page.route(DATA, (route) =>
        route.fulfill({ status: 403, body: "the dashboard is shown to this machine only\n" }),
      ),
    );
    await expect.poll(() => pill(page), patience).toBe("Not allowed");
    expect(await notice(page)).toBe("The dashboard is shown to this machine only.");
  });

  it("does not ask while nobody can see it, and at once when somebody can again", async () => {
    const { port } = await streaming();
    let asked = 0;
    const { page } = await openDashboard(port, (page) =>
      page.route(DATA, (route) => {
        asked++;
        return route.continue();
      }),
    );
    await expect.poll(() => asked, patience).toBeGreaterThan(2);
    await see(page, "hidden");
    const before = asked;
    // As long as another one that can be seen takes to ask four times.
    let askedElsewhere = 0;
    await openDashboard(port, (page) =>
      page.route(DATA, (route) => {
        askedElsewhere++;
        return route.continue();
      }),
    );
    await expect.poll(() => askedElsewhere, patience).toBeGreaterThanOrEqual(4);
    expect(asked - before).toBeLessThanOrEqual(1); // The one that was under way.
    const hidden = asked;
    await see(page, "visible");
    await expect.poll(() => asked, { ...patience, timeout: 900 }).toBeGreaterThan(hidden);
  });
});

describe.each(["light", "dark"] as const)("the dashboard, %s", (colorScheme) => {
  /** What axe finds, at the size of a desktop and of a phone. */
  async function violations(page: Page): Promise<string[]> {
    const found: string[] = [];
    for (const width of [1440, 390]) {
      await page.setViewportSize({ width, height: 900 });
      await page.evaluate(axe.source); // Not as a script element: the page's policy forbids foreign ones.
      const here = await page.evaluate(async () => {
        const { violations } = await (window as unknown as { axe: typeof axe }).axe.run();
        return violations.flatMap(({ id, nodes }) =>
          nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`),
        );
      });
      found.push(...here);
    }
    return found;
  }

  it("has nothing that axe objects to, live and with the connection lost", async () => {
    const { port, end } = await streaming();
    await join(port);
    await Viewer.watching(browser, port);
    const { page } = await openDashboard(port, (page) => page.emulateMedia({ colorScheme }));
    await expect.poll(async () => (await column(page, "id")).length, patience).toBe(2);
    await page.click('#columns [data-column="latency"] button');
    expect(await violations(page)).toEqual([]);
    await page.screenshot({ path: path.join(SCREENSHOTS, `dashboard-${colorScheme}.png`) });
    await end();
    await expect.poll(() => pill(page), patience).toBe("Connection lost");
    expect(await violations(page)).toEqual([]);
  });
});

describe("a plot", () => {
  const drawn = (page: Page) =>
    page.$eval("#plots canvas", (canvas) => (canvas as HTMLCanvasElement).toDataURL());

  it("is drawn anew in another theme and at another width, without new values", async () => {
    const { port } = await streaming();
    const { page } = await openDashboard(port);
    await expect.poll(() => pill(page), patience).toBe("Live");
    await see(page, "hidden");
    await page.emulateMedia({ colorScheme: "light" });
    const light = await drawn(page);
    await page.emulateMedia({ colorScheme: "dark" });
    await expect.poll(() => drawn(page), patience).not.toBe(light);
    await page.setViewportSize({ width: 500, height: 900 });
    const overhang = () =>
      page.$eval("#plots .plot-body", (body) => {
        const canvas = body.querySelector("canvas") as HTMLCanvasElement;
        return canvas.getBoundingClientRect().width - body.getBoundingClientRect().width;
      });
    await expect.poll(overhang, patience).toBe(0);
  });
});

describe.each([500, 2000])("with %i viewers", (count) => {
  /** The dashboard of a server with one viewer, of whom there seem to be many. */
  async function crowded(onRequest: () => unknown = () => {}) {
    const { port } = await streaming();
    await join(port);
    let nth = 0;
    const { page, problems } = await openDashboard(port, (page) =>
      page.route(DATA, async (route) => {
        await onRequest();
        const response = await route.fetch();
        const answer = enlarged((await response.json()) as Answer, count, nth++);
        await route.fulfill({ response, json: answer });
      }),
    );
    const matches = () => page.textContent("#matches");
    await expect.poll(matches, patience).toBe(`${count}`);
    return { page, problems, matches };
  }

  it("takes little of the main thread for an update, and draws few rows", REAL_TIME, async () => {
    let onRequest = async () => {};
    const { page, problems } = await crowded(() => onRequest());
    const session = await page.context().newCDPSession(page);
    // Of the thread's own time: what else the machine does is not the page's doing.
    await session.send("Performance.enable", { timeDomain: "threadTicks" });
    const busyMs = async () => {
      const { metrics } = await session.send("Performance.getMetrics");
      return (metrics.find(({ name }) => name === "TaskDuration")?.value ?? 0) * 1000;
    };
    for (const by of ["id", "latency"]) {
      await page.click(`#columns [data-column="${by}"] button`);
      // From request to request: all that an answer leads to lies between.
      const readings: number[] = [];
      onRequest = async () => void readings.push(await busyMs());
      await expect.poll(() => readings.length, { ...patience, interval: 200 }).toBe(UPDATES + 1);
      onRequest = async () => {};
      const took = readings.slice(1).map((reading, n) => reading - (readings[n] ?? 0));
      const median = took.toSorted((a, b) => a - b)[Math.floor(UPDATES / 2)] ?? 0;
      console.log(
        `${count} viewers by ${by}: ${median.toFixed(1)} ms of the main thread an update`,
      );
      expect(median).toBeLessThan(UPDATE_MS);
    }
    expect((await column(page, "id")).length).toBeLessThan(60);
    await page.screenshot({ path: path.join(SCREENSHOTS, `dashboard-${count}.png`) });
    expect(problems).toEqual([]);
  });

  it("sorts at a press of a heading, by mouse and by keyboard", async () => {
    const { page } = await crowded();
    const heading = page.locator('#columns [data-column="latency"]');
    const latencies = async () =>
      (await column(page, "latency")).map((text) => Number.parseFloat(text));
    await heading.getByRole("button").click();
    expect(await heading.getAttribute("aria-sort")).toBe("descending");
    const falling = await latencies();
    expect(falling.length).toBeGreaterThan(10);
    expect(falling).toEqual(falling.toSorted((a, b) => b - a));
    await page.keyboard.press("Enter");
    expect(await heading.getAttribute("aria-sort")).toBe("ascending");
    const rising = await latencies();
    expect(rising).toEqual(rising.toSorted((a, b) => a - b));
    expect(await page.locator("[aria-sort]").count()).toBe(1);
  });

  it("finds one by its address, and all by scrolling", async () => {
    const { page, matches } = await crowded();
    await page.fill("#filter", "198.51.1.77");
    expect(await matches()).toBe(`1 of ${count}`);
    expect(await column(page, "address")).toEqual(["198.51.1.77"]);
    await page.fill("#filter", "nobody");
    expect(await page.textContent("#empty")).toBe("No viewer matches the filter.");
    await page.fill("#filter", "");
    // The oldest is the last.
    await page.$eval("#scroller", (scroller) => scroller.scrollTo(0, scroller.scrollHeight));
    const last = `198.51.${Math.floor((count - 1) / 256)}.${(count - 1) % 256}`;
    await expect.poll(async () => (await column(page, "address")).at(-1), patience).toBe(last);
    const row = page.locator("#rows [data-id]").last();
    expect(await row.getAttribute("aria-rowindex")).toBe(`${count + 1}`);
    expect(await page.getAttribute("#viewers", "aria-rowcount")).toBe(`${count + 1}`);
  });

  it("is walked through by the keyboard, and gives an id to whoever asks for it", async () => {
    const { page } = await crowded();
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    // One stop for all the rows; the arrows lead on from there, beyond those that were drawn at first.
    const stops = page.locator('#rows button[tabindex="0"]');
    expect(await stops.count()).toBe(1);
    await stops.focus();
    for (let n = 0; n < 60; n++) await page.keyboard.press("ArrowDown");
    const at = () =>
      page.evaluate(() => document.activeElement?.closest("tr")?.getAttribute("aria-rowindex"));
    expect(await at()).toBe("62");
    expect(await stops.count()).toBe(1);
    const id = await page.evaluate(() => document.activeElement?.closest("tr")?.dataset.id);
    await page.keyboard.press("Enter");
    await expect.poll(() => page.textContent("#told"), patience).toBe(`Copied ${id}.`);
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(id);
  });

  it("fits a telephone, where only the table scrolls sideways", async () => {
    const { page } = await crowded();
    await page.setViewportSize({ width: 390, height: 844 });
    await page.screenshot({ path: path.join(SCREENSHOTS, `dashboard-phone-${count}.png`) });
    const { width, inner } = await page.evaluate(() => ({
      width: document.documentElement.scrollWidth,
      inner: innerWidth,
    }));
    expect(width).toBeLessThanOrEqual(inner);
  });
});
