// What the page shows as numbers, computed from RTCPeerConnection.getStats().
// Pure: `snapshot` reads one report, `measure` compares two snapshots, `format` writes the result for people.
// Field names and units: https://www.w3.org/TR/webrtc-stats/

/**
 * Counters of one received stream (`inbound-rtp`) since it began.
 * @typedef {object} Inbound
 * @property {string} id which stream; the counters of another one cannot be compared
 * @property {number} bytes received, RTP headers included
 * @property {number} packets
 * @property {number} lost may go down when a late packet turns up (RFC 3550, A.3)
 * @property {number | null} jitterMs
 * @property {number} bufferSeconds summed over all emitted frames or samples
 * @property {number} bufferEmitted
 * @property {number} frames decoded
 * @property {number} decodeSeconds summed over all decoded frames
 * @property {number} freezes
 * @property {number | null} width
 * @property {number | null} height
 * @property {string | null} codec such as "H264" or "Opus"
 */

/**
 * @typedef {object} Snapshot
 * @property {number} atMs when the counters were read
 * @property {Inbound | null} video
 * @property {Inbound | null} audio
 * @property {number | null} rttMs of the candidate pair in use
 */

/**
 * What happened between two snapshots; null where there is nothing to tell.
 * @typedef {object} Metrics
 * @property {number | null} latencyMs estimate: jitter buffer + half the round trip + decoding
 * @property {number | null} fps pictures decoded a second
 * @property {number | null} bitrateBps video and audio received
 * @property {number | null} lossPercent 0 to 100, video and audio together
 * @property {number | null} width
 * @property {number | null} height
 * @property {string | null} codec
 * @property {number | null} rttMs
 * @property {number | null} jitterMs of the video's packets, else of the audio's
 * @property {number | null} freezes since the stream began
 */

/**
 * @param {Iterable<[string, any]>} report an RTCStatsReport, or any map like it
 * @returns {Snapshot}
 */
export function snapshot(report) {
  const byId = new Map(report);
  const all = [...byId.values()];
  const inbound = (/** @type {string} */ kind) => {
    const found = all.filter((s) => s.type === "inbound-rtp" && s.kind === kind);
    const busiest = found.sort((a, b) => count(b.bytesReceived) - count(a.bytesReceived))[0];
    return busiest ? readInbound(busiest, byId) : null;
  };
  const pair = selectedPair(all, byId);
  const video = inbound("video");
  const audio = inbound("audio");
  return {
    atMs: Math.max(0, ...all.map((s) => count(s.timestamp))),
    video,
    audio,
    rttMs: milliseconds(pair?.currentRoundTripTime),
  };
}

/**
 * @param {Snapshot | null} before null on the first reading: then only what needs no comparison is known
 * @param {Snapshot} now
 * @returns {Metrics}
 */
export function measure(before, now) {
  const seconds = before ? (now.atMs - before.atMs) / 1000 : 0;
  const video = seconds > 0 ? difference(before?.video, now.video) : null;
  const audio = seconds > 0 ? difference(before?.audio, now.audio) : null;
  const streams = [video, audio].filter((d) => d !== null);
  const packets = sum(streams.map((d) => d.packets));
  const lost = sum(streams.map((d) => Math.max(0, d.lost)));

  const bufferMs = video && ratio(video.bufferSeconds * 1000, video.bufferEmitted);
  const decodeMs = video && ratio(video.decodeSeconds * 1000, video.frames);
  const latencyMs =
    bufferMs === null || now.rttMs === null ? null : bufferMs + now.rttMs / 2 + (decodeMs ?? 0);

  return {
    latencyMs,
    fps: video && video.frames / seconds,
    bitrateBps: streams.length > 0 ? (sum(streams.map((d) => d.bytes)) * 8) / seconds : null,
    lossPercent: ratio(lost * 100, packets + lost),
    width: now.video?.width ?? null,
    height: now.video?.height ?? null,
    codec: [now.video?.codec, now.audio?.codec].filter(Boolean).join(" + ") || null,
    rttMs: now.rttMs,
    jitterMs: now.video?.jitterMs ?? now.audio?.jitterMs ?? null,
    freezes: now.video?.freezes ?? null,
  };
}

/**
 * The metrics as words, by the name of their tile; an en dash where nothing is known.
 * @param {Metrics | null} metrics
 * @returns {Record<"latency"|"fps"|"bitrate"|"loss"|"resolution"|"codec"|"rtt"|"jitter"|"freezes", string>}
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
  };
}

const NOTHING = "–";

/**
 * @param {any} stats
 * @param {Map<string, any>} byId
 * @returns {Inbound}
 */
function readInbound(stats, byId) {
  return {
    id: String(stats.id),
    bytes: count(stats.bytesReceived) + count(stats.headerBytesReceived),
    packets: count(stats.packetsReceived),
    lost: count(stats.packetsLost),
    jitterMs: milliseconds(stats.jitter),
    bufferSeconds: count(stats.jitterBufferDelay),
    bufferEmitted: count(stats.jitterBufferEmittedCount),
    frames: count(stats.framesDecoded),
    decodeSeconds: count(stats.totalDecodeTime),
    freezes: count(stats.freezeCount),
    width: stats.frameWidth ?? null,
    height: stats.frameHeight ?? null,
    codec: codecName(byId.get(stats.codecId)?.mimeType),
  };
}

/**
 * The transport names the pair in use; Firefox marks the pair itself.
 * @param {any[]} all
 * @param {Map<string, any>} byId
 */
function selectedPair(all, byId) {
  const named = byId.get(
    all.find((s) => s.type === "transport" && s.selectedCandidatePairId)?.selectedCandidatePairId,
  );
  const pairs = all.filter((s) => s.type === "candidate-pair");
  return (
    named ??
    pairs.find((p) => p.selected) ??
    pairs.find((p) => p.nominated && p.state === "succeeded")
  );
}

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

/** @param {string | undefined} mimeType such as "video/H264" */
function codecName(mimeType) {
  const name = mimeType?.split("/")[1];
  return name?.toLowerCase() === "opus" ? "Opus" : (name ?? null);
}

/** @param {unknown} value */
function count(value) {
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}

/** @param {unknown} seconds */
function milliseconds(seconds) {
  return typeof seconds === "number" ? seconds * 1000 : null;
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
