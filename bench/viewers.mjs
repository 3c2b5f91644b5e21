// What viewers cost the server: native ones on the same machine, whose own cost is reported apart.

import { delay, nativeJson, range, repeat, Server, watch } from "./support.mjs";

const SECONDS = 20;

/**
 * @param {{ runs: number, counts: number[] }} options
 * @returns {Promise<import("./support.mjs").Row[]>}
 */
export async function measure({ runs, counts }) {
  const rows = [];
  for (const count of counts) {
    const values = await repeat(runs, () => once(count));
    const of = (/** @type {(value: any) => number} */ pick, digits = 1) =>
      range(values.map(pick), digits);
    const threads = ["avatar-network", "avatar-encode", "avatar-playout"]
      .map((name) => `${name.slice(7)} ${of((v) => share(v.server, v.server.threads[name] ?? 0))}`)
      .join(", ");
    rows.push(
      {
        what: `server, ${count} viewers, 30 fps`,
        measured: `${of((v) => share(v.server, v.server.cpuSeconds))} % of a core (${threads})`,
        aim: count === 100 ? "< 50 %" : "-",
        values,
      },
      {
        what: `server, ${count} viewers`,
        measured:
          `${of((v) => perViewer(v, v.server.threads["avatar-network"]), 0)} us a viewer-second in the network thread` +
          (count > 1 ? `; the floor: ${of((v) => perViewer(v, v.floorCpu), 0)}` : ""),
        aim: "-",
        values: [],
      },
      {
        what: `what ${count} viewers saw`,
        measured:
          `fps min ${of((v) => v.viewers.fps_min)}, p50 ${of((v) => v.viewers.fps_p50)}; ` +
          `lost ${of((v) => v.viewers.video_lost + v.viewers.audio_lost, 0)} packets; ` +
          `GCM ${of((v) => v.viewers.gcm, 0)}; first frame p95 ${of((v) => v.viewers.first_frame_p95_ms, 0)} ms; ` +
          `their own CPU ${of((v) => share(v.viewers, v.viewers.cpu_seconds))} % of a core`,
        aim: "fps min >= 29.5, lost 0",
        values: [],
      },
    );
  }
  return rows;
}

/** @param {number} count */
async function once(count) {
  const server = await Server.start({ maxClients: count + 10 });
  try {
    const watching = watch(server.url, count, SECONDS + 3);
    watching.catch(() => {});
    await server.until(count);
    await delay(1_000);
    await server.ask({ ask: "mark" });
    await delay(SECONDS * 1000);
    const report = await server.ask({ ask: "report" });
    const { reports, ...viewers } = await watching;
    return { count, server: report, viewers, ...(count > 1 && (await floor(count, reports))) };
  } finally {
    await server.stop();
  }
}

/**
 * The floor with the packets that the viewers got.
 * @param {number} count
 * @param {any[]} reports
 */
async function floor(count, reports) {
  const sum = (/** @type {(report: any) => number} */ of) =>
    reports.reduce((total, report) => total + of(report), 0);
  const packets = sum((r) => r.video.sequence.received);
  const shape = [
    Math.max(
      1,
      packets /
        Math.max(
          1,
          sum((r) => r.video.frames),
        ),
    ),
    sum((r) => r.video.bytes) / Math.max(1, packets),
    sum((r) => r.audio.bytes) /
      Math.max(
        1,
        sum((r) => r.audio.sequence.received),
      ),
  ].map(Math.round);
  const seconds = SECONDS / 2;
  const result = await nativeJson("examples/floor", [count, seconds, ...shape], seconds + 30);
  return { floor: result, floorCpu: (result.cpuSeconds / result.seconds) * SECONDS, shape };
}

/**
 * @param {{ seconds: number }} window
 * @param {number} cpuSeconds
 * @returns {number} % of one core
 */
const share = ({ seconds }, cpuSeconds) => (100 * cpuSeconds) / seconds;

/**
 * @param {{ count: number, server: { seconds: number } }} value
 * @param {number} cpuSeconds
 * @returns {number} us a viewer-second
 */
const perViewer = ({ count, server }, cpuSeconds) => (1e6 * cpuSeconds) / server.seconds / count;
