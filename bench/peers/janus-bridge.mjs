// Our wire protocol before Janus' streaming plugin: Janus makes the offer, the viewer answers. Arguments: the
// address to listen on, and the URL of Janus' WebSocket API.

import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { WebSocket } from "ws";
import { MOUNTPOINT } from "../lib/janus.mjs";
import { serve } from "./signalling.mjs";

/** Janus forgets a session that is silent for 60 s. */
const KEEPALIVE_MS = 25_000;
/** It takes about a second to start. */
const MAX_TRIES = 100;
const RETRY_MS = 100;

const [host = "127.0.0.1", api = ""] = process.argv.slice(2);
/** @type {Map<string, (message: any) => void>} by transaction */
const replies = new Map();
/** @type {Map<number, (event: any) => void>} by handle */
const handles = new Map();

const socket = await connect();
socket.on("close", () => process.exit(1));
socket.on("message", (text) => {
  const message = JSON.parse(String(text));
  const reply = replies.get(message.transaction);
  // "ack" says that an event will follow, under the same transaction.
  if (reply && (message.janus === "success" || message.janus === "error")) {
    replies.delete(message.transaction);
    reply(message);
  } else if (message.jsep) {
    handles.get(message.sender)?.(message);
  }
});
const session = (await ask({ janus: "create" })).data.id;
setInterval(
  () => tell({ janus: "keepalive", session_id: session, transaction: randomUUID() }),
  KEEPALIVE_MS,
);
serve(host, join);

/**
 * As soon as Janus listens.
 * @returns {Promise<WebSocket>}
 */
async function connect() {
  for (let tries = 1; ; tries++) {
    const attempt = new WebSocket(api, "janus-protocol");
    try {
      await once(attempt, "open");
      return attempt;
    } catch (error) {
      if (tries === MAX_TRIES) throw error;
      await delay(RETRY_MS);
    }
  }
}

/** @param {(message: import("./signalling.mjs").Message) => void} send */
function join(send) {
  let handle = 0;
  const request = (/** @type {object} */ body, /** @type {object} */ more = {}) =>
    tell({
      janus: "message",
      session_id: session,
      handle_id: handle,
      transaction: randomUUID(),
      body,
      ...more,
    });
  ask({ janus: "attach", session_id: session, plugin: "janus.plugin.streaming" }).then(
    ({ data }) => {
      handle = data.id;
      handles.set(handle, ({ jsep }) => send({ type: "offer", data: jsep }));
      request({ request: "watch", id: MOUNTPOINT });
    },
  );
  return {
    onMessage: (/** @type {import("./signalling.mjs").Message} */ { type, data }) => {
      if (type === "answer") request({ request: "start" }, { jsep: data });
      if (type === "ice-candidate") {
        const transaction = randomUUID();
        const addressed = { session_id: session, handle_id: handle, transaction };
        tell({ janus: "trickle", ...addressed, candidate: data });
      }
    },
    onClose: () => {
      handles.delete(handle);
      const transaction = randomUUID();
      tell({ janus: "detach", session_id: session, handle_id: handle, transaction });
    },
  };
}

/**
 * @param {object} request
 * @returns {Promise<any>}
 */
function ask(request) {
  const transaction = randomUUID();
  return new Promise((resolve, reject) => {
    replies.set(transaction, (message) =>
      message.janus === "success" ? resolve(message) : reject(new Error(message.error.reason)),
    );
    tell({ ...request, transaction });
  });
}

/** @param {object} message */
function tell(message) {
  socket.send(JSON.stringify(message));
}
