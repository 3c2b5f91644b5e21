// What the dashboard computes from the answers of `GET /dashboard/data`: rates from two of them, quantiles, and the rows of
// its table. Pure: nothing here knows of the page or of the time.

/** @typedef {"connecting" | "connected" | "disconnected" | "failed"} PeerState */

/**
 * What a viewer's page told of itself last; see `web/client/statistics.js`.
 * @typedef {object} PeerStatistics
 * @property {number} receivedAt ms
 * @property {number} [latencyMs]
 * @property {number} [latencyP50Ms]
 * @property {number} [latencyP95Ms]
 * @property {number} [lipSyncSkewMs] positive: sound after picture
 * @property {number} [framesPerSecond]
 * @property {number} [freezeCount]
 * @property {number} [packetLossPercent]
 * @property {number} [roundTripTimeMs]
 * @property {number} [bitrateBps]
 * @property {number} [jitterBufferMs]
 * @property {number} [jitterMs]
 * @property {number} [frameWidth]
 * @property {number} [frameHeight]
 * @property {string} [videoCodec]
 * @property {string} [audioCodec]
 * @property {string} [path] "host", "srflx", "prflx" or "relay"
 * @property {string} [protocol] "udp" or "tcp"
 */

/**
 * @typedef {object} Peer
 * @property {string} id
 * @property {PeerState} state
 * @property {number} createdAt ms
 * @property {string} address
 * @property {boolean} [signalling] false: its WebSocket is lost, and it may come back
 * @property {PeerStatistics | null} statistics
 */

/**
 * @typedef {object} Media
 * @property {boolean} isStreaming
 * @property {number} fps pushed in the last second
 * @property {number} framesPushed
 * @property {number} framesEncoded by all encoders together
 * @property {number} framesSuperseded
 * @property {number} framesInvalid
 * @property {number} framesLate
 * @property {number} avgPushLatencyMs
 * @property {{p50: number | null, p95: number | null}} encodeMs since the start
 * @property {number} encodeSecondsTotal
 * @property {Record<string, number>} keyframes
 * @property {number} audioChunks
 * @property {number} droppedChunks
 * @property {number} queuedAudioMs
 */

/**
 * An answer. Counters count from `startedAt`; joins, drops and dropped events since the server was made; those of `media` since
 * the bridge was made, or its metrics were reset.
 * @typedef {object} Answer
 * @property {number} time ms of the server's clock
 * @property {number} startedAt
 * @property {string} version
 * @property {Media | null} media
 * @property {Record<string, number>} viewers by codec
 * @property {Record<"packetsSent" | "bytesSent" | "retransmittedPackets" | "refusedNacks" | "refusedKeyframeRequests" | "refusedDatagrams" | "refusedMessages" | "blockedUnits" | "lateUnits", number>} network
 * @property {{decoders: number, packets: number, dropped: number}} microphones
 * @property {{audio: number, messages: number, state: number}} droppedEvents
 * @property {number} joins
 * @property {{total: number, byReason: Record<string, number>}} drops
 * @property {Peer[]} peers
 * @property {number} maxClients
 */

/**
 * The state of things at one answer; null where nothing is known.
 * @typedef {object} Reading
 * @property {number} peers
 * @property {number} connected
 * @property {number | null} fpsPushed
 * @property {number | null} fpsEncoded by all encoders together
 * @property {number | null} encoderLoad 1 is a core
 * @property {number | null} bitrateBps sent, without UDP and IP headers
 * @property {number | null} retransmissions a second
 * @property {number | null} joins a second
 * @property {number | null} drops a second
 * @property {number | null} queuedAudioMs
 * @property {number | null} latencyP50Ms over the viewers
 * @property {number | null} latencyP95Ms
 */

/**
 * What the table shows of a peer, by the name of the column; null where it is not known.
 * @typedef {object} Row
 * @property {string} id
 * @property {string} state
 * @property {number} since ms that it has been there
 * @property {number | null} latency
 * @property {number | null} loss
 * @property {number | null} rtt
 * @property {number | null} fps
 * @property {number | null} freezes
 * @property {number | null} bitrate
 * @property {number | null} buffer
 * @property {number | null} skew
 * @property {string | null} codec
 * @property {string | null} path
 * @property {string} address
 */

