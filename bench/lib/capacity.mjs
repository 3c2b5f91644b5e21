// The most of something that hold: short looks to find it, a long one to be sure.

import { measurePoint, shortfalls } from "./point.mjs";
import { mostThatHold } from "./search.mjs";

const PROBE_SECONDS = 8;

/**
 * @typedef {object} Question
 * @property {(count: number) => Omit<import("./point.mjs").PointOptions, "seconds">} point what to measure
 * @property {number} start
 * @property {number} limit
 * @property {number} [resolution]
 * @property {number} [factor]
 * @property {boolean} [patient]
 * @property {number} confirmSeconds
 * @property {(text: string) => void} log
 */

/**
 * @param {Question} question
 * @returns {Promise<{ most: number, looks: object[], point: import("./point.mjs").Point | undefined }>}
 *   `point` is the look that confirmed it
 */
export async function findCapacity({ point, confirmSeconds, log, ...search }) {
  /** @type {object[]} */
  const looks = [];
  /** @type {import("./point.mjs").Point | undefined} */
  let last;
  const look = async (/** @type {number} */ count, /** @type {number} */ seconds) => {
    const looked = await attempt({ ...point(count), seconds });
    const { fell } = looked;
    last = looked.point;
    looks.push({ count, seconds, fell, seen: last?.seen });
    log(`${count} over ${seconds} s: ${fell.length === 0 ? "held" : fell.join(", ")}`);
    return fell.length === 0;
  };
  const most = await mostThatHold({
    ...search,
    probe: (count) => look(count, PROBE_SECONDS),
    confirm: (count) => look(count, confirmSeconds),
  });
  return { most, looks, point: most > 0 ? last : undefined };
}

/**
 * A look that cannot even be finished was not held.
 * @param {import("./point.mjs").PointOptions} options
 * @returns {Promise<{ fell: string[], point?: import("./point.mjs").Point }>}
 */
async function attempt(options) {
  try {
    const point = await measurePoint(options);
    return { fell: shortfalls(point), point };
  } catch (error) {
    return { fell: [error instanceof Error ? error.message : String(error)] };
  }
}
