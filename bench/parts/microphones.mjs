// What open microphones cost in which nobody speaks, while nothing is pushed: the difference to the same
// viewers without one.

import { threadSeconds } from "../lib/cpu.mjs";
import { measurePoint, microsecondsPerViewer } from "../lib/point.mjs";
import { QUIET_SECONDS, quiet } from "./idle.mjs";

const MICROPHONES = 500;

/**
 * @param {import("../lib/report.mjs").Context} context
 * @returns {Promise<import("../lib/report.mjs").Result>}
 */
export async function measure({ quick, log }) {
  const once = (/** @type {boolean} */ microphone, /** @type {boolean} */ subscribe) => {
    log(
      `${MICROPHONES} viewers${microphone ? " with microphones" : ""}${subscribe ? ", subscribed" : ""}`,
    );
    return measurePoint({
      viewers: MICROPHONES,
      seconds: QUIET_SECONDS + (quick ? 9 : 20),
      server: { subscribe },
      settle: quiet,
      ...(microphone && { crowd: { microphone: "silent" } }),
    });
  };
  const without = await once(false, false);
  const unheard = await once(true, false);
  const subscribed = await once(true, true);
  const row = (
    /** @type {string} */ what,
    /** @type {import("../lib/point.mjs").Point} */ point,
  ) => ({
    what: `an open silent microphone, ${what}`,
    measured:
      `${(microsecondsPerViewer(point) - microsecondsPerViewer(without)).toFixed(0)} us a second more ` +
      `(avatar-microphone ${microphoneThread(point).toFixed(0)})`,
  });
  return {
    rows: [row("nobody listens", unheard), row("incoming-audio subscribed", subscribed)],
    values: { without, unheard, subscribed },
  };
}

/** @param {import("../lib/point.mjs").Point} point @returns {number} us a microphone-second */
const microphoneThread = ({ spent }) =>
  (1e6 * threadSeconds(spent, /^avatar-microph/)) / spent.seconds / MICROPHONES;
