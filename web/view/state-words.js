// The connection's state in words, for whoever looks at the place where the picture is to be. Pure.

import { explain } from "./problems.js";

export { isActive } from "../client/situation.js";

/** @typedef {import("../avatar-client.js").ClientState} ClientState */

/**
 * Why there is no connection, and when the next try is, on the clock of `Date.now()`.
 * @typedef {{problem: string | null, reason: string | null, retryAt: number | null}} Outage
 */

/** @type {Outage} */
export const NO_OUTAGE = { problem: null, reason: null, retryAt: null };

/** @type {Record<ClientState, string>} */
export const STATE_WORDS = {
  idle: "Not connected",
  connecting: "Connecting…",
  connected: "Connected",
  reconnecting: "Reconnecting…",
  disconnected: "Disconnected",
  failed: "Cannot connect",
};

export const PRESS_CONNECT = "Press Connect to see the avatar.";

/**
 * The outage after a `state` event. What was wrong stays in view while a new try is made: it may be wrong still.
 * @param {Outage} before
 * @param {{state: ClientState, problem?: string | null, reason: string | null, retryInMs: number | null}} event
 * @param {number} now
 * @returns {Outage}
 */
export function nextOutage(before, { state, problem = null, reason, retryInMs }, now) {
  if (state !== "reconnecting" && state !== "failed") return NO_OUTAGE;
  const isNews = problem !== null || reason !== null;
  return {
    problem: isNews ? problem : before.problem,
    reason: isNews ? reason : before.reason,
    retryAt: retryInMs === null ? null : now + retryInMs,
  };
}

/**
 * What to write where the picture is to be.
 * @param {ClientState} state
 * @param {Outage} outage
 * @param {string} [hint] while nothing is connected
 * @returns {{headline: string, detail: string}}
 */
export function pictureWords(state, { problem, reason }, hint = "") {
  switch (state) {
    case "connecting":
      return { headline: STATE_WORDS[state], detail: "Reaching the avatar." };
    case "connected":
      return {
        headline: "Waiting for the picture",
        detail: "The avatar has not sent its first picture yet.",
      };
    case "reconnecting":
    case "failed": {
      const explanation = explain(problem);
      if (!explanation) return { headline: STATE_WORDS[state], detail: sentence(reason) };
      const said = problem === "refused" && reason ? `The server says: “${reason}”. ` : "";
      return { headline: explanation.wrong, detail: said + explanation.remedy };
    }
    default:
      return { headline: STATE_WORDS[state], detail: hint };
  }
}

/**
 * What a screen reader is to say: the state, and what is wrong.
 * @param {ClientState} state
 * @param {Outage} outage
 */
export function spokenWords(state, outage) {
  const { headline, detail } = pictureWords(state, outage);
  const { problem, reason } = outage;
  const wrong = problem ? `${headline} ${detail}` : reason ? detail : "";
  return `${STATE_WORDS[state]}. ${wrong}`.replace("….", "…").trim();
}

/**
 * When the next try is; empty when none is to come.
 * @param {ClientState} state
 * @param {Outage} outage
 * @param {number} now
 */
export function retryWords(state, { retryAt }, now) {
  if (state !== "reconnecting") return "";
  const seconds = retryAt === null ? 0 : Math.ceil((retryAt - now) / 1000);
  return seconds > 0 ? `Trying again in ${seconds} s.` : "Trying again now.";
}

/** @param {string | null} words */
function sentence(words) {
  if (!words) return "";
  return `${words[0]?.toUpperCase()}${words.slice(1)}.`.replace(/\.\.$/, ".");
}
