// Our wire protocol for another server: a WebSocket to each viewer, JSON text both ways.

import { randomUUID } from "node:crypto";
import { WebSocketServer } from "ws";

/** @typedef {{ type: string, data?: any, error?: string }} Message */

/**
 * Listens on any free port of `host`, and tells the parent process where.
 * @param {string} host
 * @param {(send: (message: Message) => void) => { onMessage: (message: Message) => void, onClose: () => void }} join
 *   called for each viewer
 */
export function serve(host, join) {
  const server = new WebSocketServer({ host, port: 0 });
  server.on("connection", (socket) => {
    const peerId = randomUUID();
    const send = (/** @type {Message} */ message) =>
      socket.send(JSON.stringify({ peerId, ...message }));
    send({ type: "config", data: { iceServers: [], videoCodec: "auto", audioCodec: "opus" } });
    const { onMessage, onClose } = join(send);
    socket.on("message", (text) => onMessage(JSON.parse(String(text))));
    socket.on("error", () => {});
    socket.once("close", onClose);
  });
  server.on("listening", () => {
    const address = /** @type {import("node:net").AddressInfo} */ (server.address());
    process.send?.({ url: `ws://${host}:${address.port}` });
  });
  process.once("disconnect", () => process.exit());
}
