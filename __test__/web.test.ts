import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { AvatarClient, signallingUrl } from "../web/avatar-client.js";
import { withStereoOpus } from "../web/client/connection.js";
import { areExpired } from "../web/client/link.js";
import {
  nextHold,
  nextJitter,
  patience,
  pictureJitter,
  soundBehind,
  withPlayoutDelay,
} from "../web/client/lip-sync.js";
import { msAhead } from "../web/client/playout.js";

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

describe("credentials for TURN", () => {
  it("say themselves until when they are good, or are good for ever", () => {
    const areOld = (username: string) => areExpired([{ urls: "turn:a", username }], 1.8e12);
    expect(["1799999999:me", "1800000000:", "1800000001:me"].map(areOld)).toEqual([
      true,
      true,
      false,
    ]);
    for (const name of ["", "me", "42:me", "me:1700000000", "1700000000"])
      expect(areOld(name)).toBe(false);
    expect(areExpired([{ urls: "stun:a" }], 1.8e12)).toBe(false);
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
    drop(code = 1006) {
      this.close();
      this.dispatchEvent(Object.assign(new Event("close"), { code, reason: "" }));
    }
  }

  class FakePeer extends EventTarget {
    connectionState = "new";
    signalingState = "stable";
    remoteDescription: object | null = null;
    candidates: object[] = [];
    microphone: unknown = null;
    constructor(readonly configuration: RTCConfiguration) {
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
    restarts = 0;
    restartIce() {
      this.restarts += 1;
    }
    getConfiguration = () => ({});
    setConfiguration() {}
    getReceivers = () => [];
    /** Something arrives all the time. */
    getStats = async () =>
      new Map([["V", { type: "inbound-rtp", kind: "video", packetsReceived: performance.now() }]]);
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

  const newServer = {
    iceServers: [],
    protocol: 1,
    extensions: ["clock", "statistics", "resume"],
    resumeToken: "secret/1",
    resumed: false,
  };

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

  it("waits longer after each loss, and starts again after five good seconds", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    const delays: number[] = [];
    const client = new AvatarClient({ url: "ws://host:8081" });
    client.addEventListener("state", (event) => {
      const { retryInMs } = (event as CustomEvent).detail;
      if (retryInMs !== null) delays.push(Math.round(retryInMs));
    });
    client.connect();
    for (const delay of [350, 595]) {
      newest(sockets).drop();
      await vi.advanceTimersByTimeAsync(delay + 1);
    }
    await newest(sockets).receive({ type: "config", peerId: "me", data: {} });
    newest(peers).become("connected");
    await vi.advanceTimersByTimeAsync(5_001);
    newest(sockets).drop();
    expect(delays).toEqual([350, 595, 350]);
    vi.restoreAllMocks();
  });

  it("gives up a try that leads nowhere, and tries again", async () => {
    const client = new AvatarClient({ url: "ws://host:8081" });
    client.connect();
    const [first] = sockets;
    await vi.advanceTimersByTimeAsync(15_001);
    expect(client.state).toBe("reconnecting");
    expect(first?.readyState).toBe(3);
    await vi.advanceTimersByTimeAsync(500);
    expect(sockets).toHaveLength(2);
  });

  it("retries a full server with the longest delay", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    const client = new AvatarClient({ url: "ws://host:8081" });
    client.connect();
    await newest(sockets).receive({ type: "error", error: "Server full" });
    newest(sockets).drop();
    await vi.advanceTimersByTimeAsync(7_100);
    expect(sockets).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(100);
    expect(sockets).toHaveLength(2);
    vi.restoreAllMocks();
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

  it("asks the server for its identity again, with the application's own token beside it", async () => {
    const client = new AvatarClient({ url: "ws://host:8081/avatar?room=1", token: "a&b" });
    client.connect();
    expect(newest(sockets).url).toBe("ws://host:8081/avatar?room=1&token=a%26b&resume=");
    await newest(sockets).receive({ type: "config", peerId: "me", data: newServer });
    newest(peers).become("connected");
    newest(sockets).drop();
    await vi.advanceTimersByTimeAsync(500);
    expect(new URL(newest(sockets).url).searchParams.get("resume")).toBe("secret/1");
    await newest(sockets).receive({
      type: "config",
      peerId: "me",
      data: { ...newServer, resumed: true },
    });
    expect(client.state).toBe("connected");
    expect(client.peerId).toBe("me");
    expect(peers).toHaveLength(1);

    client.disconnect();
    client.connect();
    expect(new URL(newest(sockets).url).searchParams.get("resume")).toBe("");
  });

  it("takes its seat again when the server could not be told that it left", async () => {
    const client = new AvatarClient({ url: "ws://host:8081" });
    const resume = () => new URL(newest(sockets).url).searchParams.get("resume");
    const again = () => {
      client.disconnect();
      expect(client.peerId).toBeNull();
      client.connect();
    };
    client.connect();
    await newest(sockets).receive({ type: "config", peerId: "me", data: newServer });
    newest(sockets).drop();
    again();
    expect(resume()).toBe("secret/1");
    again(); // While that one opens.
    expect(resume()).toBe("secret/1");
    const data = { ...newServer, resumed: true };
    await newest(sockets).receive({ type: "config", peerId: "me", data });
    expect(newest(sockets).sent.map(({ type }) => type)).toContain("offer");
    again();
    expect(resume()).toBe("");
  });

  it("does not come back when it is turned away", async () => {
    const client = await connected();
    newest(sockets).drop(4403);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(client.state).toBe("failed");
    expect(sockets).toHaveLength(1);
  });

  it("leaves no more than four WebSockets open that do not answer", async () => {
    const client = new AvatarClient({ url: "ws://host:8081" });
    client.connect();
    await newest(sockets).receive({ type: "config", peerId: "me", data: newServer });
    newest(peers).become("connected");
    for (let n = 0; n < 8; n += 1) {
      newest(sockets).dispatchEvent(new Event("open"));
      const { length } = sockets;
      for (let s = 0; s < 20 && sockets.length === length; s += 1)
        await vi.advanceTimersByTimeAsync(1000);
    }
    expect(sockets.length).toBeGreaterThan(6);
    expect(sockets.slice(0, -1).filter(({ readyState }) => readyState === 1)).toHaveLength(4);
    client.disconnect();
    expect(sockets.filter(({ readyState }) => readyState === 1)).toEqual([]);
  });

  it("offers with new ICE credentials when the media are lost and the server answers", async () => {
    const client = new AvatarClient({ url: "ws://host:8081" });
    client.connect();
    const socket = newest(sockets);
    await socket.receive({ type: "config", peerId: "me", data: newServer });
    newest(peers).become("connected");
    await vi.advanceTimersByTimeAsync(100);
    newest(peers).become("failed");
    expect(client.state).toBe("reconnecting");
    const asked = socket.sent.findLast(({ type }) => type === "clock")?.data as object;
    await socket.receive({ type: "clock", data: { ...asked, serverTime: 1.79e12 } });
    expect(newest(peers).restarts).toBe(1);
    expect(socket.sent.filter(({ type }) => type === "offer")).toHaveLength(2);
    newest(peers).become("connected");
    expect(client.state).toBe("connected");
    expect(peers).toHaveLength(1);
  });

  it("leaves a WebSocket that does not answer open until another one has taken its place", async () => {
    const client = new AvatarClient({ url: "ws://host:8081" });
    client.connect();
    const old = newest(sockets);
    await old.receive({ type: "config", peerId: "me", data: newServer });
    newest(peers).become("connected");
    await vi.advanceTimersByTimeAsync(5_000);
    expect(sockets).toHaveLength(2);
    expect(old.readyState).toBe(1); // A close frame that comes through late would end the peer.
    await newest(sockets).receive({
      type: "config",
      peerId: "me",
      data: { ...newServer, resumed: true },
    });
    expect(old.readyState).toBe(3);
    expect(client.state).toBe("connected");
    client.disconnect();
    expect(newest(sockets).readyState).toBe(3);
  });

  it("tells a server that wants to know how it goes each two seconds, and the page each second", async () => {
    const client = await connected();
    const stats: unknown[] = [];
    client.addEventListener("stats", (event) => stats.push((event as CustomEvent).detail));
    await vi.advanceTimersByTimeAsync(4_100);
    expect(stats).toHaveLength(4);
    expect(newest(sockets).sent.map(({ type }) => type)).toEqual(["offer"]);
    client.disconnect();

    client.connect();
    await newest(sockets).receive({ type: "config", peerId: "me", data: newServer });
    newest(peers).become("connected");
    await vi.advanceTimersByTimeAsync(3_900);
    await newest(sockets).receive({ type: "clock", data: {} });
    await vi.advanceTimersByTimeAsync(300);
    expect(newest(sockets).sent.filter(({ type }) => type === "statistics")).toHaveLength(2);
  });

  it("takes the microphone that it is made with, and only the ways that it may", async () => {
    const track = { kind: "audio" } as MediaStreamTrack;
    const client = await connected(
      new AvatarClient({ url: "ws://host", microphone: track, iceTransportPolicy: "relay" }),
    );
    expect(newest(peers).microphone).toBe(track);
    expect(newest(peers).configuration).toMatchObject({ iceTransportPolicy: "relay" });
    await client.setMicrophone(null);
    expect(newest(peers).microphone).toBeNull();
  });

  it("does not talk to a server whose protocol is newer than its own", async () => {
    const client = new AvatarClient({ url: "ws://host:8081" });
    let problem: unknown;
    client.addEventListener("state", (event) => {
      problem = (event as CustomEvent).detail.problem;
    });
    client.connect();
    await newest(sockets).receive({ type: "config", peerId: "me", data: { protocol: 2 } });
    expect(client.state).toBe("failed");
    expect(problem).toBe("version-mismatch");
    expect(peers).toHaveLength(0);
    expect(newest(sockets).readyState).toBe(3);
  });

  it("may be told to disconnect by who hears of its state", async () => {
    const client = await connected();
    client.addEventListener("state", () => client.disconnect());
    newest(sockets).drop();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(client.state).toBe("disconnected");
    expect(sockets).toHaveLength(1);
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
    expect(nextHold(490, 500)).toBe(500);
  });

  it("waits for late pictures where they come unevenly", () => {
    expect(patience(3)).toBe(0);
    expect(patience(20)).toBe(50);
    expect(patience(5000)).toBe(500);
    const audio = { type: "inbound-rtp", kind: "audio", jitter: 0.3 };
    const video = { type: "inbound-rtp", kind: "video", jitter: 0.02 };
    expect(pictureJitter([audio, video])).toBeCloseTo(20);
    expect(pictureJitter([audio])).toBe(0);
    expect(nextJitter(10, 20)).toBeCloseTo(12);
    expect(nextJitter(20, 10)).toBeCloseTo(19.8);
  });

  it("is asked of a browser for which something makes pictures wait if they have to", () => {
    const lines = [
      "a=extmap:4 urn:x",
      "a=extmap:5 http://www.webrtc.org/x/playout-delay",
      "a=mid:0",
    ];
    const sdp = lines.map((line) => `${line}\r\n`).join("");
    expect(withPlayoutDelay(sdp, { jitterBufferTarget: null })).toBe(sdp);
    expect(withPlayoutDelay(sdp, { playoutDelayHint: null })).toBe(sdp);
    expect(withPlayoutDelay(sdp, {})).toBe(`${lines[0]}\r\n${lines[2]}\r\n`);
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
