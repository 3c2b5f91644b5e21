import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { AvatarClient, nextState, reconnectDelay, signallingUrl } from "../web/avatar-client.js";
import { nextHold, soundBehind } from "../web/lip-sync.js";
import { msAhead } from "../web/playout.js";
import { judge, withStereoOpus } from "../web/session.js";
import { format, measure, snapshot } from "../web/statistics.js";

describe("reconnectDelay", () => {
  const middle = { random: 0.5 };

  it("starts at half a second and grows by 1.7", () => {
    expect([0, 1, 2].map((attempt) => reconnectDelay(attempt, middle))).toEqual([500, 850, 1445]);
  });

  it("spreads by 20 % either way", () => {
    expect(reconnectDelay(0, { random: 0 })).toBe(400);
    expect(reconnectDelay(0, { random: 1 })).toBe(600);
  });

  it("never exceeds ten seconds, and keeps its spread there", () => {
    for (const attempt of [6, 20, 10_000]) {
      expect(reconnectDelay(attempt, { random: 1 })).toBe(10_000);
      expect(reconnectDelay(attempt, { random: 0 })).toBeLessThan(7_000);
    }
  });

  it("takes the longest delay at once when the server is full", () => {
    expect(reconnectDelay(0, { serverFull: true, random: 1 })).toBe(10_000);
  });
});

describe("nextState", () => {
  it("follows a connection that is made, lost, made again and ended", () => {
    const events = [
      "connect",
      "established",
      "lost",
      "connect",
      "established",
      "disconnect",
    ] as const;
    let state: ReturnType<typeof nextState> = "idle";
    const path = events.map((event) => (state = nextState(state, event)));
    expect(path).toEqual([
      "connecting",
      "connected",
      "reconnecting",
      "reconnecting",
      "connected",
      "disconnected",
    ]);
  });

  it("stays disconnected whatever a late event says", () => {
    for (const event of ["established", "lost", "unusable"] as const) {
      expect(nextState("disconnected", event)).toBe("disconnected");
    }
  });
});

describe("judge", () => {
  it("waits for ICE to recover from disconnected, but not from failed", () => {
    expect(judge("disconnected")).toBe("grace");
    expect(judge("failed")).toBe("lost");
    expect(judge("connecting")).toBe("wait");
    expect(judge("connected")).toBe("established");
  });
});

describe("signallingUrl", () => {
  it.each([
    ["http://localhost:9000/", true, "ws://localhost:9000/"],
    ["https://example.com/avatar/webrtc-client.html", true, "wss://example.com/avatar/"],
    ["http://192.168.1.2:8080/webrtc-client.html", false, "ws://192.168.1.2:8081/"],
    ["https://example.com/", false, "wss://example.com:8081/"],
    ["http://[::1]:8080/", false, "ws://[::1]:8081/"],
    ["file:///home/me/webrtc-client.html", false, "ws://localhost:8081/"],
    ["http://a/?server=other:7000", true, "ws://other:7000"],
    ["http://a/?server=wss://other:7000", true, "wss://other:7000"],
  ])("%s, served by signalling: %s", (page, served, expected) => {
    expect(signallingUrl(page, served)).toBe(expected);
  });
});

describe("withStereoOpus", () => {
  const sdp = [
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 0",
    "a=rtpmap:111 opus/48000/2",
    "a=fmtp:111 minptime=10;useinbandfec=1",
    "a=rtpmap:63 red/48000/2",
    "a=fmtp:63 111/111",
    "",
  ].join("\r\n");

  it("adds stereo to Opus alone, and leaves the rest byte for byte", () => {
    expect(withStereoOpus(sdp)).toBe(sdp.replace("useinbandfec=1", "useinbandfec=1;stereo=1"));
  });

  it("changes nothing that already says, or that has no Opus", () => {
    const once = withStereoOpus(sdp);
    expect(withStereoOpus(once)).toBe(once);
    expect(withStereoOpus("m=audio 9 RTP/AVP 0\r\n")).toBe("m=audio 9 RTP/AVP 0\r\n");
  });
});

