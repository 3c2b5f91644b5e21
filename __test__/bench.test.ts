// The benchmarks' own arithmetic; what they measure is not tested here.
import { describe, expect, it } from "vitest";
import { barChart, lineChart } from "../bench/lib/plot.mjs";
import { classify, samples } from "../bench/lib/profile.mjs";
import { markdown, rowsOf } from "../bench/lib/report.mjs";
import { sincePush } from "../bench/lib/rtp-clock.mjs";
import { mostThatHold } from "../bench/lib/search.mjs";
import { leastSquares, median, quantile } from "../bench/lib/statistics.mjs";

describe("statistics", () => {
  it("takes the nearest value as a quantile, and the middle as the median", () => {
    const values = [5, 1, 4, 2, 3];
    expect([0, 0.5, 0.95, 1].map((share) => quantile(values, share))).toEqual([1, 3, 5, 5]);
    expect([median(values), median([4, 1, 2, 3]), median([])]).toEqual([3, 2.5, Number.NaN]);
  });

  it("finds the line through points with errors that cancel out", () => {
    const { slope, intercept } = leastSquares([
      [0, 11],
      [10, 29],
      [20, 51],
      [30, 69],
    ]);
    expect(slope).toBeCloseTo(1.96);
    expect(intercept).toBeCloseTo(10.6);
  });
});

describe("the search for a capacity", () => {
  /** A machine that holds so many for a moment and so many for long. */
  const search = async (short: number, long: number, more: object = {}) => {
    const looks: number[] = [];
    const most = await mostThatHold({
      probe: async (count) => looks.push(count) > 0 && count <= short,
      confirm: async (count) => count <= long,
      start: 200,
      limit: 5_000,
      ...more,
    });
    return { most, looks };
  };

  it.each([1, 7, 150, 333, 1_234, 4_999, 9_999])("comes within 5 %% of %i", async (capacity) => {
    const { most } = await search(capacity, capacity);
    const reachable = Math.min(capacity, 5_000);
    expect(most).toBeLessThanOrEqual(reachable);
    expect(most).toBeGreaterThanOrEqual(Math.floor(reachable * 0.94));
  });

  it("says 0 when not even one holds", async () => {
    expect((await search(0, 0)).most).toBe(0);
  });

  it("steps back from what held for a moment only", async () => {
    const { most } = await search(1_000, 920);
    expect(most).toBeLessThanOrEqual(920);
    expect(most).toBeGreaterThanOrEqual(860);
  });

  it("believes a probe that fails only the second time", async () => {
    const failed = new Set<number>();
    const most = await mostThatHold({
      probe: async (count) => count <= 1_000 && (failed.has(count) || !failed.add(count)),
      confirm: async () => true,
      start: 200,
      limit: 5_000,
    });
    expect(most).toBeGreaterThanOrEqual(950);
  });
});

describe("plots", () => {
  const line = lineChart({
    title: 'A "title" & <more>',
    x: { label: "viewers" },
    y: { label: "µs", log: true },
    series: [
      {
        name: "one",
        points: [
          [50, 500],
          [1600, 90_000],
          [1700, Number.NaN],
        ],
      },
    ],
  });
  const bar = barChart({
    title: "bars",
    x: { label: "µs", log: true },
    bars: [
      { name: "least", value: 100 },
      { name: "most", value: 109_900 },
    ],
  });

  it.each([
    ["lines", line],
    ["bars", bar],
  ])("are well-formed XML without a hole: %s", (_, svg) => {
    const open: string[] = [];
    for (const [, close, name, rest] of svg.matchAll(/<(\/?)([a-z]+)([^>]*)>/g)) {
      if (close) expect(open.pop()).toBe(name);
      else if (!rest?.endsWith("/")) open.push(String(name));
    }
    expect(open).toEqual([]);
    expect(svg).not.toMatch(/NaN|undefined|Infinity|&(?!#\d+;)/);
  });

  it("keep every point inside the frame, and more higher up", () => {
    const points = [...line.matchAll(/cx="([\d.]+)" cy="([\d.]+)"/g)].map(([, x, y]) => [
      Number(x),
      Number(y),
    ]);
    expect(points).toHaveLength(2);
    for (const [x = 0, y = 0] of points) {
      expect(x).toBeGreaterThan(70);
      expect(x).toBeLessThan(740);
      expect(y).toBeGreaterThan(70);
      expect(y).toBeLessThan(370);
    }
    expect(points[1]?.[1]).toBeLessThan(Number(points[0]?.[1]));
  });

  it("give the least bar of a logarithmic axis a length", () => {
    const widths = [...bar.matchAll(/width="([\d.]+)" height="30"/g)].map(([, width]) =>
      Number(width),
    );
    expect(widths[0]).toBeGreaterThan(20);
    expect(widths[1]).toBeGreaterThan(Number(widths[0]));
  });
});

describe("the profile", () => {
  it("sorts a sample by its system call, then by thread and symbol", async () => {
    async function* lines() {
      yield* [
        "avatar-network",
        "  ffff udp_sendmsg",
        "  ffff __sys_sendmsg",
        "  7f00 shard_run",
        "",
      ];
      yield* ["avatar-network", "  7f01 ring_core_aes_gcm_enc", ""];
      yield* ["avatar-network", "  7f02 avatar_core::transport::outlet::Outlet::send", ""];
      yield* ["avatar-encode", "  7f03 jsimd_idct_islow_avx2", ""];
      yield* ["avatar-encode", "  7f04 WelsMotionEstimate"];
    }
    const found: string[] = [];
    for await (const { thread, symbols } of samples(lines())) found.push(classify(thread, symbols));
    expect(found).toEqual(["send", "seal", "fan-out", "conversion", "encode"]);
  });
});

describe("latency in a browser", () => {
  it("is the difference to the RTP timestamp, also where that wraps or lies a little ahead", () => {
    const pushed = 1_790_000_000_123;
    const timestamp = (pushed * 90) % 2 ** 32;
    expect(sincePush(timestamp, pushed + 17.5)).toBeCloseTo(17.5, 3);
    expect(sincePush(timestamp, pushed - 0.5)).toBeCloseTo(-0.5, 3);
    expect(sincePush(2 ** 32 - 90, 2 ** 32 / 90 + 2)).toBeCloseTo(3, 3);
  });
});

describe("the table in the documentation", () => {
  it("has a line for each row, and says what was not met", () => {
    const machine = { cores: 2, model: "a | b", memoryGiB: 4, load: 0, node: "v20" };
    const rows = [
      { what: "x", measured: "1 | 2", aim: "3", met: false },
      { what: "y", measured: "4" },
    ];
    const lines = markdown({ date: "2030-01-02T03:04:05Z", machine, parts: { one: { rows } } });
    expect(lines).toContain("| one | x | 1 \\| 2 | 3 (not met) |\n| one | y | 4 |  |\n");
  });

  it("keeps the lines of parts that were not measured again", () => {
    const machine = { cores: 2, model: "m", memoryGiB: 4, load: 0, node: "v20" };
    const parts = (measured: string, ...names: string[]) =>
      Object.fromEntries(names.map((name) => [name, { rows: [{ what: "x", measured }] }]));
    const date = "2030-01-02T03:04:05Z";
    const before = markdown({ date, machine, parts: parts("old", "one", "first-two", "three") });
    const after = markdown({ date, machine, parts: parts("new", "first-two") }, rowsOf(before));
    expect(after).toContain(
      "| one | x | old |  |\n| first-two | x | new |  |\n| three | x | old |  |\n",
    );
  });
});
