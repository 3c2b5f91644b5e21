// A bad network between browsers and a server: passes signalling on, and the media through sockets of its own, where
// packets get lost and late. Both sides know of no other way to each other.
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { type RawData, WebSocket, WebSocketServer } from "ws";
import { cleanup } from "../support.js";

const HOST = "127.0.0.1";
/** Room for a keyframe's datagrams that come at once; the system may grant less. */
const RECEIVE_BUFFER = 4 * 2 ** 20;

/** One direction of the network. Its fields may be set at any time, and are true of the packets that come then. */
export class Direction {
  /** Which share of the packets is lost, 0 to 1. */
  loss = 0;
  /** Whether that is true of STUN and DTLS as well, so that connecting takes its time. */
  losesAll = false;
  /** How much later each packet is delivered. */
  delayMs = 0;
  /** Each is delayed by 0 to so much more, and may be overtaken. */
  jitterMs = 0;
  /** Nothing gets through. */
  blackout = false;

  /** Of RTP and RTCP, and of everything else. */
  readonly media = { passed: 0, lost: 0 };
  readonly other = { passed: 0, lost: 0 };

  // One generator each: which packets are lost does not depend on how late the others are.
  readonly #losses: () => number;
  readonly #delays: () => number;

  constructor(seed: number) {
    this.#losses = random(seed);
    this.#delays = random(seed + 1);
  }

  /** Calls `deliver` when a packet arrives at the other end, if it does. */
  carry(packet: Buffer, deliver: () => void): void {
    const [first = 0] = packet;
    const isMedia = first >= 128 && first < 192; // RFC 7983
    const counts = isMedia ? this.media : this.other;
    const isLost = (isMedia || this.losesAll) && this.#losses() < this.loss;
    if (isLost || this.blackout) {
      counts.lost += 1;
      return;
    }
    counts.passed += 1;
    const ms = this.delayMs + this.jitterMs * this.#delays();
    if (ms === 0) deliver();
    else setTimeout(deliver, ms);
  }

  /** Which share of the media was lost so far, in percent. */
  get lossPercent(): number {
    const { passed, lost } = this.media;
    return (100 * lost) / Math.max(1, passed + lost);
  }
}

/** The network; ends after the test. */
export class Relay {
  readonly toServer: Direction;
  readonly toBrowser: Direction;
  /** WebSockets that were opened so far. */
  signallingConnections = 0;
  readonly #listener = new WebSocketServer({ host: HOST, port: 0 });

