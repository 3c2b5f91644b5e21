// What the dashboard computes, without a browser; see browser-dashboard.test.ts for what it shows.
import { describe, expect, it } from "vitest";
import {
  type Answer,
  amount,
  bitrate,
  brief,
  type Column,
  filtered,
  inView,
  isRestarted,
  isTroubled,
  judged,
  lasting,
  type Media,
  type Peer,
  type PeerStatistics,
  quantile,
  read,
  rowsOf,
  sorted,
} from "../web/dashboard/dashboard-data.js";
import { ago, quantity, scale } from "../web/plot/plot-scale.js";

const NOW = 1_800_000_000_000;

function media(changes: Partial<Media> = {}): Media {
  return {
    isStreaming: true,
    fps: 30,
    framesPushed: 1000,
    framesEncoded: 2000,
    framesSuperseded: 0,
    framesInvalid: 0,
    framesLate: 0,
    avgPushLatencyMs: 3,
    encodeMs: { p50: 2, p95: 4 },
    encodeSecondsTotal: 10,
    keyframes: {},
    audioChunks: 0,
    droppedChunks: 0,
    queuedAudioMs: 60,
    ...changes,
  };
}

type Network = Answer["network"];

function answer(changes: Partial<Answer> = {}, network: Partial<Network> = {}): Answer {
  return {
    time: NOW,
    startedAt: NOW - 60_000,
    version: "0.1.0",
    media: media(),
    viewers: {},
    network: {
      packetsSent: 500,
      bytesSent: 10_000,
      retransmittedPackets: 5,
      refusedNacks: 0,
      refusedKeyframeRequests: 0,
      refusedDatagrams: 0,
      refusedMessages: 0,
      blockedUnits: 0,
      lateUnits: 0,
      ...network,
    },
    microphones: { decoders: 0, packets: 0, dropped: 0 },
    droppedEvents: { audio: 0, messages: 0, state: 0 },
    joins: 3,
    drops: { total: 1, byReason: {} },
    peers: [],
    maxClients: 100,
    ...changes,
  };
}

function peer(id: string, told: Partial<PeerStatistics> | null, changes: Partial<Peer> = {}): Peer {
  return {
    id,
    state: "connected",
    createdAt: NOW - 5000,
    address: "192.0.2.7",
    signalling: true,
    statistics: told && { receivedAt: NOW - 1000, ...told },
    ...changes,
  };
}

const rows = (...peers: Peer[]) => rowsOf(answer({ peers }));
const ids = (list: { id: string }[]) => list.map(({ id }) => id).join("");

describe("a reading", () => {
  it("has the rates between two answers, over the time that lies between them", () => {
    const later = answer(
      {
        time: NOW + 2000,
        media: media({ framesPushed: 1060, framesEncoded: 2120, encodeSecondsTotal: 10.5 }),
        joins: 5,
        drops: { total: 2, byReason: {} },
      },
      { bytesSent: 260_000, retransmittedPackets: 9 },
    );
    expect(read(answer(), later)).toMatchObject({
      fpsPushed: 30,
      fpsEncoded: 60,
      encoderLoad: 0.25,
      bitrateBps: 1_000_000,
      retransmissions: 2,
      joins: 1,
      drops: 0.5,
      queuedAudioMs: 60,
    });
  });

  it("of the first answer says what is, and nothing of rates", () => {
    const peers = [peer("a", null), peer("b", null, { state: "connecting" })];
    expect(read(null, answer({ peers }))).toMatchObject({
      peers: 2,
      connected: 1,
      fpsPushed: null,
      bitrateBps: null,
      joins: null,
      queuedAudioMs: 60,
    });
  });

  it("is of the network alone while no bridge is connected, or was at the answer before", () => {
    const bare = answer({ media: null });
    const later = answer({ time: NOW + 1000 }, { bytesSent: 10_125 });
    expect(read(bare, later)).toMatchObject({
      fpsPushed: null,
      encoderLoad: null,
      bitrateBps: 1000,
    });
    expect(read(later, answer({ time: NOW + 2000, media: null })).queuedAudioMs).toBeNull();
  });

  it("has the latencies over the viewers that told theirs within 10 s", () => {
    const peers = [
      ...[10, 20, 30, 40].map((latencyMs, n) => peer(`${n}`, { latencyMs })),
      peer("old", { latencyMs: 5000, receivedAt: NOW - 10_000 }),
      peer("dumb", null),
      peer("none", {}),
    ];
    const { latencyP50Ms, latencyP95Ms } = read(null, answer({ peers }));
    expect([latencyP50Ms, latencyP95Ms]).toEqual([20, 40]);
    expect(read(null, answer()).latencyP50Ms).toBeNull();
  });

  it("has no rate of a counter that was reset in between, and those of the others", () => {
    const reset = answer(
      { time: NOW + 1000, media: media({ framesPushed: 12, encodeSecondsTotal: 0.1 }), joins: 4 },
      { bytesSent: 10_125 },
    );
    expect(read(answer(), reset)).toMatchObject({
      fpsPushed: null,
      encoderLoad: null,
      fpsEncoded: 0,
      bitrateBps: 1000,
      joins: 1,
    });
  });

  it("survives two answers of the same millisecond", () => {
    expect(read(answer(), answer()).bitrateBps).toBeNull();
  });
});

