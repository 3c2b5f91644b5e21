// What the page shows as numbers. Pure: `measure` compares two snapshots, `format` writes the result for people, `report`
// for the server.

/** @typedef {import("./snapshot.js").Snapshot} Snapshot */
/** @typedef {import("./snapshot.js").Inbound} Inbound */

/**
 * What happened between two snapshots; null where there is nothing to tell.
 * @typedef {object} Metrics
 * @property {number | null} latencyMs from the picture's stamp to the screen, if `latencyIsMeasured`; else an estimate: jitter
 *   buffer + half the round trip + decoding
 * @property {boolean} latencyIsMeasured
 * @property {number | null} latencyP50Ms of what was measured in the last ten seconds
 * @property {number | null} latencyP95Ms
 * @property {number | null} skewMs how much later the sound is heard than its picture is seen
 * @property {number | null} jitterBufferMs how long a picture waited there
 * @property {number | null} fps pictures decoded a second
 * @property {number | null} bitrateBps video and audio received
 * @property {number | null} lossPercent 0 to 100, video and audio together
 * @property {number | null} width
 * @property {number | null} height
 * @property {string | null} codec both
 * @property {string | null} videoCodec
 * @property {string | null} audioCodec
 * @property {string | null} path as in `Snapshot`
 * @property {string | null} protocol
 * @property {number | null} rttMs
 * @property {number | null} jitterMs of the video's packets, else of the audio's
 * @property {number | null} freezes since the stream began
 */

/**
 * @param {Snapshot | null} before null on the first reading: then only what needs no comparison is known
 * @param {Snapshot} now
 * @param {{latency?: import("./latency.js").Latency | null, skewMs?: number | null}} [measured] by other means
 * @returns {Metrics}
 */
export function measure(before, now, { latency = null, skewMs = null } = {}) {
  const seconds = before ? (now.atMs - before.atMs) / 1000 : 0;
  const video = seconds > 0 ? difference(before?.video, now.video) : null;
  const audio = seconds > 0 ? difference(before?.audio, now.audio) : null;
  const streams = [video, audio].filter((d) => d !== null);
  const packets = sum(streams.map((d) => d.packets));
  const lost = sum(streams.map((d) => Math.max(0, d.lost)));

  const bufferMs = video && ratio(video.bufferSeconds * 1000, video.bufferEmitted);
  const decodeMs = video && ratio(video.decodeSeconds * 1000, video.frames);
  const estimateMs =
    bufferMs === null || now.rttMs === null ? null : bufferMs + now.rttMs / 2 + (decodeMs ?? 0);

  return {
    latencyMs: latency?.ms ?? estimateMs,
    latencyIsMeasured: latency !== null,
    latencyP50Ms: latency?.p50Ms ?? null,
    latencyP95Ms: latency?.p95Ms ?? null,
    skewMs,
    jitterBufferMs: bufferMs,
    fps: video && video.frames / seconds,
    bitrateBps: streams.length > 0 ? (sum(streams.map((d) => d.bytes)) * 8) / seconds : null,
    lossPercent: ratio(lost * 100, packets + lost),
    width: now.video?.width ?? null,
    height: now.video?.height ?? null,
    codec: [now.video?.codec, now.audio?.codec].filter(Boolean).join(" + ") || null,
    videoCodec: now.video?.codec ?? null,
    audioCodec: now.audio?.codec ?? null,
    path: now.path,
    protocol: now.protocol,
    rttMs: now.rttMs,
    jitterMs: now.video?.jitterMs ?? now.audio?.jitterMs ?? null,
    freezes: now.video?.freezes ?? null,
  };
}

/**
 * The metrics as words, by the name of their tile; an en dash where nothing is known.
 * @param {Metrics | null} metrics
 * @returns {Record<"latency"|"fps"|"bitrate"|"loss"|"resolution"|"codec"|"rtt"|"jitter"|"freezes"|"skew"|"buffer"|"path", string>}
 */
export function format(metrics) {
  const m = metrics;
  return {
    latency: withUnit(m?.latencyMs, 0, "ms"),
    fps: withUnit(m?.fps, 0, "fps"),
    bitrate: formatBitrate(m?.bitrateBps),
    loss: withUnit(m?.lossPercent, 1, "%"),
    resolution: m?.width && m.height ? `${m.width} × ${m.height}` : NOTHING,
    codec: m?.codec ?? NOTHING,
    rtt: withUnit(m?.rttMs, 0, "ms"),
    jitter: withUnit(m?.jitterMs, 0, "ms"),
    freezes: withUnit(m?.freezes, 0, ""),
    skew: withUnit(m?.skewMs, 0, "ms"),
    buffer: withUnit(m?.jitterBufferMs, 0, "ms"),
    path: [m?.path, m?.protocol].filter(Boolean).join(" / ") || NOTHING,
  };
}

/**
 * What the server is told: the data of a `statistics` message. What is not known is left out.
 * @param {Metrics} metrics
 * @returns {Record<string, number | string>}
 */
export function report(metrics) {
  const isMeasured = metrics.latencyIsMeasured;
  const fields = {
    latencyMs: isMeasured ? metrics.latencyMs : null,
    latencyP50Ms: metrics.latencyP50Ms,
    latencyP95Ms: metrics.latencyP95Ms,
    lipSyncSkewMs: metrics.skewMs,
    framesPerSecond: metrics.fps,
    freezeCount: metrics.freezes,
    packetLossPercent: metrics.lossPercent,
    roundTripTimeMs: metrics.rttMs,
    bitrateBps: metrics.bitrateBps,
    jitterBufferMs: metrics.jitterBufferMs,
    jitterMs: metrics.jitterMs,
    frameWidth: metrics.width,
    frameHeight: metrics.height,
    videoCodec: metrics.videoCodec?.slice(0, MOST_LETTERS),
    audioCodec: metrics.audioCodec?.slice(0, MOST_LETTERS),
    path: metrics.path,
    protocol: metrics.protocol,
  };
  return Object.fromEntries(
    Object.entries(fields).filter(
      /** @returns {entry is [string, number | string]} */
      (/** @type {[string, unknown]} */ entry) =>
        typeof entry[1] === "string" || Number.isFinite(entry[1]),
    ),
  );
}

/** Of a name in a `statistics` message. */
const MOST_LETTERS = 16;

const NOTHING = "–";

/**
 * @param {Inbound | null | undefined} before
 * @param {Inbound | null} now
 */
function difference(before, now) {
  if (!before || !now || before.id !== now.id || now.packets < before.packets) return null;
  return {
    bytes: now.bytes - before.bytes,
    packets: now.packets - before.packets,
    lost: now.lost - before.lost,
    bufferSeconds: now.bufferSeconds - before.bufferSeconds,
    bufferEmitted: now.bufferEmitted - before.bufferEmitted,
    frames: now.frames - before.frames,
    decodeSeconds: now.decodeSeconds - before.decodeSeconds,
  };
}

/** @param {number} part @param {number} whole */
function ratio(part, whole) {
  return whole > 0 ? part / whole : null;
}

/** @param {number[]} values */
function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

/** @param {number | null | undefined} value @param {number} digits @param {string} unit */
function withUnit(value, digits, unit) {
  return value === null || value === undefined
    ? NOTHING
    : `${value.toFixed(digits)} ${unit}`.trim();
}

/** @param {number | null | undefined} bps */
function formatBitrate(bps) {
  if (bps === null || bps === undefined) return NOTHING;
  return bps < 1e6 ? withUnit(bps / 1e3, 0, "kb/s") : withUnit(bps / 1e6, 2, "Mb/s");
}
