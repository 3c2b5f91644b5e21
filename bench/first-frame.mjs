// How long the page waits for its first picture in Chromium, from createOffer on.

import { chromium } from "playwright-core";
import { quantile, range, repeat, Server } from "./support.mjs";

const VISITS = 9;
const STEPS = /** @type {const} */ (["offer", "answer", "ice", "dtls", "decoded", "frame"]);

/**
 * @param {{ runs: number }} options
 * @returns {Promise<import("./support.mjs").Row[]>}
 */
export async function measure({ runs }) {
  const values = await repeat(runs, once);
  const of = (/** @type {string} */ step, /** @type {number} */ share) =>
    range(
      values.map((visits) =>
        quantile(
          visits.map((visit) => Number(visit[step])),
          share,
        ),
      ),
      0,
    );
  const split = STEPS.map((step) => `${step} ${of(step, 0.5)}`).join(", ");
  return [
    {
      what: `first frame in Chromium after createOffer (${VISITS} visits a run)`,
      measured: `p50 ${of("frame", 0.5)} ms, p95 ${of("frame", 0.95)} ms (p50 after: ${split})`,
      aim: "p50 <= 300 ms",
      values,
    },
  ];
}

async function once() {
  const server = await Server.start();
  try {
    const browser = await chromium.launch({
      executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
      args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"].concat(
        ["--disable-background-networking", "--disable-component-update", "--disable-sync"],
        ["--autoplay-policy=no-user-gesture-required"],
      ),
    });
    try {
      return await repeat(VISITS, () => visit(browser, server.url.replace("ws:", "http:")));
    } finally {
      await browser.close();
    }
  } finally {
    await server.stop();
  }
}

/**
 * One visit of the page in a profile of its own.
 * @param {import("playwright-core").Browser} browser
 * @param {string} url
 * @returns {Promise<Record<string, number>>} ms since createOffer
 */
async function visit(browser, url) {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    await page.addInitScript(record);
    await page.goto(url);
    const steps = await page.waitForFunction(() => Reflect.get(window, "firstFrame"), null, {
      timeout: 15_000,
    });
    return await steps.jsonValue();
  } finally {
    await context.close();
  }
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
  RTCPeerConnection.prototype.createOffer = function (/** @type {any[]} */ ...args) {
    start = performance.now();
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
      steps.received = (frame.receiveTime ?? Number.NaN) - start;
      Object.assign(window, { firstFrame: steps });
    });
  });
}