  private constructor(server: number, seed: number) {
    this.toServer = new Direction(seed);
    this.toBrowser = new Direction(seed + 2);
    this.#listener.on("connection", (browser) => {
      this.signallingConnections += 1;
      void proxy(this, browser, server);
    });
  }

  /**
   * Stands before the server that signals on port `server`. Equal seeds lose the same packets; with this one the share
   * that is lost is soon near what it is set to.
   */
  static async before(server: number, seed = 4): Promise<Relay> {
    const relay = new Relay(server, seed);
    cleanup(() => {
      for (const browser of relay.#listener.clients) browser.terminate();
      relay.#listener.close();
    });
    await once(relay.#listener, "listening");
    return relay;
  }

  /** For the page's `?server=`. */
  get url(): string {
    return `ws://${HOST}:${(this.#listener.address() as AddressInfo).port}`;
  }

  /** In both directions. */
  set(
    settings: Partial<Pick<Direction, "loss" | "losesAll" | "delayMs" | "jitterMs" | "blackout">>,
  ) {
    Object.assign(this.toServer, settings);
    Object.assign(this.toBrowser, settings);
  }
}

/** Joins a browser's WebSocket to one of our own to the server, and gives it a way for its media. */
async function proxy(relay: Relay, browser: WebSocket, server: number): Promise<void> {
  // What a browser sends before there is somebody to tell.
  const early: RawData[] = [];
  const keep = (data: RawData) => void early.push(data);
  browser.on("message", keep);
  browser.on("error", () => {});
  const path = await MediaPath.open(relay);
  const upstream = new WebSocket(`ws://${HOST}:${server}/`);
  upstream.on("error", () => {});
  const tell = (data: RawData) => {
    const message = towardsServer(String(data));
    if (message) upstream.send(message);
  };
  upstream.on("open", () => {
    browser.off("message", keep);
    early.forEach(tell);
    browser.on("message", tell);
  });
  upstream.on("message", (data) => {
    const message = towardsBrowser(String(data), path);
    if (message) browser.send(message);
  });
  // Codes that may not be sent stand for an end without one.
  const isSendable = (code: number) => code !== 1005 && code !== 1006;
  upstream.on("close", (code, reason) => {
    path.close();
    if (isSendable(code)) browser.close(code, reason);
    else browser.terminate();
  });
  const end = () => upstream.close();
  if (browser.readyState === WebSocket.OPEN) browser.on("close", end);
  else end();
}

/** A browser's message without a word of its own addresses; null if nothing else is in it. */
function towardsServer(text: string): string | null {
  const message = parse(text);
  if (message?.type === "ice-candidate") return null;
  if (typeof message?.data?.sdp !== "string") return text;
  message.data.sdp = mapCandidates(message.data.sdp, () => null);
  return JSON.stringify(message);
}

/** A server's message with the path's address in the place of its own; null if nothing else is in it. */
function towardsBrowser(text: string, path: MediaPath): string | null {
  const message = parse(text);
  if (message?.type === "ice-candidate") {
    const { candidate } = message.data ?? {};
    if (typeof candidate !== "string" || candidate === "") return text; // No more of them.
    message.data.candidate = path.standIn(candidate);
    return message.data.candidate === null ? null : JSON.stringify(message);
  }
  if (typeof message?.data?.sdp !== "string") return text;
  message.data.sdp = mapCandidates(message.data.sdp, (candidate) => path.standIn(candidate));
  return JSON.stringify(message);
}

/** The description with each `candidate:…` replaced, or left out. */
function mapCandidates(sdp: string, replace: (candidate: string) => string | null): string {
  const lines = sdp.split("\r\n").flatMap((line) => {
    if (!line.startsWith("a=candidate:")) return [line];
    const candidate = replace(line.slice("a=".length));
    return candidate === null ? [] : [`a=${candidate}`];
  });
  return lines.join("\r\n");
}

// biome-ignore lint/suspicious/noExplicitAny: the wire carries anything
function parse(text: string): any {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** One browser's way: a socket that stands for the server, and one that stands for each address of the browser. */
class MediaPath {
  readonly #relay: Relay;
  readonly #front: Socket;
  /** By the browser's address, as a router would do. */
  readonly #backs = new Map<string, Promise<Socket>>();
  /** Where the server is, once it has said so. */
  #server: { address: string; port: number } | null = null;
  #isClosed = false;

  private constructor(relay: Relay, front: Socket) {
    this.#relay = relay;
    this.#front = front;
    front.on("message", (packet, browser) => {
      relay.toServer.carry(packet, () => void this.#tellServer(packet, browser));
    });
  }

  static async open(relay: Relay): Promise<MediaPath> {
    return new MediaPath(relay, await bound());
  }

  /** The path's own candidate in the place of the server's; null for those that it does not serve. */
  standIn(candidate: string): string | null {
    // candidate:FOUNDATION COMPONENT TRANSPORT PRIORITY ADDRESS PORT typ …
    const fields = candidate.split(" ");
    const [, , transport = "", , address = "", port = ""] = fields;
    if (transport.toLowerCase() !== "udp" || address !== HOST) return null;
    this.#server ??= { address, port: Number(port) };
    if (this.#server.port !== Number(port)) return null;
    fields[5] = String(this.#front.address().port);
    return fields.join(" ");
  }

  close(): void {
    this.#isClosed = true;
    this.#front.close();
    for (const back of this.#backs.values()) void back.then((socket) => socket.close());
  }

  async #tellServer(packet: Buffer, browser: RemoteInfo): Promise<void> {
    const key = `${browser.address}:${browser.port}`;
    if (this.#isClosed) return;
    const known = this.#backs.get(key) ?? this.#openBack(browser);
    this.#backs.set(key, known);
    const back = await known;
    if (this.#isClosed || !this.#server) return;
    back.send(packet, this.#server.port, this.#server.address);
  }

  async #openBack(browser: RemoteInfo): Promise<Socket> {
    const back = await bound();
    back.on("message", (packet) => {
      this.#relay.toBrowser.carry(packet, () => {
        if (!this.#isClosed) this.#front.send(packet, browser.port, browser.address);
      });
    });
    return back;
  }
}

async function bound(): Promise<Socket> {
  const socket = createSocket({ type: "udp4", recvBufferSize: RECEIVE_BUFFER });
  // A packet that cannot be sent is lost, as anywhere.
  socket.on("error", () => {});
  socket.bind(0, HOST);
  await once(socket, "listening");
  return socket;
}

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
