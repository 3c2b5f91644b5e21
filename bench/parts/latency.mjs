// From the push in JavaScript to the screen: to the last packet at a native viewer, to the decoded picture and
// to its presentation in Chromium; and how far apart the viewers of one frame are.

import { launchChromium, withPage } from "../lib/chromium.mjs";
import { lineChart } from "../lib/plot.mjs";
import { measurePoint } from "../lib/point.mjs";
import { delay } from "../lib/process.mjs";
import { sincePush } from "../lib/rtp-clock.mjs";
import { Server } from "../lib/server.mjs";
import { quantile } from "../lib/statistics.mjs";

/** Where the capacity was not measured in this run. */
const USUAL_HIGHEST = 1000;
const AIM_VIEWERS = 500;
const AIM_MS = 20;
const SHARES = /** @type {const} */ ([0.5, 0.95, 0.99]);

/** @typedef {[rtpTimestamp: number, received: number, decoded: number, presented: number]} Seen Unix ms */
/** @typedef {{ viewers: number, seen: any, browser: Record<string, number[]> }} Measured */

/**
 * @param {import("../lib/report.mjs").Context} context
 * @returns {Promise<import("../lib/report.mjs").Result>}
 */
export async function measure({ quick, known, log }) {
  const seconds = quick ? 8 : 14;
  const highest = known.capacity || USUAL_HIGHEST;
  const wanted = quick ? [1, AIM_VIEWERS, highest] : [1, 100, AIM_VIEWERS, highest];
  const counts = [...new Set(wanted)].sort((a, b) => a - b);
  /** @type {Measured[]} */
  const measured = [];
  for (const viewers of counts) {
    log(`${viewers} viewers`);
    const { seen } = await measurePoint({ viewers, seconds });
    measured.push({ viewers, seen, browser: await inChromium(viewers, seconds) });
  }
  return {
    rows: measured.flatMap(rowsOf),
    plots: { latency: plot(measured) },
    values: measured.map(({ viewers, seen, browser }) => ({
      viewers,
      received: seen.latencyMs,
      spread: seen.spreadMs,
      browser: Object.fromEntries(
        Object.entries(browser).map(([step, times]) => [
          step,
          SHARES.map((share) => quantile(times, share)),
        ]),
      ),
    })),
  };
}

/**
 * Chromium as one of so many.
 * @param {number} viewers
 * @param {number} seconds
 */
async function inChromium(viewers, seconds) {
  const browser = await launchChromium();
  try {
    const look = (/** @type {Server} */ server) =>
      withPage(browser, server.url, record, async (page) => {
        await page.waitForFunction(() => Reflect.get(window, "seen")?.length > 0, null, {
          timeout: 20_000,
        });
        await delay(Math.max(2, seconds - 6) * 1000);
        return page.evaluate(() => Reflect.get(window, "seen"));
      });
    return steps(viewers > 1 ? await among(viewers - 1, seconds, look) : await alone(look));
  } finally {
    await browser.close();
  }
}

/**
 * @param {number} others
 * @param {number} seconds
 * @param {(server: Server) => Promise<Seen[]>} during
 * @returns {Promise<Seen[]>}
 */
async function among(others, seconds, during) {
  return (await measurePoint({ viewers: others, seconds, during })).extra;
}

/**
 * @param {(server: Server) => Promise<Seen[]>} look
 * @returns {Promise<Seen[]>}
 */
async function alone(look) {
  const server = await Server.start();
  try {
    return await look(server);
  } finally {
    await server.stop();
  }
}

/**
 * @param {Seen[]} seen
 * @returns {Record<string, number[]>} ms since the push
 */
function steps(seen) {
  const since = (/** @type {1 | 2 | 3} */ step) =>
    seen.map((frame) => sincePush(frame[0], frame[step]));
  return { received: since(1), decoded: since(2), presented: since(3) };
}

/** Runs in the page: notes each frame as it is presented. */
function record() {
  document.addEventListener("DOMContentLoaded", () => {
    const video = document.querySelector("video");
    /** @type {number[][]} */
    const seen = [];
    Object.assign(window, { seen });
    const onFrame = (/** @type {number} */ _, /** @type {VideoFrameCallbackMetadata} */ frame) => {
      const { rtpTimestamp, receiveTime, presentationTime, expectedDisplayTime } = frame;
      if (rtpTimestamp !== undefined && receiveTime !== undefined) {
        // `presentationTime` is when the decoded frame was handed to the compositor.
        const times = [receiveTime, presentationTime, expectedDisplayTime];
        seen.push([rtpTimestamp, ...times.map((time) => performance.timeOrigin + time)]);
      }
      video?.requestVideoFrameCallback(onFrame);
    };
    video?.requestVideoFrameCallback(onFrame);
  });
}

/**
 * @param {Measured} measured
 * @returns {import("../lib/report.mjs").Row[]}
 */
function rowsOf({ viewers, seen, browser }) {
  const { latencyMs, spreadMs } = seen;
  const of = (/** @type {{ p50: number, p95: number, p99: number }} */ { p50, p95, p99 }) =>
    [p50, p95, p99].map((ms) => ms.toFixed(1)).join(" / ");
  const chromium = Object.entries(browser)
    .map(
      ([step, times]) => `${step} ${SHARES.map((s) => quantile(times, s).toFixed(0)).join(" / ")}`,
    )
    .join(", ");
  return [
    {
      what: `push to received, ${viewers} viewers, p50/p95/p99`,
      measured: `${of(latencyMs)} ms${viewers > 1 ? `; first to last viewer ${of(spreadMs)} ms` : ""}`,
      ...(viewers === AIM_VIEWERS && { aim: `p99 <= ${AIM_MS} ms`, met: latencyMs.p99 <= AIM_MS }),
    },
    { what: `Chromium as one of ${viewers}, p50/p95/p99`, measured: `${chromium} ms` },
  ];
}

/** @param {Measured[]} measured */
function plot(measured) {
  const curve = (/** @type {"p50" | "p95" | "p99"} */ share) =>
    measured.map(
      ({ viewers, seen }) =>
        /** @type {[number, number]} */ ([viewers, Number(seen.latencyMs[share])]),
    );
  return lineChart({
    title: "From the push in JavaScript to the last packet of the frame at a viewer",
    note: "server and viewers on the same cores",
    x: { label: "viewers" },
    y: { label: "ms" },
    series: [
      { name: "p99", points: curve("p99") },
      { name: "p95", points: curve("p95") },
      { name: "p50", points: curve("p50") },
    ],
  });
}
