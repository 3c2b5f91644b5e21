// One reading of RTCPeerConnection.getStats(). Pure. Field names and units: https://www.w3.org/TR/webrtc-stats/

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
 * @property {string | null} path what kind of candidate our end of it is: "host", "srflx", "prflx" or "relay"
 * @property {string | null} protocol "udp" or "tcp"; to the relay, if there is one
 * @property {number} received packets and answers to our checks, since the connection began: grows while anything arrives
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
    ...readPath(byId.get(pair?.localCandidateId)),
    received: (video?.packets ?? 0) + (audio?.packets ?? 0) + count(pair?.responsesReceived),
  };
}

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

/** @param {any} candidate ours, of the pair in use */
function readPath(candidate) {
  const protocol = candidate?.relayProtocol ?? candidate?.protocol ?? null;
  return {
    path: candidate?.candidateType ?? null,
    protocol: protocol === "tls" ? "tcp" : protocol,
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
