import {
  createMediaBridge,
  createStreamingSystem,
  createWebRTCServer,
  MediaBridge,
  type WebRTCConfig,
  WebRTCStreamingServer,
} from "avatar-webrtc-streaming";
import { describe, expect, it } from "vitest";

// biome-ignore lint/suspicious/noExplicitAny: these are exactly the values that the types forbid
type Bad = any;

const circular: Record<string, unknown> = {};
circular.self = circular;

const badWebrtc: [option: string, value: Bad, received: string][] = [
  ["signalingPort", 70000, "70000"],
  ["signalingPort", -1, "-1"],
  ["signalingPort", 80.5, "80.5"],
  ["signalingPort", "8081", '"8081"'],
  ["signalingPort", Number.NaN, "NaN"],
  ["signalingPort", Infinity, "Infinity"],
  ["signalingPort", 8081n, "8081n"],
  ["signalingPort", Symbol("port"), "Symbol(port)"],
  ["signalingPort", () => 8081, "function"],
  ["signalingHost", "localhost:1", '"localhost:1"'],
  ["signalingHost", 127, "127"],
  ["iceServers", "stun:a", '"stun:a"'],
  ["iceServers", [{}], "{}"],
  ["iceServers", [{ urls: "http://a" }], "http://a"],
  ["iceServers", [{ urls: [] }], "[]"],
  ["iceServers", [{ urls: "turn:a", username: 7 }], "7"],
  ["debug", "yes", '"yes"'],
  ["maxClients", 0, "0"],
  ["maxClients", -3, "-3"],
  ["videoCodec", "H265", '"H265"'],
  ["videoCodec", 264, "264"],
  ["videoCodec", [], "[]"],
  ["videoCodec", ["VP8", "auto"], '["VP8","auto"]'],
  ["audioCodec", "aac", '"aac"'],
  ["autoAnswer", 1, "1"],
  ["udpPort", 65536, "65536"],
  ["networkThreads", 0, "0"],
  ["networkThreads", 33, "33"],
  ["listenIps", "127.0.0.1", '"127.0.0.1"'],
  ["listenIps", ["nowhere"], "nowhere"],
  ["announcedIps", [7], "7"],
];

const badMedia: [option: string, value: Bad, received: string][] = [
  ["videoFps", 0, "0"],
  ["videoFps", 121, "121"],
  ["videoFps", 29.97, "29.97"],
  ["videoFps", "30", '"30"'],
  ["videoWidth", 0, "0"],
  ["videoWidth", 5000, "5000"],
  ["videoHeight", -512, "-512"],
  ["videoHeight", {}, "{}"],
  ["videoFit", "fill", '"fill"'],
  ["videoFit", true, "true"],
  ["videoBitrate", 1, "1"],
  ["audioSampleRate", 7999, "7999"],
  ["audioSampleRate", "16k", '"16k"'],
  ["audioChannels", 3, "3"],
  ["maxAudioQueueMs", 0, "0"],
  ["debug", 1, "1"],
  ["microphone", 3, "3"],
];

const badMicrophone: [option: string, value: Bad, received: string][] = [
  ["chunkMs", 19, "19"],
  ["chunkMs", 1001, "1001"],
  ["voiceGating", "on", '"on"'],
  ["preRollMs", -1, "-1"],
  ["hangOverMs", 5001, "5001"],
];

function thrown(call: () => unknown): Error & { code?: string } {
  try {
    call();
  } catch (error) {
    return error as Error;
  }
  throw new Error("nothing was thrown");
}

function expectComplaint(error: Error & { code?: string }, option: string, received: string) {
  expect(error).toBeInstanceOf(TypeError);
  expect(error.code).toBe("ERR_INVALID_ARG_VALUE");
  expect(error.message).toContain(`\`${option}\``);
  expect(error.message).toContain("expected ");
  expect(error.message.split("received ")[1]).toContain(received);
}

describe("a bad option", () => {
  it.each(badWebrtc)("webrtc.%s = %s is named", async (option, value, received) => {
    const webrtc = { [option]: value };
    const construct = thrown(() => new WebRTCStreamingServer(webrtc));
    expectComplaint(construct, `webrtc.${option}`, received);
    const rejected = await createStreamingSystem({ webrtc }).catch((error) => error);
    expectComplaint(rejected, `webrtc.${option}`, received);
  });

  it.each(badMedia)("media.%s = %s is named", async (option, value, received) => {
    const media = { [option]: value };
    expectComplaint(
      thrown(() => new MediaBridge(media)),
      `media.${option}`,
      received,
    );
    const rejected = await createStreamingSystem({ media }).catch((error) => error);
    expectComplaint(rejected, `media.${option}`, received);
  });

  it.each(badMicrophone)("media.microphone.%s = %s is named", (option, value, received) => {
    const error = thrown(() => new MediaBridge({ microphone: { [option]: value } }));
    expectComplaint(error, `media.microphone.${option}`, received);
  });
});

describe("options that are no object", () => {
  it.each([["a string"], [7], [true], [[]], [() => {}]] as Bad[][])("%s", async (value) => {
    for (const [option, promise] of [
      ["config", createStreamingSystem(value)],
      ["webrtc", createStreamingSystem({ webrtc: value })],
      ["media", createStreamingSystem({ media: value })],
    ] as const) {
      expectComplaint(await promise.then(String, (error) => error), option, "");
    }
  });

  it("are refused by the factories too", () => {
    expectComplaint(
      thrown(() => createWebRTCServer(7 as Bad)),
      "webrtc",
      "7",
    );
    expectComplaint(
      thrown(() => createMediaBridge("x" as Bad)),
      "media",
      '"x"',
    );
    expectComplaint(
      thrown(() => createMediaBridge(circular)),
      "media",
      "object",
    );
  });
});

describe("good options", () => {
  it("may be missing", () => {
    for (const config of [undefined, null, {}]) {
      expect(() => createMediaBridge(config)).not.toThrow();
      expect(() => createWebRTCServer(config)).not.toThrow();
    }
    expect(() => createMediaBridge({ videoFps: undefined } as Bad)).not.toThrow();
  });

  it("may be at their bounds", () => {
    for (const signalingPort of [0, 1, 65535]) {
      expect(() => createWebRTCServer({ signalingPort })).not.toThrow();
    }
    for (const videoFps of [1, 10, 120]) {
      expect(() => createMediaBridge({ videoFps })).not.toThrow();
    }
    for (const videoFit of ["contain", "cover"] as const) {
      expect(() => createMediaBridge({ videoFit })).not.toThrow();
    }
    expect(() => createMediaBridge({ videoWidth: 3840, videoHeight: 16 })).not.toThrow();
    expect(() =>
      createWebRTCServer({
        signalingHost: "::1",
        listenIps: ["127.0.0.1", "::1"],
        announcedIps: ["192.0.2.1"],
        iceServers: [{ urls: ["turn:a", "turns:b"], username: "u", credential: "c" }],
        videoCodec: "H264",
        audioCodec: "opus",
      }),
    ).not.toThrow();
    const videoCodecs: WebRTCConfig["videoCodec"][] = ["auto", "VP8", "VP9", ["VP9", "H264"]];
    for (const videoCodec of videoCodecs) {
      expect(() => createWebRTCServer({ videoCodec })).not.toThrow();
    }
    const audioCodecs: WebRTCConfig["audioCodec"][] = ["pcmu", "pcma", ["opus", "pcma"]];
    for (const audioCodec of audioCodecs) {
      expect(() => createWebRTCServer({ audioCodec })).not.toThrow();
    }
  });
});
