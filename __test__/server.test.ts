import { setImmediate as turn } from "node:timers/promises";
import { connectMediaBridge, createWebRTCServer, MediaBridge } from "avatar-webrtc-streaming";
import { describe, expect, it, vi } from "vitest";
import { Client, cleanup, join, listen, loopback, next, pcm, rgba } from "./support.js";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const NOBODY = "00000000-0000-4000-8000-000000000000";

describe("a server's life", () => {
  it("does not listen before start", () => {
    const server = createWebRTCServer(loopback);
    expect(server.port).toBeNull();
    expect(server.getPeers()).toEqual([]);
    expect(server.getPeerCount()).toBe(0);
    expect(() => server.broadcast({ type: "hello" })).not.toThrow();
  });

  it("emits started with its port, and stopped once", async () => {
    const server = createWebRTCServer(loopback);
    const seen: unknown[] = [];
    server.on("started", (info) => seen.push(info));
    server.on("stopped", () => seen.push("stopped"));
    await server.start();
    expect(seen).toEqual([{ port: server.port }]);
    expect(server.port).toBeGreaterThan(0);
    await Promise.all([server.stop(), server.stop()]);
    await server.stop();
    expect(seen.slice(1)).toEqual(["stopped"]);
    expect(server.port).toBeNull();
  });

  it("rejects a second start, while starting and afterwards", async () => {
    const server = createWebRTCServer(loopback);
    cleanup(() => server.stop());
    const first = server.start();
    await expect(server.start()).rejects.toThrow("already started");
    await first;
    await expect(server.start()).rejects.toMatchObject({ code: "ERR_ALREADY_STARTED" });
    expect(server.port).not.toBeNull();
  });

  it("starts again after a stop, on the same port", async () => {
    const { server, port } = await listen();
    await server.stop();
    const again = (await listen({ signalingPort: port })).server;
    expect(again.port).toBe(port);
    await again.stop();
    await again.start();
    expect(again.port).toBe(port);
    await join(port);
  });

  it("stops what is still starting", async () => {
    const server = createWebRTCServer(loopback);
    const start = server.start();
    await server.stop();
    await start;
    expect(server.port).toBeNull();
  });

  it("rejects with EADDRINUSE and can be started once the port is free", async () => {
    const { server: first, port } = await listen();
    const second = createWebRTCServer({ ...loopback, signalingPort: port });
    cleanup(() => second.stop());
    const failed = vi.fn();
    second.on("error", failed);
    await expect(second.start()).rejects.toMatchObject({
      code: "EADDRINUSE",
      message: expect.stringContaining(String(port)),
    });
    expect(failed).toHaveBeenCalledTimes(1);
    await first.stop();
    await second.start();
    expect(second.port).toBe(port);
  });

  it("closes every client on stop, and tells of each before it is stopped", async () => {
    const { server, port } = await listen();
    const clients = await Promise.all([join(port), join(port), join(port)]);
    const seen: string[] = [];
    server.on("peer-disconnected", ({ peerId }) => seen.push(peerId));
    server.on("stopped", () => seen.push("stopped"));
    await server.stop();
    await Promise.all(clients.map(({ client }) => client.closed));
    expect(seen.slice(0, 3).sort()).toEqual(clients.map(({ peerId }) => peerId).sort());
    expect(seen[3]).toBe("stopped");
    expect(server.getPeerCount()).toBe(0);
  });
});

