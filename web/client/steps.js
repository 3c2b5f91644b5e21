// What can be done about a connection, and how each step changes the situation: `recovery.js` decides which is taken.
// Knows no DOM, no clock and no connection.

import { atRest, reconnectDelay } from "./situation.js";

/** @typedef {import("./situation.js").Situation} Situation */
/** @typedef {import("./situation.js").Action} Action */
/** @typedef {import("./situation.js").Timer} Timer */
/** @typedef {import("../avatar-client.js").ClientState} ClientState */
/** @typedef {import("../avatar-client.js").Problem} Problem */

/** A connection that is not there by then is given up. */
export const CONNECTING_MS = 15_000;
/** How long a WebSocket may take to open: while nothing is seen, in the first tries; in any other case. */
const OPENING_MS = { lost: 3_000, tries: 8, else: 10_000 };
/** An ICE restart that has not helped by then did not. */
const RESTART_MS = 8_000;
/** Media that are lost for so long want a new connection. */
export const GIVE_UP_MS = 20_000;
/** Connected for so long, the next loss starts again with the shortest delay. */
const STABLE_MS = 5_000;
/** Media that are lost do not wait longer for the next WebSocket. */
const HASTE_MS = 500;

export class Steps {
  /** @type {Action[]} */ actions = [];

  /** @param {Situation} before @param {number} now @param {number} random */
  constructor(before, now, random) {
    this.after = { ...before, due: { ...before.due } };
    this.now = now;
    this.random = random;
  }

  get isLost() {
    return this.after.media === "lost";
  }

  /** Whether there is a peer to come back to: the server keeps it, and its media were connected once. */
  get isKept() {
    return this.after.keepsPeer && ["connected", "interrupted", "lost"].includes(this.after.media);
  }

  open() {
    const { after, now } = this;
    const isLost = after.state === "reconnecting" && after.tries < OPENING_MS.tries;
    after.socket = "opening";
    after.openedAt = now;
    after.isFull = false;
    delete after.due.retry;
    after.due.opening = now + (isLost ? OPENING_MS.lost : OPENING_MS.else);
    // The first try is bounded as a whole.
    if (after.state === "connecting") delete after.due.opening;
    if (after.state === "reconnecting") this.tell("reconnecting");
    this.actions.push({ do: "open" });
  }

  /**
   * @param {string} reason
   * @param {number} tries that the delay is to follow; one that hung was delay enough
   * @param {Problem | null} [problem]
   * @param {boolean} [isLost]
   */
  retry(reason, tries, problem = "unreachable", isLost = this.after.state === "reconnecting") {
    const { after, now, random } = this;
    const ms = reconnectDelay(tries, { serverFull: after.isFull, random });
    after.socket = "none";
    after.tries += 1;
    delete after.due.opening;
    delete after.due.stable;
    after.due.retry = now + ms;
    const next = `Next try in ${(ms / 1000).toFixed(1)} s.`;
    this.log("warn", `${isLost ? "Connection lost" : "Signalling lost"}: ${reason}. ${next}`);
    if (isLost) this.tell("reconnecting", reason, problem, after.due.retry);
  }

  /** Both are there: after a while this counts as good. */
  settle() {
    const { after, now } = this;
    if (after.socket === "open" && after.media === "connected") after.due.stable = now + STABLE_MS;
  }

  restart() {
    this.after.isRestarting = true;
    this.after.due.restart = this.now + RESTART_MS;
    this.log("info", "Looking for another way for the media (ICE restart).");
    this.actions.push({ do: "restart" });
  }

  offer() {
    const { after } = this;
    for (const timer of /** @type {Timer[]} */ (["grace", "restart", "giveUp"]))
      delete after.due[timer];
    Object.assign(after, { media: "new", isSilent: false, isRestarting: false });
    after.due.connecting ??= this.now + CONNECTING_MS;
    this.actions.push({ do: "offer" });
  }

  /** @param {string} reason */
  loseMedia(reason) {
    const { after, now } = this;
    if (this.isLost) return;
    const { due } = after;
    after.media = "lost";
    after.lostSince ??= now;
    delete due.grace;
    delete due.stable;
    due.giveUp = after.lostSince + GIVE_UP_MS;
    if (due.retry) due.retry = Math.min(due.retry, now + HASTE_MS);
    if (due.opening) due.opening = Math.min(due.opening, now + OPENING_MS.lost);
    this.tell("reconnecting", reason, null, due.retry);
    // Over a WebSocket that is dead an ICE restart would be waited for in vain.
    if (after.socket === "open") this.actions.push({ do: "look" });
  }

  /** Nothing is left of it. @param {string} reason @param {Problem | null} problem @param {number} [tries] */
  lose(reason, problem, tries = this.after.tries) {
    const { after } = this;
    Object.assign(after, { media: "none", lostSince: null, isSilent: false, isRestarting: false });
    after.due = {};
    this.actions.push({ do: "drop" });
    this.retry(reason, tries, problem, true);
  }

  /** @param {"disconnected" | "failed"} state @param {string | null} reason @param {Problem | null} problem */
  end(state, reason, problem) {
    const { state: previous } = this.after;
    Object.assign(this.after, atRest(), { state: previous });
    this.actions.push({ do: "end" });
    if (state !== previous) this.tell(state, reason, problem);
  }

  /**
   * @param {ClientState} state
   * @param {string | null} [reason] the one that was told before, while it is still being tried
   * @param {Problem | null} [problem]
   * @param {number} [retryAt]
   */
  tell(state, reason = this.after.reason, problem = this.after.problem, retryAt) {
    const { state: previous } = this.after;
    Object.assign(this.after, { state, reason, problem });
    const retryInMs = retryAt === undefined ? null : retryAt - this.now;
    this.actions.push({ do: "tell", state, previous, reason, problem, retryInMs });
  }

  /** @param {"info" | "warn"} level @param {string} text */
  log(level, text) {
    this.actions.push({ do: "log", level, text });
  }
}
