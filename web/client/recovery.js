// When to open a WebSocket, restart ICE, or begin anew: the rules alone. `recover` takes the situation, what happened and
// the time, and returns the new situation and what is to be done. Knows no DOM, no clock and no connection.

import { atRest, isActive } from "./situation.js";
import { CONNECTING_MS, GIVE_UP_MS, Steps } from "./steps.js";

/** @typedef {import("./situation.js").Situation} Situation */
/** @typedef {import("./situation.js").Happening} Happening */
/** @typedef {import("./situation.js").Action} Action */
/** @typedef {import("./situation.js").Timer} Timer */
/** @typedef {import("../avatar-client.js").ClientState} ClientState */
/** @typedef {import("../avatar-client.js").Problem} Problem */

/** ICE often recovers by itself from "disconnected". Where the server keeps the peer, looking for a new way costs nothing. */
const GRACE_MS = { kept: 1_000, alone: 5_000 };
/** Without a WebSocket, media of which nothing came for so long are lost: ICE itself would say so after 6 s. */
const SILENCE_MS = 3_000;
/** A WebSocket that opens for longer may have begun in another network. */
const STALE_MS = 1_000;
/** The close code with which the application turns a viewer away. */
const REFUSED = 4403;

/**
 * @param {Situation} before
 * @param {Happening} event
 * @param {number} now in ms
 * @param {number} [random] in [0, 1)
 * @returns {{situation: Situation, actions: Action[]}}
 */
export function recover(before, event, now, random = Math.random()) {
  const step = new Recovery(before, now, random);
  const begins = event.type === "connect" || event.type === "disconnect";
  if (begins || isActive(before.state)) step.take(event);
  step.listen();
  return { situation: step.after, actions: step.actions };
}

class Recovery extends Steps {
  /** @param {Happening} event */
  take(event) {
    const { after } = this;
    switch (event.type) {
      case "connect":
        return this.#connect();
      case "disconnect":
        if (after.state === "idle" || after.state === "disconnected") return;
        this.log("info", "Disconnected.");
        return this.end("disconnected", null, null);
      case "unusable":
        return this.end("failed", event.reason, event.problem);
      case "time":
        return this.#fire();
      case "config":
        return this.#welcome(event);
      case "closed":
        return this.#closed(event);
      case "silent":
        if (after.socket !== "open") return;
        this.log("warn", "The server does not answer any more.");
        return this.open();
      case "alive":
        if (!this.isLost || after.socket !== "open" || after.isRestarting) return;
        return event.isExpired ? this.open() : this.#mend();
      case "look":
        return this.#look();
      case "media":
        return this.#follow(event.state);
      case "heard":
        return this.#heard();
      case "refused":
        return this.#refused(event);
      case "failed":
        if (after.isRestarting) return this.offer();
        if (after.media === "connected") return this.log("warn", event.reason);
        return this.lose(event.reason, null);
    }
  }

  /** Only without a WebSocket silence means anything: with one, its heartbeat and ICE tell more. */
  listen() {
    const { due, heardAt, keepsPeer, media, socket } = this.after;
    if (keepsPeer && media === "connected" && socket !== "open") due.silence = heardAt + SILENCE_MS;
    else delete due.silence;
  }

