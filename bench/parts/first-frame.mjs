// How long a viewer waits for the first picture, from its open WebSocket on: alone, among many, in a herd (where
// the time until the WebSocket is open counts too, since the herd comes to that door first).

import { launchChromium, withPage } from "../lib/chromium.mjs";
import { Crowd } from "../lib/crowd.mjs";
import { measurePoint } from "../lib/point.mjs";
import { delay } from "../lib/process.mjs";
import { Server } from "../lib/server.mjs";
import { quantile } from "../lib/statistics.mjs";

const MANY = 500;
const HERD = 100;
const STEPS = /** @type {const} */ (["offer", "answer", "ice", "dtls", "decoded", "frame"]);

/**
 * Between two visits, in ms. Each costs all viewers a keyframe, so that the engine makes those who come sooner
 * wait for a common one (`encode/keyframe.rs`); that is what the herd is about.
 */
const APART_MS = 2_500;

/** @typedef {import("../lib/report.mjs").Row} Row */
/** @typedef {{ native: any[], chromium: Record<string, number>[] }} Visits */

/**
 * @param {import("../lib/report.mjs").Context} context
 * @returns {Promise<import("../lib/report.mjs").Result>}
 */
export async function measure({ quick, log }) {
  const visits = quick ? 4 : 10;
  log("alone");
  const alone = await withServer((server) => visitAll(server, visits));
  log(`among ${MANY}`);
  // As long as the visits may take; the crowd stays meanwhile.
  const seconds = 10 + 2 * visits * (APART_MS / 1000 + 1.5);
  const { extra: among } = await measurePoint({
    viewers: MANY,
    seconds,
    during: (server) => visitAll(server, visits, APART_MS),
  });
  log(`a herd of ${HERD}`);
  const herd = await withServer((server) => join(server, HERD));
  return {
    rows: [
      nativeRow("first frame alone", merge(alone.native), { p95: 150 }),
      chromiumRow("first frame in Chromium alone", alone.chromium),
      nativeRow(`first frame among ${MANY}`, merge(among.native)),
      chromiumRow(`first frame in Chromium among ${MANY}`, among.chromium),
      nativeRow(`first frame in a herd of ${HERD}`, herd, { p95: 500 }),
    ],
    values: { alone, among, herd },
  };
}

/**
 * @template T
 * @param {(server: Server) => Promise<T>} use
 */
async function withServer(use) {
  const server = await Server.start({ maxClients: 2 * HERD });
  try {
    return await use(server);
  } finally {
    await server.stop();
  }
}

/**
 * @param {Server} server
 * @param {number} visits
 * @param {number} [apartMs]
 * @returns {Promise<Visits>}
 */
async function visitAll(server, visits, apartMs = 0) {
  /** @type {Visits} */
  const seen = { native: [], chromium: [] };
  for (let n = 0; n < visits; n++) {
    await delay(apartMs);
    seen.native.push(await join(server, 1));
  }
  const browser = await launchChromium();
  try {
    for (let n = 0; n < visits; n++) {
      await delay(apartMs);
      seen.chromium.push(await withPage(browser, server.url, record, stepsOf));
    }
  } finally {
    await browser.close();
  }
  return seen;
}

/**
 * So many native viewers at the same moment.
 * @param {Server} server
 * @param {number} count
 */
async function join(server, count) {
  const options = { urls: [server.url], count, seconds: 0.2, joinRate: 1e5, decode: 1 };
  const crowd = new Crowd(options);
  try {
    await crowd.joined;
    return (await crowd.report).connect;
  } finally {
    await crowd.stop();
  }
}

/**
 * Single joins as one distribution, counted from the open WebSocket on.
 * @param {any[]} connects
 * @returns {any}
 */
function merge(connects) {
  return Object.fromEntries(
    Object.keys(connects[0]).map((step) => {
      const times = connects.map((connect) => connect[step].p50 - connect.websocketMs.p50);
      return [step, { p50: quantile(times, 0.5), p95: quantile(times, 0.95) }];
    }),
  );
}

/**
 * @param {string} what
 * @param {any} connect
 * @param {{ p95: number }} [aim]
 * @returns {Row}
 */
function nativeRow(what, connect, aim) {
  const split = /** @type {const} */ ([
    ["signalling", "answerMs"],
    ["ICE", "iceMs"],
    ["DTLS", "dtlsMs"],
    ["packet", "firstPacketMs"],
  ]);
  const steps = split.map(([name, step]) => `${name} ${connect[step].p50.toFixed(0)}`).join(", ");
  const { p50, p95 } = connect.firstFrameMs;
  return {
    what,
    measured: `p50 ${p50.toFixed(0)}, p95 ${p95.toFixed(0)} ms (p50 after: ${steps})`,
    ...(aim && { aim: `p95 <= ${aim.p95} ms`, met: p95 <= aim.p95 }),
  };
}

/**
 * @param {string} what
 * @param {Record<string, number>[]} visits
 * @returns {Row}
 */
function chromiumRow(what, visits) {
  const of = (/** @type {string} */ step, /** @type {number} */ share) =>
    quantile(
      visits.map((visit) => Number(visit[step])),
      share,
    ).toFixed(0);
  const split = STEPS.map((step) => `${step} ${of(step, 0.5)}`).join(", ");
  return {
    what,
    measured: `p50 ${of("frame", 0.5)}, p95 ${of("frame", 0.95)} ms (p50 after: ${split})`,
  };
}

/**
 * @param {import("playwright-core").Page} page
 * @returns {Promise<Record<string, number>>} ms since its WebSocket was open
 */
async function stepsOf(page) {
  const steps = await page.waitForFunction(() => Reflect.get(window, "firstFrame"), null, {
    timeout: 15_000,
  });
  return steps.jsonValue();
}

/** Runs in the page, before its own scripts. */
function record() {
  const { createOffer, setLocalDescription, setRemoteDescription } = RTCPeerConnection.prototype;
  /** @type {Record<string, number>} */
  const steps = {};
  let start = 0;
  const reached = (/** @type {string} */ step) => {
    steps[step] ??= performance.now() - start;
  };
  window.WebSocket = class extends WebSocket {
    /** @param {[string | URL, (string | string[])?]} args */
    constructor(...args) {
      super(...args);
      this.addEventListener("open", () => {
        start ||= performance.now();
      });
    }
  };
  RTCPeerConnection.prototype.createOffer = function (/** @type {any[]} */ ...args) {
    this.addEventListener("iceconnectionstatechange", () => {
      if (/connected|completed/.test(this.iceConnectionState)) reached("ice");
    });
    this.addEventListener("connectionstatechange", () => {
      if (this.connectionState === "connected") reached("dtls");
    });
    return Reflect.apply(createOffer, this, args);
  };
  RTCPeerConnection.prototype.setLocalDescription = async function (/** @type {any[]} */ ...args) {
    await Reflect.apply(setLocalDescription, this, args);
    reached("offer");
  };
  RTCPeerConnection.prototype.setRemoteDescription = function (/** @type {any[]} */ ...args) {
    reached("answer");
    return Reflect.apply(setRemoteDescription, this, args);
  };
  document.addEventListener("DOMContentLoaded", () => {
    document.querySelector("video")?.requestVideoFrameCallback((_, frame) => {
      reached("frame");
      // When the compositor was given the frame: it was decoded before.
      steps.decoded = frame.presentationTime - start;
      Object.assign(window, { firstFrame: steps });
    });
  });
}
