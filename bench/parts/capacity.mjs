// The most viewers of one avatar that hold, with the generator on the same machine.

import { findCapacity } from "../lib/capacity.mjs";
import { HALF } from "../lib/crowd.mjs";
import { coreShare, HELD, measurePoint, microsecondsPerViewer, shortfalls } from "../lib/point.mjs";

const LIMIT = 6_000;

/**
 * @param {import("../lib/report.mjs").Context} context
 * @returns {Promise<import("../lib/report.mjs").Result>}
 */
export async function measure({ quick, known, log }) {
  const seconds = quick ? 20 : 60;
  const { most, looks, point } = await findCapacity({
    point: (viewers) => ({ viewers }),
    start: 800,
    limit: LIMIT,
    resolution: quick ? 0.15 : 0.05,
    patient: !quick,
    confirmSeconds: seconds,
    log,
  });
  known.capacity = most;
  const what = `viewers held for ${seconds} s`;
  const aim = ">= 1000 (2000)";
  if (!point) return { rows: [{ what, measured: "none", aim, met: false }], values: { looks } };

  const half = await measurePoint({ viewers: most, seconds: 15, crowd: HALF });
  return {
    rows: [
      { what, measured: `${most} (${describe(point)})`, aim, met: most >= 1000 },
      { what: "the generator's own CPU then", measured: `${generatorShare(point)} % of a core` },
      {
        what: "the same with half of the generator's work",
        measured:
          `${shortfalls(half).length === 0 ? "held" : shortfalls(half).join(", ")} (${describe(half)}; ` +
          `generator ${generatorShare(half)} % of a core)`,
      },
    ],
    values: { held: HELD, most, looks, point, half },
  };
}

/** @param {import("../lib/point.mjs").Point} point */
function describe(point) {
  const { fps, loss, latencyMs } = point.seen;
  return (
    `fps min ${fps.min.toFixed(2)}, loss ${(100 * loss).toFixed(3)} %, p99 ${latencyMs.p99.toFixed(1)} ms; ` +
    `server ${coreShare(point).toFixed(0)} % of a core, ${microsecondsPerViewer(point).toFixed(0)} us a viewer-second`
  );
}

/** @param {import("../lib/point.mjs").Point} point */
const generatorShare = ({ seen }) => ((100 * seen.cpuSeconds) / seen.seconds).toFixed(0);