/** @typedef {keyof Row} Column */
/** @typedef {{column: Column, descending: boolean}} Order */

/** A page tells each 2 s; after five of them that did not come, the last says nothing about now. */
const STALE_MS = 10_000;

/**
 * From where on a value is to be noticed, and from where it is bad. Skew as a viewer detects and no longer accepts it (ITU-R
 * BT.1359-1: sound late by 125 and 185 ms, early by 45 and 90); the round trip is twice the delay of ITU-T G.114.
 * @type {Partial<Record<Column, (value: number) => [noticed: boolean, bad: boolean]>>}
 */
const LIMITS = {
  latency: (ms) => [ms >= 500, ms >= 1000],
  loss: (percent) => [percent >= 1, percent >= 5],
  rtt: (ms) => [ms >= 300, ms >= 800],
  skew: (ms) => [ms >= 125 || ms <= -45, ms >= 185 || ms <= -90],
};

/** Whether `now` is of another run of the server than `before`. @param {Answer} before @param {Answer} now */
export function isRestarted(before, now) {
  return before.startedAt !== now.startedAt;
}

/** @param {Answer | null} before that before it, of the same run of the server @param {Answer} now @returns {Reading} */
export function read(before, now) {
  const { media, peers } = now;
  const seconds = before ? (now.time - before.time) / 1000 : 0;
  const rate = (/** @type {(answer: Answer) => number | undefined} */ counter) => {
    const [from, to] = [before ? counter(before) : undefined, counter(now)];
    // One that went down was reset in between.
    if (from === undefined || to === undefined || to < from || seconds <= 0) return null;
    return (to - from) / seconds;
  };
  const latencies = peers.map((peer) => fresh(peer, now.time)?.latencyMs).filter(isNumber);
  const bytes = rate(({ network }) => network.bytesSent);
  return {
    peers: peers.length,
    connected: peers.filter(({ state }) => state === "connected").length,
    fpsPushed: rate(({ media }) => media?.framesPushed),
    fpsEncoded: rate(({ media }) => media?.framesEncoded),
    encoderLoad: rate(({ media }) => media?.encodeSecondsTotal),
    bitrateBps: bytes === null ? null : bytes * 8,
    retransmissions: rate(({ network }) => network.retransmittedPackets),
    joins: rate(({ joins }) => joins),
    drops: rate(({ drops }) => drops.total),
    queuedAudioMs: media?.queuedAudioMs ?? null,
    latencyP50Ms: quantile(latencies, 0.5),
    latencyP95Ms: quantile(latencies, 0.95),
  };
}

/** The smallest value that at least this share of them does not exceed. @param {number[]} values @param {number} share */
export function quantile(values, share) {
  const ascending = values.toSorted((a, b) => a - b);
  return ascending[Math.max(0, Math.ceil(ascending.length * share) - 1)] ?? null;
}

/** @param {Answer} answer @returns {Row[]} */
export function rowsOf({ peers, time }) {
  return peers.map((peer) => {
    const told = fresh(peer, time);
    return {
      id: peer.id,
      state:
        peer.state === "connected" && peer.signalling === false
          ? "connected, media only"
          : peer.state,
      since: Math.max(0, time - peer.createdAt),
      latency: told?.latencyMs ?? null,
      loss: told?.packetLossPercent ?? null,
      rtt: told?.roundTripTimeMs ?? null,
      fps: told?.framesPerSecond ?? null,
      freezes: told?.freezeCount ?? null,
      bitrate: told?.bitrateBps ?? null,
      buffer: told?.jitterBufferMs ?? null,
      skew: told?.lipSyncSkewMs ?? null,
      codec: joined([told?.videoCodec, told?.audioCodec], " + "),
      path: joined([told?.path, told?.protocol], "/"),
      address: peer.address,
    };
  });
}

