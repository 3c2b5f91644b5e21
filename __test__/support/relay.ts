// A bad network between browsers and a server: passes signalling on, and the media through sockets of its own, where
// packets get lost and late. Both sides know of no other way to each other.
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:http";
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
  /** Offers that browsers have sent so far. */
  offers = 0;
  /** How much later each message of signalling is delivered. */
  signallingDelayMs = 0;
  readonly #server: number;
  readonly #http = createServer((_, response) => response.writeHead(426).end());
  readonly #listener = new WebSocketServer({ noServer: true });
  readonly #lines: Line[] = [];
  readonly #paths: MediaPath[] = [];
  #isDark = false;

  private constructor(server: number, seed: number) {
    this.#server = server;
    this.toServer = new Direction(seed);
    this.toBrowser = new Direction(seed + 2);
    this.#http.on("upgrade", (request, socket, head) => {
      // What asks in the dark is never heard.
      if (this.#isDark) return void cleanup(() => socket.destroy());
      this.#listener.handleUpgrade(request, socket, head, (browser) => {
        this.signallingConnections += 1;
        void this.#join(browser, request.url ?? "/");
      });
    });
  }

  /**
   * Stands before the server that signals on port `server`. Equal seeds lose the same packets; with this one the share
   * that is lost is soon near what it is set to.
   */
  static async before(server: number, seed = 4): Promise<Relay> {
    const relay = new Relay(server, seed);
    cleanup(() => {
      for (const line of relay.#lines) line.cut();
      for (const path of relay.#paths) path.close();
      relay.#http.close();
    });
    relay.#http.listen(0, HOST);
    await once(relay.#http, "listening");
    return relay;
  }

  /** For the page's `?server=`. */
  get url(): string {
    return `ws://${HOST}:${(this.#http.address() as AddressInfo).port}`;
  }

  /** In both directions. */
  set(
    settings: Partial<Pick<Direction, "loss" | "losesAll" | "delayMs" | "jitterMs" | "blackout">>,
  ) {
    Object.assign(this.toServer, settings);
    Object.assign(this.toBrowser, settings);
  }

  /**
   * Nothing at all gets through any more. Connections stay open: what is said over them arrives once it is light again, as
   * TCP has it; what is opened meanwhile is not.
   */
  darken(): void {
    this.#isDark = true;
    this.set({ blackout: true });
  }

  lighten(): void {
    this.#isDark = false;
    this.set({ blackout: false });
    for (const line of this.#lines) line.release();
  }

  /** Breaks the WebSockets without a close frame; the media go on. */
  cut(): void {
    for (const line of this.#lines) line.cut();
  }

  /** From now on the server is sent the media from other ports, and what it sends to the old ones is lost. */
  rebind(): void {
    for (const path of this.#paths) path.rebind();
  }

  get isDark(): boolean {
    return this.#isDark;
  }

  async #join(browser: WebSocket, target: string): Promise<void> {
    const path = await MediaPath.open(this);
    // It outlives its WebSocket, as the media may.
    this.#paths.push(path);
    if (browser.readyState !== WebSocket.OPEN) return;
    const upstream = new WebSocket(`ws://${HOST}:${this.#server}${target}`);
    this.#lines.push(new Line(this, browser, upstream, path));
  }
}

/** One browser's WebSocket, joined to one of our own to the server. */
class Line {
  readonly #relay: Relay;
  readonly #browser: WebSocket;
  readonly #upstream: WebSocket;
  /** What is to be passed on once there is somebody to tell, and it is light. */
  #held: (() => void)[] = [];

  constructor(relay: Relay, browser: WebSocket, upstream: WebSocket, path: MediaPath) {
    this.#relay = relay;
    this.#browser = browser;
    this.#upstream = upstream;
    for (const socket of [browser, upstream]) socket.on("error", () => {});
    browser.on("message", (data) => this.#pass(() => this.#tellServer(data)));
    upstream.on("message", (data) => {
      const message = towardsBrowser(String(data), path);
      if (message) this.#pass(() => tell(browser, message));
    });
    browser.on("close", (code, reason) => this.#pass(() => end(upstream, code, reason)));
    upstream.on("close", (code, reason) => this.#pass(() => end(browser, code, reason)));
    upstream.on("open", () => this.release());
  }

  /** Passes on what was held, if it may. */
  release(): void {
    if (!this.#isOpen) return;
    for (const step of this.#held.splice(0)) step();
  }

  cut(): void {
    this.#browser.terminate();
    this.#upstream.terminate();
  }

  get #isOpen(): boolean {
    return this.#upstream.readyState !== WebSocket.CONNECTING && !this.#relay.isDark;
  }

  #pass(step: () => void): void {
    const ms = this.#relay.signallingDelayMs;
    if (ms > 0) setTimeout(() => this.#arrive(step), ms);
    else this.#arrive(step);
  }

  #arrive(step: () => void): void {
    if (this.#isOpen) step();
    else this.#held.push(step);
  }

  #tellServer(data: RawData): void {
    if (parse(String(data))?.type === "offer") this.#relay.offers += 1;
    const message = towardsServer(String(data));
    if (message) tell(this.#upstream, message);
  }
}

/** What comes too late is lost. */
function tell(socket: WebSocket, message: string): void {
  if (socket.readyState === WebSocket.OPEN) socket.send(message);
}

/** Ends one side of a line as the other one ended. */
function end(socket: WebSocket, code: number, reason: Buffer): void {
  if (code === 1006) socket.terminate();
  else if (code === 1005) socket.close();
  else socket.close(code, reason);
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
    this.rebind();
  }

  rebind(): void {
    for (const back of this.#backs.values()) void back.then((socket) => socket.close());
    this.#backs.clear();
  }

  async #tellServer(packet: Buffer, browser: RemoteInfo): Promise<void> {
    const key = `${browser.address}:${browser.port}`;
    if (this.#isClosed) return;
    const known = this.#backs.get(key) ?? this.#openBack(browser);
    this.#backs.set(key, known);
    const back = await known;
    if (this.#isClosed || !this.#server || this.#backs.get(key) !== known) return;
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
