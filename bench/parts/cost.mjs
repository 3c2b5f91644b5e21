// What a viewer costs the Node process, beside the floor: our server and the floor run in turn, and are
// compared pair by pair.

import { measureFloor, shapeOf } from "../lib/floor.mjs";
import { lineChart } from "../lib/plot.mjs";
import {
  measurePoint,
  microsecondsPerViewer,
  networkPerViewer,
  shortfalls,
} from "../lib/point.mjs";
import { profile, whyNoProfile } from "../lib/profile.mjs";
import { leastSquares, median, range } from "../lib/statistics.mjs";

const VIEWERS = [50, 100, 200, 400, 800, 1600];
const QUICK_VIEWERS = [50, 200, 800];
/** From here on the aim counts: fewer viewers share the cost of the encoder among too few. */
const AIM_FROM = 400;
const AIM_RATIO = 1.5;
const PROFILED_VIEWERS = 400;

/** @typedef {{ point: import("../lib/point.mjs").Point, floor: any }} Pair */
/** @typedef {import("../lib/report.mjs").Row} Row */

/**
 * @param {import("../lib/report.mjs").Context} context
 * @returns {Promise<import("../lib/report.mjs").Result>}
 */
export async function measure({ runs, quick, log }) {
  const seconds = quick ? 8 : 12;
  /** @type {Map<number, Pair[]>} */
  const pairs = new Map();
  /** @type {Row[]} */
  const failed = [];
  for (const viewers of quick ? QUICK_VIEWERS : VIEWERS) {
    try {
      pairs.set(viewers, await measurePairs(viewers, seconds, runs, log));
    } catch (error) {
      const { message } = /** @type {Error} */ (error);
      failed.push({ what: `${viewers} viewers`, measured: `not measured: ${message}` });
    }
  }
  const shares = await measureProfile(quick ? 6 : 12, log);
  return {
    rows: [
      ...[...pairs].map(([viewers, of]) => pointRow(viewers, of)),
      ...failed,
      ...(pairs.size > 1 ? slopeRows(pairs) : []),
      ...threadRows(pairs),
      ...shares.rows,
    ],
    plots: pairs.size > 1 ? { cost: plot(pairs) } : {},
    values: { pairs: Object.fromEntries(pairs), profile: shares.values },
  };
}

/**
 * @param {number} viewers
 * @param {number} seconds
 * @param {number} runs
 * @param {(text: string) => void} log
 */
async function measurePairs(viewers, seconds, runs, log) {
  /** @type {Pair[]} */
  const pairs = [];
  for (let n = 0; n < runs; n++) {
    const point = await measurePoint({ viewers, seconds });
    const floor = await measureFloor(viewers, Math.round(seconds / 2), shapeOf(point.seen));
    pairs.push({ point, floor });
    log(
      `${viewers} viewers: ${microsecondsPerViewer(point).toFixed(0)} us, floor ${floor.microseconds.toFixed(0)} us`,
    );
  }
  return pairs;
}

/** @param {Pair[]} pairs */
const whole = (pairs) => pairs.map(({ point }) => microsecondsPerViewer(point));
/** @param {Pair[]} pairs */
const network = (pairs) => pairs.map(({ point }) => networkPerViewer(point));
/** @param {Pair[]} pairs */
const floors = (pairs) => pairs.map(({ floor }) => Number(floor.microseconds));

/**
 * @param {number} viewers
 * @param {Pair[]} pairs
 * @returns {Row}
 */