  #connect() {
    const { state, socket } = this.after;
    if (isActive(state)) return socket === "none" ? this.open() : undefined;
    Object.assign(this.after, atRest(), { state });
    this.after.due.connecting = this.now + CONNECTING_MS;
    this.tell("connecting", null, null);
    this.open();
  }

  #fire() {
    const { after, now } = this;
    for (const timer of /** @type {Timer[]} */ (Object.keys(after.due))) {
      // An earlier one may have taken this one back.
      if ((after.due[timer] ?? Number.POSITIVE_INFINITY) > now) continue;
      delete after.due[timer];
      this.#expire(timer);
    }
  }

  /** @param {Timer} timer */
  #expire(timer) {
    const { after } = this;
    switch (timer) {
      case "retry":
        return this.open();
      case "opening":
        if (!this.isKept) return this.lose("the server does not answer", "unreachable", 0);
        this.actions.push({ do: "abandon" });
        return this.retry("the server does not answer", 0);
      case "connecting":
        return after.socket === "open"
          ? this.lose("no media connection within 15 s", "no-media-path")
          : this.lose("no connection within 15 s", "unreachable");
      case "grace":
        if (after.keepsPeer) return this.loseMedia("the media connection is interrupted");
        return this.lose("no media connection for 5 s", null);
      case "silence":
        after.isSilent = true;
        return this.loseMedia("nothing arrives any more");
      case "restart":
      case "giveUp":
        after.isRestarting = false;
        // Without a WebSocket there is nobody to offer anything to, and ICE may still come back by itself.
        return after.socket === "open" ? this.offer() : undefined;
      case "stable":
        after.tries = 0;
    }
  }

  /** @param {{resumed: boolean, keepsPeer: boolean}} config */
  #welcome({ resumed, keepsPeer }) {
    const { after, now } = this;
    if (after.socket !== "opening") return;
    after.socket = "open";
    after.keepsPeer = keepsPeer;
    delete after.due.opening;
    this.settle();
    if (after.media === "none" || after.media === "new") return this.offer();
    if (!resumed) {
      this.loseMedia("the server does not know this connection any more");
      return this.offer();
    }
    if (after.media !== "connected") return this.#mend();
    if (now - after.heardAt >= SILENCE_MS) return this.restart();
    this.log("info", "The server has this connection back.");
  }

  /** @param {import("./signalling.js").End} end */
  #closed({ code, reason, said, isBroken, wasOpen }) {
    const { after } = this;
    if (code === REFUSED) {
      this.log("warn", `The server has turned this viewer away: ${said || "it does not say why"}.`);
      return this.end("failed", said || null, "refused");
    }
    const problem = after.isFull ? "server-full" : wasOpen ? null : "unreachable";
    const words = after.isFull ? "the server is full" : reason;
    if (isBroken && this.isKept) return this.retry(words, after.tries, problem);
    this.lose(words, problem);
  }

  /** @param {RTCPeerConnectionState} state */
  #follow(state) {
    const { after, now } = this;
    switch (state) {
      case "connected":
        return this.#established();
      case "disconnected":
        after.isSilent = false;
        if (after.media !== "connected") return;
        after.media = "interrupted";
        after.lostSince = now;
        after.due.grace = now + (after.keepsPeer ? GRACE_MS.kept : GRACE_MS.alone);
        return this.log("warn", "The media connection is interrupted; waiting for it to recover.");
      case "failed":
      case "closed": {
        after.isSilent = false;
        const reason = `the peer connection ${state}`;
        if (this.isKept) return this.loseMedia(reason);
        return this.lose(reason, after.media === "new" ? "no-media-path" : null);
      }
    }
  }

  #established() {
    const { after, now } = this;
    if (after.media === "none") return;
    const { due } = after;
    for (const timer of /** @type {Timer[]} */ (["connecting", "grace", "restart", "giveUp"]))
      delete due[timer];
    Object.assign(after, { media: "connected", lostSince: null, heardAt: now });
    Object.assign(after, { isSilent: false, isRestarting: false });
    this.settle();
    if (after.state !== "connected") {
      this.log("info", "Connected.");
      this.tell("connected", null, null);
    }
    // The network is back: a WebSocket that was tried before that need not be waited for.
    if (after.socket !== "open") this.#look();
  }

  #heard() {
    const { after, now } = this;
    after.heardAt = now;
    if (this.isLost && after.isSilent) return this.#established();
    if (after.media !== "connected" || !after.isRestarting) return;
    after.isRestarting = false;
    delete after.due.restart;
  }

  #look() {
    const { socket, openedAt } = this.after;
    if (socket === "open") this.actions.push({ do: "look" });
    else if (socket === "none" || this.now - openedAt > STALE_MS) this.open();
  }

  /** @param {{reason: string, code: string | null}} refusal */
  #refused({ reason, code }) {
    const { after } = this;
    if (code === "server-full" || /^server full/i.test(reason)) after.isFull = true;
    if (code === "no-shared-codec") return this.end("failed", reason, code);
    if (code !== "bad-offer") return;
    if (after.isRestarting) this.offer();
    else if (after.media === "new") this.lose(reason, null);
  }

  /** Media that are lost, and a server that answers. */
  #mend() {
    const { lostSince } = this.after;
    if (lostSince !== null && this.now - lostSince >= GIVE_UP_MS) this.offer();
    else this.restart();
  }
}