describe("statistics", () => {
  /** A report `second` seconds into a stream of 30 fps, 100 packets/s and 125,000 bytes/s. */
  const report = (second: number, video: object = {}) =>
    new Map<string, Record<string, unknown>>([
      ["T", { type: "transport", timestamp: second * 1000, selectedCandidatePairId: "P" }],
      [
        "Q",
        { type: "candidate-pair", state: "succeeded", nominated: true, currentRoundTripTime: 9 },
      ],
      ["P", { type: "candidate-pair", state: "succeeded", currentRoundTripTime: 0.04 }],
      ["C", { type: "codec", mimeType: "video/H264" }],
      [
        "V",
        {
          id: "V",
          type: "inbound-rtp",
          kind: "video",
          codecId: "C",
          bytesReceived: second * 120_000,
          headerBytesReceived: second * 5_000,
          packetsReceived: second * 100,
          packetsLost: 0,
          jitter: 0.003,
          jitterBufferDelay: second * 30 * 0.05,
          jitterBufferEmittedCount: second * 30,
          framesDecoded: second * 30,
          totalDecodeTime: second * 30 * 0.002,
          freezeCount: 1,
          frameWidth: 512,
          frameHeight: 512,
          ...video,
        },
      ],
    ]);

  it("measures what happened between two readings", () => {
    const metrics = measure(snapshot(report(4)), snapshot(report(6)));
    expect(metrics).toMatchObject({
      fps: 30,
      bitrateBps: 1_000_000,
      lossPercent: 0,
      codec: "H264",
      width: 512,
    });
    expect(metrics.rttMs).toBeCloseTo(40);
    expect(metrics.jitterMs).toBeCloseTo(3);
    expect(metrics.latencyMs).toBeCloseTo(50 + 20 + 2); // buffer + half the round trip + decoding
  });

  it("counts loss since the last reading, and none when late packets turn up", () => {
    const at = (second: number, packetsLost: number) => snapshot(report(second, { packetsLost }));
    expect(measure(at(1, 500), at(2, 525)).lossPercent).toBeCloseTo(20);
    expect(measure(at(1, 5), at(2, 3)).lossPercent).toBe(0);
  });

  it("says nothing about rates on the first reading, or after the stream was replaced", () => {
    const now = snapshot(report(5));
    for (const before of [null, snapshot(report(4, { id: "other" })), now]) {
      expect(measure(before, now)).toMatchObject({
        fps: null,
        bitrateBps: null,
        latencyMs: null,
        width: 512,
      });
    }
  });

  it("shows 0 fps and no latency while the picture stands still", () => {
    const now = snapshot(report(5));
    const later = { ...now, atMs: now.atMs + 1000 };
    expect(measure(now, later)).toMatchObject({
      fps: 0,
      bitrateBps: 0,
      latencyMs: null,
      lossPercent: null,
    });
  });

  it("reads an empty report as nothing known", () => {
    const words = Object.values(format(measure(null, snapshot(new Map()))));
    expect(new Set(words)).toEqual(new Set(["–"]));
  });

  it("writes the numbers with their units", () => {
    expect(format(measure(snapshot(report(1)), snapshot(report(2))))).toEqual({
      latency: "72 ms",
      fps: "30 fps",
      bitrate: "1.00 Mb/s",
      loss: "0.0 %",
      resolution: "512 × 512",
      codec: "H264",
      rtt: "40 ms",
      jitter: "3 ms",
      freezes: "1",
    });
  });
});