/** Rows that contain every word somewhere, and have something wrong if that is asked. @param {Row[]} rows @param {string} text @param {boolean} [onlyTroubled] */
export function filtered(rows, text, onlyTroubled = false) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return rows.filter((row) => {
    if (onlyTroubled && !isTroubled(row)) return false;
    if (words.length === 0) return true;
    const { id, state, codec, path, address } = row;
    const where = [id, state, codec, path, address].join("\n").toLowerCase();
    return words.every((word) => where.includes(word));
  });
}

/** Rows in order; what is not known comes last in either direction, and equal ones stay as they are. @param {Row[]} rows @param {Order} order */
export function sorted(rows, { column, descending }) {
  const sign = descending ? -1 : 1;
  return rows.toSorted((a, b) => {
    const [x, y] = [a[column], b[column]];
    if (x === y) return 0;
    if (x === null) return 1;
    if (y === null) return -1;
    return x < y ? -sign : sign;
  });
}

/** How a value is. @param {Row} row @param {Column} column @returns {"" | "noticed" | "bad"} */
export function judged(row, column) {
  if (column === "state")
    return row.state === "connected" ? "" : row.state.startsWith("failed") ? "bad" : "noticed";
  const value = row[column];
  const [noticed, bad] = (typeof value === "number" && LIMITS[column]?.(value)) || [false, false];
  return bad ? "bad" : noticed ? "noticed" : "";
}

/** @param {Row} row */
export function isTroubled(row) {
  return (
    judged(row, "state") !== "" ||
    Object.keys(LIMITS).some((column) => judged(row, /** @type {Column} */ (column)) !== "")
  );
}

/**
 * Which rows of a scrolled list are to be drawn: those in view and `spare` more at both ends.
 * @param {{top: number, height: number, rowHeight: number, count: number, spare: number}} view
 * @returns {{first: number, end: number}}
 */
export function inView({ top, height, rowHeight, count, spare }) {
  const from = Math.min(top, Math.max(0, count * rowHeight - height)); // There may have been more rows a moment ago.
  const first = Math.floor(from / rowHeight) - spare;
  const end = Math.ceil((from + height) / rowHeight) + spare;
  const within = (/** @type {number} */ row) => Math.min(count, Math.max(0, row));
  return { first: within(first), end: within(end) };
}

/** As exactly as it is of interest: "42 s", "42 min", "2 h 5 min", "3 d 4 h". @param {number} ms */
export function lasting(ms) {
  const seconds = Math.floor(ms / 1000);
  const [minutes, hours] = [Math.floor(seconds / 60), Math.floor(seconds / 3600)];
  if (seconds < 60) return `${seconds} s`;
  if (minutes < 60) return `${minutes} min`;
  if (hours < 24) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A short time: "42 ms", "1.3 s". @param {number | null} ms @param {number} [digits] of milliseconds */
export function brief(ms, digits = 0) {
  return ms !== null && Math.abs(ms) >= 999.5
    ? amount(ms / 1000, "s", 1)
    : amount(ms, "ms", digits);
}

/** @param {number | null} bps */
export function bitrate(bps) {
  if (bps === null) return "–";
  const power = Math.min(3, Math.max(1, Math.floor(Math.log10(Math.max(1, bps)) / 3)));
  const value = bps / 1000 ** power;
  return `${value.toFixed(value >= 100 || power === 1 ? 0 : value >= 10 ? 1 : 2)} ${["", "k", "M", "G"][power]}b/s`;
}

/** @param {number | null} value @param {string} [unit] @param {number} [digits] */
export function amount(value, unit = "", digits = 0) {
  if (value === null) return "–";
  const number = value.toFixed(digits);
  return `${Number(number) === 0 ? number.replace("-", "") : number} ${unit}`.trim();
}

/** @param {Peer} peer @param {number} time */
function fresh({ statistics }, time) {
  return statistics && time - statistics.receivedAt < STALE_MS ? statistics : null;
}

/** @param {(string | undefined)[]} parts @param {string} by */
function joined(parts, by) {
  return parts.filter(Boolean).join(by) || null;
}

/** @param {unknown} value @returns {value is number} */
function isNumber(value) {
  return typeof value === "number";
}