function pointRow(viewers, pairs) {
  const ratio = (/** @type {number[]} */ costs) =>
    median(costs.map((cost, n) => cost / Number(pairs[n]?.floor.microseconds)));
  const [ofNetwork, ofWhole] = [ratio(network(pairs)), ratio(whole(pairs))];
  const fell = [...new Set(pairs.flatMap(({ point }) => shortfalls(point)))];
  return {
    what: `${viewers} viewers, us a viewer-second`,
    measured:
      `${range(whole(pairs), 0)}; network threads ${range(network(pairs), 0)}, floor ${range(floors(pairs), 0)}; ` +
      `x floor: ${ofNetwork.toFixed(2)} (process ${ofWhole.toFixed(2)})` +
      (fell.length > 0 ? `; not held: ${fell.join(", ")}` : ""),
    ...(viewers >= AIM_FROM && { aim: `<= ${AIM_RATIO} x floor`, met: ofNetwork <= AIM_RATIO }),
  };
}

/**
 * @param {Map<number, Pair[]>} pairs
 * @returns {Row[]}
 */
function slopeRows(pairs) {
  const points = [...pairs].flatMap(([viewers, of]) =>
    whole(of).map((cost) => /** @type {[number, number]} */ ([viewers, cost * viewers])),
  );
  const { slope, intercept } = leastSquares(points);
  const packets = [...pairs.values()].flat().map(({ point }) => {
    const { video, audio, seconds, inspected } = point.seen;
    return networkPerViewer(point) / ((video.packets + audio.packets) / seconds / inspected);
  });
  return [
    {
      what: "one more viewer (least squares)",
      measured: `${slope.toFixed(0)} us a second, beside ${(intercept / 1e4).toFixed(1)} % of a core that are there anyway`,
    },
    { what: "a packet, network threads", measured: `${range(packets, 2)} us` },
  ];
}

/**
 * Where the largest common point spent its time.
 * @param {Map<number, Pair[]>} pairs
 * @returns {Row[]}
 */
function threadRows(pairs) {
  const point = (pairs.get(PROFILED_VIEWERS) ?? [...pairs.values()].at(-1))?.[0]?.point;
  if (!point) return [];
  const { threads, seconds } = point.spent;
  const shown = Object.entries(threads)
    .map(([name, spent]) => /** @type {const} */ ([name, (100 * spent) / seconds]))
    .filter(([, share]) => share >= 0.1)
    .sort(([, a], [, b]) => b - a)
    .map(([name, share]) => `${name} ${share.toFixed(1)}`);
  return [{ what: `% of a core by thread, ${point.viewers} viewers`, measured: shown.join(", ") }];
}

/**
 * @param {number} seconds
 * @param {(text: string) => void} log
 * @returns {Promise<{ rows: Row[], values?: unknown }>}
 */
async function measureProfile(seconds, log) {
  const what = `where it goes, ${PROFILED_VIEWERS} viewers`;
  const why = whyNoProfile();
  if (why) return { rows: [{ what, measured: `left out: ${why}` }] };
  log(`profile of ${PROFILED_VIEWERS} viewers`);
  const { extra: shares } = await measurePoint({
    viewers: PROFILED_VIEWERS,
    seconds: seconds + 4,
    during: ({ pid }) => profile(pid, seconds),
  });
  const shown = Object.entries(/** @type {Record<string, number>} */ (shares))
    .filter(([, share]) => share >= 0.005)
    .map(([name, share]) => `${name} ${(100 * share).toFixed(0)} %`);
  return { rows: [{ what, measured: shown.join(", ") }], values: shares };
}

/** @param {Map<number, Pair[]>} pairs */
function plot(pairs) {
  const curve = (/** @type {(pairs: Pair[]) => number[]} */ of) =>
    [...pairs].map(([viewers, at]) => /** @type {[number, number]} */ ([viewers, median(of(at))]));
  return lineChart({
    title: "CPU of the server for one viewer in one second",
    note: "512x512, 30 fps, 1 Mb/s and speech; the floor only seals and sends the same packets",
    x: { label: "viewers" },
    y: { label: "µs of CPU a viewer-second" },
    series: [
      { name: "whole process", points: curve(whole) },
      { name: "network threads", points: curve(network) },
      { name: "floor", points: curve(floors), dashed: true },
    ],
  });
}