describe("AvatarClient", () => {
  /** What the client opened, in order; the browser's classes are replaced by ones that a test can drive. */
  let sockets: FakeSocket[];
  let peers: FakePeer[];

  class FakeSocket extends EventTarget {
    static OPEN = 1;
    readyState = 1;
    sent: { type: string; [field: string]: unknown }[] = [];
    constructor(readonly url: string) {
      super();
      sockets.push(this);
    }
    send(text: string) {
      this.sent.push(JSON.parse(text));
    }
    close() {
      this.readyState = 3;
    }
    async receive(message: object) {
      this.dispatchEvent(Object.assign(new Event("message"), { data: JSON.stringify(message) }));
      await vi.advanceTimersByTimeAsync(0);
    }
    drop() {
      this.close();
      this.dispatchEvent(Object.assign(new Event("close"), { code: 1006, reason: "" }));
    }
  }

  class FakePeer extends EventTarget {
    connectionState = "new";
    signalingState = "stable";
    remoteDescription: object | null = null;
    candidates: object[] = [];
    microphone: unknown = null;
    constructor() {
      super();
      peers.push(this);
    }
    createDataChannel() {
      return Object.assign(new EventTarget(), { readyState: "connecting", close() {} });
    }
    addTransceiver(kindOrTrack: unknown) {
      if (typeof kindOrTrack !== "string") this.microphone = kindOrTrack;
      const replaceTrack = async (track: unknown) => {
        this.microphone = track;
      };
      return { sender: { replaceTrack }, receiver: {} };
    }
    createOffer = async () => ({ type: "offer", sdp: "v=0\r\n" });
    setLocalDescription = async () => {};
    setRemoteDescription = async (description: object) => {
      this.remoteDescription = description;
    };
    addIceCandidate = async (candidate: object) => void this.candidates.push(candidate);
    close() {
      this.connectionState = "closed";
    }
    become(state: string) {
      this.connectionState = state;
      this.dispatchEvent(new Event("connectionstatechange"));
    }
  }

  class FakeStream {
    getTracks = () => [];
  }

  beforeEach(() => {
    vi.useFakeTimers();
    sockets = [];
    peers = [];
    vi.stubGlobal("WebSocket", FakeSocket);
    vi.stubGlobal("RTCPeerConnection", FakePeer);
    vi.stubGlobal("MediaStream", FakeStream);
  });

  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  const newest = <T>(all: T[]) => all[all.length - 1] as T;

  async function connected(client = new AvatarClient({ url: "ws://host:8081" })) {
    client.connect();
    await newest(sockets).receive({ type: "config", peerId: "me", data: { iceServers: [] } });
    newest(peers).become("connected");
    return client;
  }

  it("offers after config, answers pings, and holds early candidates until the answer", async () => {
    const client = new AvatarClient({ url: "ws://host:8081" });
    client.connect();
    const socket = newest(sockets);
    await socket.receive({ type: "config", peerId: "me", data: { iceServers: [] } });
    await socket.receive({ type: "ping" });
    expect(socket.sent.map(({ type }) => type)).toEqual(["offer", "pong"]);
    expect(client.peerId).toBe("me");

    await socket.receive({ type: "ice-candidate", data: { candidate: "early" } });
    expect(newest(peers).candidates).toEqual([]);
    await socket.receive({ type: "answer", data: { type: "answer", sdp: "v=0\r\n" } });
    expect(newest(peers).candidates).toEqual([{ candidate: "early" }]);
  });

  it("opens one new connection after a loss, and closes the old one", async () => {
    const client = await connected();
    const [oldSocket, oldPeer] = [newest(sockets), newest(peers)];
    oldSocket.drop();
    expect(client.state).toBe("reconnecting");
    expect(oldPeer.connectionState).toBe("closed");
    oldPeer.become("failed"); // Too late to be heard.
    expect(oldSocket.readyState).toBe(3);

    await vi.advanceTimersByTimeAsync(700);
    expect(sockets).toHaveLength(2);
    await newest(sockets).receive({ type: "config", peerId: "again", data: {} });
    newest(peers).become("connected");
    expect(client.state).toBe("connected");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(sockets).toHaveLength(2);
  });

  it("gives a disconnected peer connection five seconds to recover", async () => {
    const client = await connected();
    newest(peers).become("disconnected");
    await vi.advanceTimersByTimeAsync(4_900);
    newest(peers).become("connected");
    await vi.advanceTimersByTimeAsync(10_000);
    expect(client.state).toBe("connected");

    newest(peers).become("disconnected");
    await vi.advanceTimersByTimeAsync(5_000);
    expect(client.state).toBe("reconnecting");
    expect(newest(peers).connectionState).toBe("closed");
  });

  it("waits longer after each loss, and starts again after five good seconds", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    const delays: number[] = [];
    const client = new AvatarClient({ url: "ws://host:8081" });
    client.addEventListener("state", (event) => {
      const { retryInMs } = (event as CustomEvent).detail;
      if (retryInMs !== null) delays.push(retryInMs);
    });
    client.connect();
    for (const delay of [500, 850]) {
      newest(sockets).drop();
      await vi.advanceTimersByTimeAsync(delay);
    }
    await newest(sockets).receive({ type: "config", peerId: "me", data: {} });
    newest(peers).become("connected");
    await vi.advanceTimersByTimeAsync(5_000);
    newest(sockets).drop();
    expect(delays).toEqual([500, 850, 500]);
    vi.restoreAllMocks();
  });

  it("gives up a try that leads nowhere, and tries again", async () => {
    const client = new AvatarClient({ url: "ws://host:8081" });
    client.connect();
    await vi.advanceTimersByTimeAsync(15_000);
    expect(client.state).toBe("reconnecting");
    expect(newest(sockets).readyState).toBe(3);
  });

  it("retries a full server with the longest delay", async () => {
    const client = new AvatarClient({ url: "ws://host:8081" });
    client.connect();
    await newest(sockets).receive({ type: "error", error: "Server full" });
    newest(sockets).drop();
    await vi.advanceTimersByTimeAsync(6_600);
    expect(sockets).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(3_400);
    expect(sockets).toHaveLength(2);
  });

  it("stops for good when told to, also while waiting for the next try", async () => {
    const client = await connected();
    newest(sockets).drop();
    client.disconnect();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(client.state).toBe("disconnected");
    expect(sockets).toHaveLength(1);
    expect(client.peerConnection).toBeNull();
  });

  it("brings the microphone along to the next connection", async () => {
    const client = await connected();
    const track = { kind: "audio" } as MediaStreamTrack;
    await client.setMicrophone(track);
    expect(newest(peers).microphone).toBe(track);
    newest(sockets).drop();
    await vi.advanceTimersByTimeAsync(700);
    await newest(sockets).receive({ type: "config", peerId: "again", data: {} });
    expect(peers).toHaveLength(2);
    expect(newest(peers).microphone).toBe(track);
  });

  it("fails without trying again when the address cannot be used", () => {
    vi.stubGlobal(
      "WebSocket",
      class {
        constructor() {
          throw new SyntaxError("bad address");
        }
      },
    );
    const client = new AvatarClient({ url: "nonsense" });
    client.connect();
    expect(client.state).toBe("failed");
    expect(vi.getTimerCount()).toBe(0);
  });

  it("passes on what it does not know as a message", async () => {
    const client = await connected();
    const received: unknown[] = [];
    client.addEventListener("message", (event) => received.push((event as CustomEvent).detail));
    await newest(sockets).receive({ type: "greeting", text: "hello" });
    expect(received).toEqual([{ source: "signalling", data: { type: "greeting", text: "hello" } }]);
  });
});