describe("a client", () => {
  it("gets the config first, with an id of its own", async () => {
    const iceServers = [
      { urls: ["stun:stun.example.com"] },
      { urls: ["turn:turn.example.com"], username: "user", credential: "pass" },
    ];
    const { port } = await listen({ iceServers });
    const client = new Client(port);
    const config = await client.receive();
    expect(config).toMatchObject({ type: "config", data: { iceServers, audioCodec: "opus" } });
    expect(config.data.videoCodec).toEqual(expect.any(String));
    expect(config.peerId).toMatch(UUID);
    expect((await join(port)).peerId).not.toBe(config.peerId);
  });

  it("is announced, listed and announced gone", async () => {
    const { server, port } = await listen();
    const connected = next(server, "peer-connected");
    const before = Date.now();
    const { client, peerId } = await join(port);
    const peer = await connected;
    expect(peer).toMatchObject({ id: peerId, state: "connecting" });
    expect(peer.createdAt).toBeInstanceOf(Date);
    expect(Math.abs(peer.createdAt.getTime() - before)).toBeLessThan(10_000);
    expect(server.getPeers()).toEqual([peer]);
    expect(server.getPeerCount()).toBe(1);
    const gone = next(server, "peer-disconnected");
    client.socket.close();
    expect(await gone).toEqual({ peerId, reason: expect.any(String) });
    expect(server.getPeers()).toEqual([]);
  });

  it("too many is told so and closed, and a place that is given up is free", async () => {
    const { server, port } = await listen({ maxClients: 2 });
    const [first] = await Promise.all([join(port), join(port)]);
    const third = new Client(port);
    expect(await third.receive()).toEqual({ type: "error", error: "Server full" });
    await third.closed;
    expect(server.getPeerCount()).toBe(2);
    const gone = next(server, "peer-disconnected");
    first?.client.socket.close();
    await gone;
    await join(port);
  });

  it("that writes no JSON is told so and kept", async () => {
    const { server, port } = await listen();
    const failed = vi.fn();
    server.on("error", failed);
    const { client } = await join(port);
    for (const text of ["not json", "{", ""]) {
      client.sendText(text);
      expect(await client.receive()).toEqual({ type: "error", error: "Invalid message format" });
    }
    server.broadcast({ type: "still-there" });
    expect(await client.receive()).toEqual({ type: "still-there" });
    expect(failed).not.toHaveBeenCalled();
  });

  it("that writes garbage of any shape neither disturbs the server nor emits error", async () => {
    const { server, port } = await listen();
    const failed = vi.fn();
    server.on("error", failed);
    const { client } = await join(port);
    const other = await join(port);
    for (const garbage of [
      "null",
      "7",
      "[]",
      '"offer"',
      "{}",
      '{"type":7}',
      '{"type":"offer"}',
      '{"type":"offer","data":null}',
      '{"type":"offer","data":{"type":"offer","sdp":7}}',
      '{"type":"offer","data":{"type":"offer","sdp":"v=0"}}',
      '{"type":"answer","data":{"sdp":"x"}}',
      '{"type":"ice-candidate","data":{"candidate":"candidate:x"}}',
      '{"type":"ice-candidate","data":[]}',
      '{"type":"unknown-type"}',
      '{"type":"__proto__"}',
      `${"[".repeat(5000)}${"]".repeat(5000)}`,
    ]) {
      client.sendText(garbage);
    }
    client.sendText(Buffer.from([0, 1, 2, 255]));
    // In order: once the last message was seen, so were all before it.
    const last = new Promise<void>((resolve) => {
      server.on("ice-candidate", ({ candidate }) => candidate.sdpMid === "last" && resolve());
    });
    client.send({ type: "ice-candidate", data: { candidate: "", sdpMid: "last" } });
    await last;
    server.broadcast({ type: "still-there" });
    expect(await other.client.receive()).toEqual({ type: "still-there" });
    expect(failed).not.toHaveBeenCalled();
    expect(server.getPeerCount()).toBe(2);
  });

  it("that writes too much at once is closed with 1009, and the others stay", async () => {
    const { server, port } = await listen();
    const { client } = await join(port);
    const other = await join(port);
    client.sendText("x".repeat(4 * 1024 * 1024));
    expect(await client.closed).toBe(1009);
    server.broadcast({ type: "still-there" });
    expect(await other.client.receive()).toEqual({ type: "still-there" });
  });

  it("may send what an unknown extension knows", async () => {
    const { server, port } = await listen();
    const { client } = await join(port);
    client.send({ type: "pong" });
    client.send({ type: "pong", extra: [1, 2, 3] });
    server.broadcast({ type: "still-there" });
    expect(await client.receive()).toEqual({ type: "still-there" });
  });
});