describe("a restart of the server", () => {
  it("shows in when it started, and not in counters, which may be reset", () => {
    expect(isRestarted(answer(), answer({ startedAt: NOW - 1 }))).toBe(true);
    expect(isRestarted(answer(), answer())).toBe(false);
    expect(isRestarted(answer(), answer({ joins: 2, media: null }))).toBe(false);
  });
});

describe("quantile", () => {
  it("is a value that was there, whatever their order", () => {
    const values = [5, 1, 4, 2, 3];
    expect([0, 0.5, 0.8, 0.95, 1].map((share) => quantile(values, share))).toEqual([1, 3, 4, 5, 5]);
    expect(values).toEqual([5, 1, 4, 2, 3]);
    expect(quantile([], 0.5)).toBeNull();
  });
});

describe("the rows", () => {
  it("say what a viewer told, and null where it told nothing", () => {
    const told = {
      latencyMs: 80,
      packetLossPercent: 0.5,
      roundTripTimeMs: 12,
      framesPerSecond: 29.9,
      freezeCount: 2,
      jitterBufferMs: 30,
      lipSyncSkewMs: -4,
      bitrateBps: 1.5e6,
      videoCodec: "VP8",
      audioCodec: "Opus",
      path: "relay",
      protocol: "tcp",
    };
    expect(rows(peer("a", told))).toEqual([
      {
        id: "a",
        state: "connected",
        since: 5000,
        latency: 80,
        loss: 0.5,
        rtt: 12,
        fps: 29.9,
        freezes: 2,
        buffer: 30,
        skew: -4,
        bitrate: 1.5e6,
        codec: "VP8 + Opus",
        path: "relay/tcp",
        address: "192.0.2.7",
      },
    ]);
    expect(rows(peer("b", { videoCodec: "H264" }))[0]).toMatchObject({ codec: "H264", path: null });
    expect(rows(peer("c", null))[0]).toMatchObject({ latency: null, codec: null, path: null });
  });

  it("say whose WebSocket is lost while its media goes on", () => {
    const lost = rows(
      peer("a", null, { signalling: false }),
      peer("b", null, { signalling: false, state: "disconnected" }),
    );
    expect(lost.map(({ state }) => state)).toEqual(["connected, media only", "disconnected"]);
    expect(lost.map(isTroubled)).toEqual([true, true]);
  });

  it("are sorted by any column, with the unknown last in both directions and equal ones left as they are", () => {
    const all = rows(
      peer("a", { latencyMs: 30 }),
      peer("b", null),
      peer("c", { latencyMs: 9 }),
      peer("d", { latencyMs: 200 }),
      peer("e", { latencyMs: 30 }),
    );
    const by = (column: Column, descending: boolean) => ids(sorted(all, { column, descending }));
    expect(by("latency", false)).toBe("caedb");
    expect(by("latency", true)).toBe("daecb");
    expect(by("id", true)).toBe("edcba");
    expect(by("state", true)).toBe("abcde");
    expect(ids(all)).toBe("abcde");
  });

  it("are filtered by words that all have to be found, somewhere and in any case", () => {
    const all = rows(
      peer("a", { videoCodec: "VP8", path: "relay" }),
      peer("b", { videoCodec: "VP8", path: "host" }, { address: "198.51.100.3" }),
      peer("c", null, { state: "failed" }),
    );
    expect(ids(filtered(all, ""))).toBe("abc");
    expect(ids(filtered(all, "  vp8  RELAY "))).toBe("a");
    expect(ids(filtered(all, "198.51"))).toBe("b");
    expect(ids(filtered(all, "failed"))).toBe("c");
    expect(ids(filtered(all, "vp8 failed"))).toBe("");
  });

  it("have something wrong if the state or one of the values is, and nothing if they are unknown", () => {
    const all = rows(
      peer("a", { latencyMs: 499, packetLossPercent: 0.9, lipSyncSkewMs: 124 }),
      peer("b", { latencyMs: 500 }),
      peer("c", { packetLossPercent: 5 }),
      peer("d", { lipSyncSkewMs: -45 }),
      peer("e", {}, { state: "disconnected" }),
      peer("f", null),
    );
    expect(ids(filtered(all, "", true))).toBe("bcde");
    expect(all.map(isTroubled)).toEqual([false, true, true, true, true, false]);
  });

  it("judge sound that comes early sooner than sound that comes late", () => {
    const skews = [-90, -45, -44, 0, 124, 125, 185];
    const all = rows(...skews.map((lipSyncSkewMs) => peer(`${lipSyncSkewMs}`, { lipSyncSkewMs })));
    expect(all.map((row) => judged(row, "skew"))).toEqual([
      "bad",
      "noticed",
      "",
      "",
      "",
      "noticed",
      "bad",
    ]);
  });
});

