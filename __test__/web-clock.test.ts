import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Heartbeat, ServerClock } from "../web/client/clock.js";
import { LatencyMeter, latencyOf } from "../web/client/latency.js";

describe("the server's clock", () => {
  const AHEAD = 1_790_000_000_000;
  /** An exchange at `sentAt`: so long there, so long back. */
  const sample = (sentAt: number, there: number, back: number, ahead = AHEAD) => ({
    sentAt,
    receivedAt: sentAt + there + back,
    serverTime: sentAt + there + ahead,
  });

  it("is unknown before the first answer", () => {
    expect(new ServerClock().at(5)).toBeNull();
  });

  it("is told by the quickest answer: a slow way, or an uneven one, does not matter", () => {
    const clock = new ServerClock();
    clock.add(sample(0, 180, 20));
    expect(Math.abs((clock.at(200) ?? 0) - AHEAD - 200)).toBeLessThanOrEqual(100);
    clock.add(sample(1000, 3, 2));
    clock.add(sample(2000, 10, 250));
    expect((clock.at(5000) ?? 0) - AHEAD - 5000).toBeCloseTo(0.5);
  });

  it("is told by a newer answer once the quickest is a minute old", () => {
    const clock = new ServerClock();
    clock.add(sample(0, 1, 1));
    // Our clock goes by 10 ppm too fast.
    for (let at = 5000; at <= 70_000; at += 5000) {
      clock.add(sample(at, 4, 4, AHEAD - at * 10e-6));
    }
    expect(Math.abs((clock.at(70_000) ?? 0) - AHEAD - 70_000)).toBeLessThan(1.5);
  });

  it("is believed anew when it was set, or the machine has slept", () => {
    const clock = new ServerClock();
    for (let at = 0; at < 5000; at += 1000) clock.add(sample(at, 1, 1));
    clock.add(sample(6000, 30, 30, AHEAD + 90_000));
    expect((clock.at(6100) ?? 0) - AHEAD - 6100).toBeCloseTo(90_000);
  });

  it("ignores an answer that makes no sense", () => {
    const clock = new ServerClock();
    clock.add({ sentAt: 10, receivedAt: 5, serverTime: AHEAD });
    clock.add({ sentAt: Number.NaN, receivedAt: 5, serverTime: AHEAD });
    expect(clock.at(10)).toBeNull();
  });
});

describe("a heartbeat", () => {
  let sent: number[];
  let said: string[];
  let clock: ServerClock;
  let heartbeat: Heartbeat;
  /** Answers the newest question. */
  const answer = () => heartbeat.answer({ sentAt: sent.at(-1), serverTime: Date.now() });

  beforeEach(() => {
    vi.useFakeTimers({ now: 1_790_000_000_000 });
    [sent, said] = [[], []];
    clock = new ServerClock();
    heartbeat = new Heartbeat(clock, {
      send: ({ data }) => sent.push(data.sentAt),
      alive: () => said.push("alive"),
      silent: () => said.push("silent"),
    });
  });
  afterEach(() => {
    heartbeat.close();
    vi.useRealTimers();
  });

  it("asks five times in the first two seconds, and then each five seconds", async () => {
    for (let ms = 0; ms < 60_000; ms += 50) {
      const before = sent.length;
      await vi.advanceTimersByTimeAsync(50);
      if (sent.length > before) answer();
    }
    expect(sent.filter((at) => at - (sent[0] ?? 0) < 2000)).toHaveLength(5);
    expect(sent).toHaveLength(5 + 11);
    expect(new Set(said)).toEqual(new Set(["alive"]));
    expect(Math.abs((clock.at(performance.now()) ?? 0) - Date.now())).toBeLessThan(1);
  });

  it("finds a server silent that does not answer within four seconds, or sooner if asked to look", async () => {
    await vi.advanceTimersByTimeAsync(3900);
    expect(said).toEqual([]);
    await vi.advanceTimersByTimeAsync(100);
    expect(said).toEqual(["silent"]);

    heartbeat.look(1500);
    await vi.advanceTimersByTimeAsync(1499);
    expect(said).toEqual(["silent"]);
    await vi.advanceTimersByTimeAsync(1);
    expect(said).toEqual(["silent", "silent"]);
  });

  it("does not take its own sleep for the server's", async () => {
    await vi.advanceTimersByTimeAsync(0);
    answer();
    heartbeat.look(1500);
    const later = performance.now() + 60_000;
    vi.spyOn(performance, "now").mockReturnValue(later);
    await vi.advanceTimersByTimeAsync(1500);
    expect(said).toEqual(["alive"]);
    await vi.advanceTimersByTimeAsync(1000);
    expect(said).toEqual(["alive", "silent"]);
    vi.restoreAllMocks();
  });

  it("ends with its WebSocket", async () => {
    heartbeat.look();
    heartbeat.close();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(sent).toHaveLength(1);
    expect(said).toEqual([]);
  });
});

describe("true latency", () => {
  it("is the time since the picture's stamp, also over the wrap of its timestamp", () => {
    const now = 1_790_000_000_000;
    for (const ms of [0, 17.5, 250, -40, 3_600_000]) {
      for (let at = now; at < now + 2 ** 32 / 90; at += 2 ** 29 / 90) {
        const rtp = Math.round((at - ms) * 90) % 2 ** 32;
        expect(latencyOf(rtp, at)).toBeCloseTo(ms, 1);
      }
    }
  });

  it("is shown as the mean of the last second, and told as percentiles of the last ten", () => {
    const meter = new LatencyMeter();
    expect(meter.read(0)).toBeNull();
    for (let n = 0; n < 300; n++) meter.add(n < 270 ? 50 : 90, n * 33);
    const read = meter.read(300 * 33);
    expect(read).toEqual({ ms: 90, p50Ms: 50, p95Ms: 90 });
    // No frame is shown any more: nothing to tell.
    expect(meter.read(300 * 33 + 1100)).toBeNull();
  });

  it("is not told of stamps that are of another clock", () => {
    const meter = new LatencyMeter();
    for (const ms of [-5000, 3_600_000, Number.NaN]) meter.add(ms, 0);
    expect(meter.read(0)).toBeNull();
  });
});
