// What the suites share: loopback options, waiting for events, a raw signalling client.
import { EventEmitter } from "node:events";
import { readdirSync } from "node:fs";
import {
  createStreamingSystem,
  type MediaBridgeConfig,
  type StreamingSystem,
  type WebRTCConfig,
  WebRTCStreamingServer,
} from "avatar-webrtc-streaming";
import { afterEach, expect, vi } from "vitest";
import { WebSocket } from "ws";

/** Options that need no network and disturb no other test. */
export const loopback: WebRTCConfig = {
  signalingPort: 0,
  signalingHost: "127.0.0.1",
  listenIps: ["127.0.0.1"],
  iceServers: [],
};

export const rgba = (width = 64, height = 64) => ({
  data: Buffer.alloc(width * height * 4, 128),
  width,
  height,
  timestamp: Date.now(),
  format: "RGBA" as const,
});

export const pcm = (ms = 20) => ({
  data: Buffer.alloc(ms * 32),
  sampleRate: 16000,
  channels: 1,
  timestamp: Date.now(),
  format: "PCM" as const,
});

const cleanups: (() => unknown)[] = [];

/** Runs after the test, last one first. */
export function cleanup(step: () => unknown): void {
  cleanups.push(step);
}

afterEach(async () => {
  for (const step of cleanups.splice(0).reverse()) await step();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

/** A server that listens and is stopped after the test. */
export async function listen(
  config: WebRTCConfig = {},
): Promise<{ server: WebRTCStreamingServer; port: number }> {
  const server = new WebRTCStreamingServer({ ...loopback, ...config });
  cleanup(() => server.stop());
  await server.start();
  if (server.port === null) throw new Error("the server has no port");
  return { server, port: server.port };
}

/** A system that listens and is stopped after the test. */
export async function systemWith(
  webrtc: WebRTCConfig = {},
  media: MediaBridgeConfig = {},
): Promise<StreamingSystem> {
  const system = await createStreamingSystem({ webrtc: { ...loopback, ...webrtc }, media });
  cleanup(() => system.stop());
  return system;
}

/** The payload of the next `event`. */
// biome-ignore lint/suspicious/noExplicitAny: payloads of all events of all classes
export function next(emitter: EventEmitter, event: string): Promise<any> {
  return new Promise((resolve) => EventEmitter.prototype.once.call(emitter, event, resolve));
}

export interface Message {
  type: string;
  peerId?: string;
  // biome-ignore lint/suspicious/noExplicitAny: the wire carries anything
  data?: any;
  error?: string;
}

/** A raw signalling client that keeps what it is sent until it is asked for. */
export class Client {
  readonly socket: WebSocket;
  readonly opened: Promise<void>;
  /** The close code. */
  readonly closed: Promise<number>;
  #waiting: Message[] = [];
  #wanted: ((message: Message) => void)[] = [];

  constructor(port: number, query = "") {
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/${query}`);
    this.opened = new Promise((resolve, reject) => {
      this.socket.once("open", () => resolve());
      this.socket.once("error", reject);
    });
    this.opened.catch(() => {});
    this.closed = new Promise((resolve) => this.socket.once("close", resolve));
    this.socket.on("error", () => {});
    this.socket.on("message", (data) => {
      const message = JSON.parse(String(data)) as Message;
      const wanted = this.#wanted.shift();
      if (wanted) wanted(message);
      else this.#waiting.push(message);
    });
    cleanup(() => this.socket.terminate());
  }

  /** The next message. */
  receive(): Promise<Message> {
    const message = this.#waiting.shift();
    if (message) return Promise.resolve(message);
    return new Promise((resolve) => this.#wanted.push(resolve));
  }

  send(message: unknown): void {
    this.socket.send(JSON.stringify(message));
  }

  sendText(text: string | Buffer): void {
    this.socket.send(text);
  }
}

/** A client that has got its config, and the id that it was given. */
export async function join(port: number): Promise<{ client: Client; peerId: string }> {
  const client = new Client(port);
  const { type, peerId } = await client.receive();
  if (type !== "config" || !peerId) throw new Error(`the first message is ${type}`);
  return { client, peerId };
}

/** The threads and descriptors of this process. */
export function resources() {
  return {
    threads: readdirSync("/proc/self/task").length,
    descriptors: readdirSync("/proc/self/fd").length,
  };
}

/** Waits until no more is in use than `before`: sockets and threads end a moment after they are told to. */
export async function settled(before: ReturnType<typeof resources>) {
  await vi.waitFor(
    () => {
      const now = resources();
      expect(now.threads).toBeLessThanOrEqual(before.threads);
      expect(now.descriptors).toBeLessThanOrEqual(before.descriptors);
    },
    { timeout: 10_000, interval: 50 },
  );
}