describe("the rows in view", () => {
  const list = { height: 300, rowHeight: 30, spare: 2 };

  it("are those of the scrolled part and some more", () => {
    expect(inView({ ...list, top: 0, count: 500 })).toEqual({ first: 0, end: 12 });
    expect(inView({ ...list, top: 3015, count: 500 })).toEqual({ first: 98, end: 113 });
    expect(inView({ ...list, top: 14_700, count: 500 })).toEqual({ first: 488, end: 500 });
  });

  it("are there even if the list has just become shorter than where it is scrolled to", () => {
    expect(inView({ ...list, top: 14_700, count: 20 })).toEqual({ first: 8, end: 20 });
    expect(inView({ ...list, top: 14_700, count: 3 })).toEqual({ first: 0, end: 3 });
    expect(inView({ ...list, top: 0, count: 0 })).toEqual({ first: 0, end: 0 });
  });
});

describe("words for numbers", () => {
  it("give times as exactly as they are of interest", () => {
    const seconds = [0, 0.9, 59.9, 60, 3599, 3600, 7500, 86_399, 86_400, 190_000];
    expect(seconds.map((s) => lasting(s * 1000))).toEqual([
      "0 s",
      "0 s",
      "59 s",
      "1 min",
      "59 min",
      "1 h 0 min",
      "2 h 5 min",
      "23 h 59 min",
      "1 d 0 h",
      "2 d 4 h",
    ]);
    expect([null, 0.4, 999.4, 999.6, 1250, -3000].map((ms) => brief(ms))).toEqual([
      "–",
      "0 ms",
      "999 ms",
      "1.0 s",
      "1.3 s",
      "-3.0 s",
    ]);
    expect(brief(4.25, 1)).toBe("4.3 ms");
  });

  it("give bitrates to about three digits", () => {
    expect([null, 0, 64_200, 1_234_567, 45_600_000, 912e6, 1.5e9].map(bitrate)).toEqual([
      "–",
      "0 kb/s",
      "64 kb/s",
      "1.23 Mb/s",
      "45.6 Mb/s",
      "912 Mb/s",
      "1.50 Gb/s",
    ]);
  });

  it("write no minus before nothing", () => {
    expect([null, -0.2, -0.6, 3.25].map((value) => amount(value, "ms"))).toEqual([
      "–",
      "0 ms",
      "-1 ms",
      "3 ms",
    ]);
    expect(amount(1.26, "%", 1)).toBe("1.3 %");
  });
});

describe("a plot's scale", () => {
  it("ends at a number whose half is easy too, and does not move with each value", () => {
    const ends = [0, 0.3, 1, 1.1, 3, 5, 7, 9, 29, 33, 399, 401].map((to) => scale(0, to, 0, 1)[1]);
    expect(ends).toEqual([1, 1, 1, 2, 4, 6, 8, 10, 40, 40, 400, 600]);
    expect(scale(0, 1, 0, 2)).toEqual([0, 2]);
    expect(scale(null, null, 0, 1)).toEqual([0, 1]);
    expect(scale(null, null, undefined, 1)).toEqual([0, 1]);
  });

  it("begins at a round number below the values unless it is told where", () => {
    expect(scale(-37, 12, undefined, 1)).toEqual([-40, 20]);
    expect(scale(512, 530, undefined, 1)).toEqual([510, 530]);
    expect(scale(7, 7, undefined, 1)).toEqual([7, 8]);
  });

  it("names values and times", () => {
    const bitrates = [null, 0, 999, 64_000, 1_234_567, 2e9];
    expect(bitrates.map((value) => quantity(value, "b/s"))).toEqual([
      "–",
      "0 b/s",
      "999 b/s",
      "64 kb/s",
      "1.2 Mb/s",
      "2 Gb/s",
    ]);
    expect(quantity(1_234_567, "b/s", false)).toBe("1.2M");
    expect([12_345, 42.25].map((value) => quantity(value, "ms"))).toEqual(["12345 ms", "42.3 ms"]);
    expect(quantity(3, "")).toBe("3");
    expect([0, 0.4, 30, 60, 90, 600].map(ago)).toEqual([
      "now",
      "now",
      "−30 s",
      "−1 min",
      "−90 s",
      "−10 min",
    ]);
  });
});