describe("negotiation", () => {
  it("emits an unusable offer as it is, and tells the client what is wrong", async () => {
    const { server, port } = await listen();
    const failed = vi.fn();
    server.on("error", failed);
    const { client, peerId } = await join(port);
    const offer = { type: "offer", sdp: "this is no SDP" };
    const seen = next(server, "offer");
    client.send({ type: "offer", data: offer });
    expect(await seen).toEqual({ peerId, offer });
    const reply = await client.receive();
    expect(reply.type).toBe("error");
    expect(reply.error).toMatch(/\w+ \w+/);
    expect(failed).not.toHaveBeenCalled();
    expect(server.getPeerCount()).toBe(1);
  });

  it("is left to the application with autoAnswer: false, passing everything on as it is", async () => {
    const { server, port } = await listen({ autoAnswer: false });
    const { client, peerId } = await join(port);
    const offer = {
      type: "offer",
      sdp: "v=0 of the client's own",
      extra: { kept: [1, null, "ü"] },
    };
    const offered = next(server, "offer");
    client.send({ type: "offer", data: offer });
    expect(await offered).toEqual({ peerId, offer });

    const answer = { type: "answer" as const, sdp: "v=0 of the application's own", extra: true };
    expect(server.sendAnswer(peerId, answer)).toBe(true);
    expect(await client.receive()).toEqual({ type: "answer", peerId, data: answer });

    const candidate = {
      candidate: "candidate:1 1 udp 1 192.0.2.1 9 typ host",
      sdpMid: "0",
      sdpMLineIndex: 0,
    };
    expect(server.sendIceCandidate(peerId, candidate)).toBe(true);
    expect(await client.receive()).toEqual({ type: "ice-candidate", peerId, data: candidate });

    const candidates = next(server, "ice-candidate");
    client.send({ type: "ice-candidate", data: candidate });
    expect(await candidates).toEqual({ peerId, candidate });

    const answered = next(server, "answer");
    client.send({ type: "answer", data: answer });
    expect(await answered).toEqual({ peerId, answer });
  });

  it("passes on what the application sends also where the engine answers", async () => {
    const { server, port } = await listen();
    const { client, peerId } = await join(port);
    const answer = { type: "answer" as const, sdp: "v=0 of the application's own" };
    expect(server.sendAnswer(peerId, answer)).toBe(true);
    expect(await client.receive()).toEqual({ type: "answer", peerId, data: answer });
  });

  it.each([NOBODY, "nobody", ""])("only warns about the unknown peer %j", async (peerId) => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const { server } = await listen();
    expect(server.sendAnswer(peerId, { type: "answer", sdp: "" })).toBe(false);
    expect(server.sendIceCandidate(peerId, { candidate: "" })).toBe(false);
    expect(warn).toHaveBeenCalledTimes(2);
    expect(server.sendCommand(peerId, "smile")).toBe(0);
  });
});

describe("broadcast", () => {
  it("reaches every open client with any JSON object", async () => {
    const { server, port } = await listen();
    const clients = await Promise.all([join(port), join(port)]);
    const message = { type: "news", text: "grüße 🎭", nested: { list: [1, 2.5, null, false] } };
    server.broadcast(message);
    for (const { client } of clients) expect(await client.receive()).toEqual(message);
  });

  it.each([7, "text", null, [], undefined])("refuses %j", async (message) => {
    const { server } = await listen();
    expect(() => server.broadcast(message as never)).toThrow(
      expect.objectContaining({ code: "ERR_INVALID_ARG_VALUE" }),
    );
  });

  it("survives a lone surrogate and a number that JSON has not", async () => {
    const { server, port } = await listen();
    const { client } = await join(port);
    server.broadcast({ type: "odd", text: "\ud83d", value: Number.NaN });
    expect(await client.receive()).toEqual({ type: "odd", text: "\ufffd", value: "NaN" });
  });
});

