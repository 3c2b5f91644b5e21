// Microphones are decoded only for who listens: whatever way listeners come and go, the engine knows.

import { type EventEmitter, once } from "node:events";
import { createRequire } from "node:module";
import { connectMediaBridge, createWebRTCServer, MediaBridge } from "avatar-webrtc-streaming";
import { beforeEach, describe, expect, it, type MockInstance, vi } from "vitest";
import { loopback, systemWith } from "./support.js";

const { NativeServer } = createRequire(import.meta.url)("../binding.js");

let told: MockInstance;

beforeEach(() => {
  told = vi.spyOn(NativeServer.prototype, "setListening");
});

const CHUNKS = [true, false, false];
const UTTERANCES = [false, true, false];
const BOTH = [true, true, false];
const SPEECH = [false, false, true];
const NOTHING = [false, false, false];

function connected() {
  const server = createWebRTCServer(loopback);
  const bridge = new MediaBridge();
  connectMediaBridge(bridge, server);
  return { server, bridge };
}

const listener = () => {};

describe("whether anybody listens", () => {
  it("is no before the first listener, also of a connected bridge", async () => {
    const system = await systemWith();
    await system.start();
    system.server.on("peer-connected", listener);
    system.bridge.on("warning", listener);
    expect(told).not.toHaveBeenCalled();
    expect(system.server.getMicrophoneUsage()).toEqual({ decoders: 0, packets: 0, dropped: 0 });
  });

  it.each(["server", "bridge"] as const)("is told of every way to listen to a %s", (which) => {
    const emitter: EventEmitter = connected()[which];
    emitter.on("incoming-audio", listener);
    expect(told).toHaveBeenLastCalledWith(...CHUNKS);
    emitter.prependListener("utterance", listener);
    expect(told).toHaveBeenLastCalledWith(...BOTH);
    emitter.off("incoming-audio", listener);
    expect(told).toHaveBeenLastCalledWith(...UTTERANCES);
    emitter.removeAllListeners("utterance");
    // What a server's own forwarding was is gone with its other listeners.
    expect(told).toHaveBeenLastCalledWith(...NOTHING);
    emitter.addListener("incoming-audio", listener);
    emitter.removeListener("incoming-audio", listener);
    expect(told.mock.lastCall).toEqual(NOTHING);
    for (const event of ["speech-start", "speech-end"]) {
      emitter.on(event, listener);
      expect(told.mock.lastCall).toEqual(SPEECH);
      emitter.off(event, listener);
      expect(told.mock.lastCall).toEqual(NOTHING);
    }
    emitter.prependOnceListener("incoming-audio", listener);
    expect(told.mock.lastCall).toEqual(CHUNKS);
    emitter.removeAllListeners();
    expect(told.mock.lastCall).toEqual(NOTHING);
  });

  it.each(["server", "bridge"] as const)("ends with a `once` of a %s", async (which) => {
    const { server, bridge } = connected();
    const emitter: EventEmitter = { server, bridge }[which];
    emitter.once("utterance", listener);
    expect(told.mock.lastCall).toEqual(UTTERANCES);
    server.emit("utterance", {} as never);
    expect(told.mock.lastCall).toEqual(NOTHING);
    const heard = once(emitter, "incoming-audio");
    expect(told.mock.lastCall).toEqual(CHUNKS);
    server.emit("incoming-audio", {} as never);
    await heard;
    expect(told.mock.lastCall).toEqual(NOTHING);
  });

  it("counts a bridge that listened before it was connected, for each server", () => {
    const bridge = new MediaBridge();
    bridge.on("incoming-audio", listener);
    expect(told).not.toHaveBeenCalled();
    for (const server of [createWebRTCServer(loopback), createWebRTCServer(loopback)]) {
      connectMediaBridge(bridge, server);
      expect(told.mock.lastCall).toEqual(CHUNKS);
    }
    expect(told).toHaveBeenCalledTimes(2);
    bridge.removeAllListeners("incoming-audio");
    expect(told.mock.calls.slice(2)).toEqual([NOTHING, NOTHING]);
  });

  it("goes on while another one listens", () => {
    const { server, bridge } = connected();
    server.on("incoming-audio", listener);
    bridge.on("incoming-audio", listener);
    server.off("incoming-audio", listener);
    expect(told.mock.calls).toEqual([CHUNKS]);
    bridge.off("incoming-audio", listener);
    expect(told.mock.calls).toEqual([CHUNKS, NOTHING]);
  });

  it("counts a bridge of another class that takes chunks itself", () => {
    class Recogniser extends MediaBridge {
      override handleIncomingAudio() {}
    }
    connectMediaBridge(new Recogniser(), createWebRTCServer(loopback));
    expect(told.mock.lastCall).toEqual(CHUNKS);
  });
});
