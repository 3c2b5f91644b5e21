import { describe, expect, it } from "vitest";
import { snapshot } from "../web/client/snapshot.js";
import { format, measure, report as telling } from "../web/client/statistics.js";

describe("statistics", () => {
  /** A report `second` seconds into a stream of 30 fps, 100 packets/s and 125,000 bytes/s. */
  const report = (second: number, video: object = {}) =>
    new Map<string, Record<string, unknown>>([
      ["T", { type: "transport", timestamp: second * 1000, selectedCandidatePairId: "P" }],
      [
        "Q",
        { type: "candidate-pair", state: "succeeded", nominated: true, currentRoundTripTime: 9 },
      ],
      [
        "P",
        {
          type: "candidate-pair",
          state: "succeeded",
          currentRoundTripTime: 0.04,
          localCandidateId: "L",
          responsesReceived: second,
        },
      ],
      ["L", { type: "local-candidate", candidateType: "prflx", protocol: "udp" }],
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
      skew: "–",
      buffer: "50 ms",
      path: "prflx / udp",
    });
  });

  it("takes a latency that was measured for its own estimate, and says so", () => {
    const [before, now] = [snapshot(report(1)), snapshot(report(2))];
    expect(measure(before, now)).toMatchObject({ latencyIsMeasured: false, latencyP50Ms: null });
    const latency = { ms: 61, p50Ms: 60, p95Ms: 80 };
    expect(measure(before, now, { latency, skewMs: -12 })).toMatchObject({
      latencyMs: 61,
      latencyIsMeasured: true,
      latencyP50Ms: 60,
      latencyP95Ms: 80,
      skewMs: -12,
    });
  });

  it("names the way of the media: over a relay it is the protocol to there", () => {
    const way = (candidate: object) => {
      const entries = new Map(report(1)).set("L", { type: "local-candidate", ...candidate });
      const { path, protocol } = measure(null, snapshot(entries));
      return [path, protocol];
    };
    expect(way({ candidateType: "host", protocol: "udp" })).toEqual(["host", "udp"]);
    const relayed = { candidateType: "relay", protocol: "udp", relayProtocol: "tls" };
    expect(way(relayed)).toEqual(["relay", "tcp"]);
    expect(way({})).toEqual([null, null]);
  });

  it("knows whether anything arrives, also while the picture rests", () => {
    const { received } = snapshot(report(1));
    const checked = new Map(report(1));
    checked.set("P", { ...checked.get("P"), responsesReceived: 2 });
    expect(snapshot(checked).received).toBe(received + 1);
    expect(snapshot(report(1, { packetsReceived: 101 })).received).toBe(received + 1);
  });

  it("tells the server what is known, and no estimate for a measurement", () => {
    const [before, now] = [snapshot(report(1)), snapshot(report(2))];
    const told = telling(measure(before, now, { skewMs: 8 }));
    expect(told).toEqual({
      lipSyncSkewMs: 8,
      framesPerSecond: 30,
      freezeCount: 1,
      packetLossPercent: 0,
      roundTripTimeMs: 40,
      bitrateBps: 1_000_000,
      jitterBufferMs: expect.closeTo(50),
      jitterMs: 3,
      frameWidth: 512,
      frameHeight: 512,
      videoCodec: "H264",
      path: "prflx",
      protocol: "udp",
    });
    const latency = { ms: 61, p50Ms: 60, p95Ms: 80 };
    expect(telling(measure(before, now, { latency }))).toMatchObject({
      latencyMs: 61,
      latencyP50Ms: 60,
      latencyP95Ms: 80,
    });
    expect(telling(measure(null, snapshot(new Map())))).toEqual({});
  });
});