describe("what is played", () => {
  it("is ahead by the difference of the clocks, also over their wrap", () => {
    const source = { rtpTimestamp: 48_000, timestamp: 5000 };
    expect(msAhead(1500, source, 48_000, 5000)).toBeCloseTo(500);
    expect(msAhead(1500, source, 48_000, 5600)).toBeCloseTo(-100);
    expect(msAhead(500, source, 48_000, 5000)).toBeCloseTo(-500);
    // The server's clock counts from 1970, and the packets' wrap at 2^32.
    const now = 1.8e12;
    const wrapped = { rtpTimestamp: (now * 48) % 2 ** 32, timestamp: now };
    expect(msAhead(now + 250, wrapped, 48_000, now)).toBeCloseTo(250);
    expect(msAhead(now - 250, wrapped, 48_000, now + 10)).toBeCloseTo(-260);
  });

  it("is brought together from both sides, and left alone when it is", () => {
    expect(nextHold(0, 15)).toBe(0);
    let [held, behind] = [0, 120];
    for (let n = 0; n < 10; n++) {
      const next = nextHold(held, behind);
      behind -= next - held;
      held = next;
    }
    expect(Math.abs(behind - 10)).toBeLessThan(8);
    expect(nextHold(0, -100)).toBeLessThan(0);
    expect(nextHold(990, 500)).toBe(1000);
  });

  it("is told by the estimates of both tracks and the delay of the device since the last look", () => {
    const device = { ms: 0, delay: 10, samples: 1000 };
    const video = { type: "inbound-rtp", kind: "video", estimatedPlayoutTimestamp: 5100 };
    const audio = { type: "inbound-rtp", kind: "audio", estimatedPlayoutTimestamp: 5000 };
    const playout = { type: "media-playout", totalPlayoutDelay: 40, totalSamplesCount: 2000 };
    expect(soundBehind([video, audio, playout], device)).toBeCloseTo(130);
    expect(device).toEqual({ ms: 30, delay: 40, samples: 2000 });
    expect(soundBehind([video, audio], device)).toBeCloseTo(130);
    expect(soundBehind([video], device)).toBeNull();
  });
});