describe("listeners", () => {
  it("that throw do not stop the events that follow", async () => {
    const error = vi.spyOn(console, "error").mockImplementation(() => {});
    const { server, port } = await listen();
    server.on("peer-connected", () => {
      throw new Error("from a listener");
    });
    const gone = next(server, "peer-disconnected");
    const { client } = await join(port);
    client.socket.close();
    await gone;
    expect(error).toHaveBeenCalledTimes(1);
  });

  it("get all of a flood that a blocked JavaScript thread lets wait, in order", async () => {
    const { server, port } = await listen({ autoAnswer: false });
    const { client } = await join(port);
    const seen: number[] = [];
    const last = new Promise<void>((resolve) => {
      server.on("ice-candidate", ({ candidate }) => {
        seen.push(candidate.sdpMLineIndex ?? -1);
        if (seen.length === 200) resolve();
      });
    });
    for (let n = 0; n < 200; n++) {
      client.send({ type: "ice-candidate", data: { candidate: "", sdpMLineIndex: n } });
    }
    await turn();
    const until = performance.now() + 300;
    while (performance.now() < until);
    await last;
    expect(seen).toEqual([...Array(200).keys()]);
    expect(server.getDroppedEvents()).toEqual({ audio: 0, messages: 0, state: 0 });
    expect(new Set(Object.values(server.getNetworkStats()))).toEqual(new Set([0]));
  });
});

describe("a connected bridge", () => {
  it("feeds the server, and is fed by it, once however often it is connected", async () => {
    const { server } = await listen();
    const bridge = new MediaBridge();
    cleanup(() => bridge.stop());
    connectMediaBridge(bridge, server);
    connectMediaBridge(bridge, server);
    await bridge.start();
    const seen: unknown[][] = [];
    server.on("media-video-frame", (frame) => seen.push(["video", frame]));
    server.on("media-audio-chunk", (chunk) => seen.push(["audio", chunk]));
    bridge.on("incoming-audio", (chunk) => seen.push(["incoming", chunk]));
    bridge.on("utterance", (utterance) => seen.push(["utterance", utterance]));
    const frame = rgba();
    const chunk = pcm();
    await bridge.pushVideoFrame(frame);
    await bridge.pushAudioChunk(chunk);
    const speech = { ...pcm(), peerId: NOBODY, avatarSpeaking: false };
    const utterance = { ...speech, durationMs: 20 };
    server.emit("incoming-audio", speech);
    server.emit("utterance", utterance);
    expect(seen.map(([what]) => what)).toEqual(["video", "audio", "incoming", "utterance"]);
    expect(seen.map(([, what]) => what)).toEqual([frame, chunk, speech, utterance]);
    expect(seen[0]?.[1]).toBe(frame);
  });

  it("is fed even if a listener before it throws", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const server = createWebRTCServer(loopback);
    const bridge = new MediaBridge();
    bridge.on("video-frame", () => {
      throw new Error("from a listener");
    });
    connectMediaBridge(bridge, server);
    await bridge.start();
    cleanup(() => bridge.stop());
    const seen = vi.fn();
    server.on("media-video-frame", seen);
    await bridge.pushVideoFrame(rgba());
    expect(seen).toHaveBeenCalledTimes(1);
  });

  it("must be a bridge, and be connected to a server", () => {
    expect(() => connectMediaBridge({} as never, createWebRTCServer(loopback))).toThrow(TypeError);
    expect(() => connectMediaBridge(new MediaBridge(), {} as never)).toThrow(TypeError);
  });
});
