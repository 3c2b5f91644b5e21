// The operator's dashboard: asks the server each second, and shows what it answers.

import { Plot } from "../plot/plot.js";
import { element, write } from "../view/dom.js";
import { amount, bitrate, brief, isRestarted, lasting, read, rowsOf } from "./dashboard-data.js";
import { ViewerTable } from "./viewer-table.js";

/** @typedef {import("./dashboard-data.js").Answer} Answer */
/** @typedef {import("./dashboard-data.js").Reading} Reading */

const DATA = "dashboard/data";
const EVERY_MS = 1000;
/** Who may not look now may be allowed to later. */
const REFUSED_EVERY_MS = 5000;
/** Without an answer for so long the server counts as lost. */
const PATIENCE_MS = 5000;
const HISTORY_SECONDS = 600;

/** @type {{label: string, unit: string, series: string[], values: (reading: Reading) => (number | null)[]}[]} */
const PLOTS = [
  {
    label: "Viewers",
    unit: "",
    series: ["connected", "all"],
    values: ({ connected, peers }) => [connected, peers],
  },
  {
    label: "Frame rate",
    unit: "fps",
    series: ["pushed", "encoded"],
    values: ({ fpsPushed, fpsEncoded }) => [fpsPushed, fpsEncoded],
  },
  {
    label: "Encoder load",
    unit: "%",
    series: ["of a core"],
    values: ({ encoderLoad }) => [percent(encoderLoad)],
  },
  {
    label: "Latency",
    unit: "ms",
    series: ["median", "95 %"],
    values: ({ latencyP50Ms, latencyP95Ms }) => [latencyP50Ms, latencyP95Ms],
  },
  {
    label: "Bitrate out",
    unit: "b/s",
    series: ["sent"],
    values: ({ bitrateBps }) => [bitrateBps],
  },
  {
    label: "Retransmissions",
    unit: "/s",
    series: ["packets"],
    values: ({ retransmissions }) => [retransmissions],
  },
  {
    label: "Joins and drops",
    unit: "/s",
    series: ["joins", "drops"],
    values: ({ joins, drops }) => [joins, drops],
  },
  {
    label: "Sound waiting",
    unit: "ms",
    series: ["queued"],
    values: ({ queuedAudioMs }) => [queuedAudioMs],
  },
];

const plots = PLOTS.map(({ label, unit, series, values }) => {
  const box = document.createElement("div");
  box.className = "panel";
  element("plots").append(box);
  const coloured = series.map((label, n) => ({ label, colour: `--series-${n + 1}` }));
  const options = { label, unit, series: coloured, seconds: HISTORY_SECONDS, min: 0 };
  return { plot: new Plot(box, options), values };
});
const table = new ViewerTable();
/** What is shown of the counters, by their name. @type {Map<string, {row: HTMLElement, value: HTMLElement}>} */
const counters = new Map();

/** @type {Answer | null} */
let last = null;
/** When the server was first not reached, of those times that follow one another. @type {Date | null} */
let lostAt = null;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;
let isAsking = false;

document.addEventListener("visibilitychange", () => void ask());
void ask();

/** Asks, and again after a while, as long as somebody can see it. */
async function ask() {
  clearTimeout(timer);
  if (isAsking || document.hidden) return;
  isAsking = true;
  const began = performance.now();
  let every = EVERY_MS;
  try {
    every = await answered();
  } finally {
    isAsking = false;
    timer = setTimeout(ask, Math.max(0, began + every - performance.now()));
  }
}

/** @returns {Promise<number>} in how many ms it is to be asked again */
async function answered() {
  let response;
  let body;
  try {
    response = await fetch(DATA, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    body = await response.text();
  } catch {
    lostAt ??= new Date();
    const when = lostAt.toLocaleTimeString("en-GB");
    trouble(
      "Connection lost",
      `The server has not answered since ${when}. It is asked again each second.`,
    );
    return EVERY_MS;
  }
  if (response.status === 403) {
    trouble(
      "Not allowed",
      sentence(body) || "The server does not show the dashboard to this address.",
    );
    return REFUSED_EVERY_MS;
  }
  /** @type {Answer} */
  let answer;
  try {
    if (!response.ok) throw new Error(`status ${response.status}`);
    answer = JSON.parse(body);
  } catch {
    const what = response.ok ? "no JSON" : `${response.status} ${response.statusText}`.trim();
    trouble("No data", `The server answers ${DATA} with ${what}. Is it of another version?`);
    return REFUSED_EVERY_MS;
  }
  lostAt = null;
  try {
    show(answer);
  } catch (error) {
    reportError(error);
    trouble("Not shown", "The server’s answer cannot be shown. Is the server of another version?");
  }
  return EVERY_MS;
}

/** @param {Answer} now */
function show(now) {
  if (last && isRestarted(last, now)) begin(now);
  const reading = read(last, now);
  last = now;
  document.title = `${reading.connected} ${reading.connected === 1 ? "viewer" : "viewers"} · Avatar dashboard`;
  writeFigures(reading, now);
  for (const { plot, values } of plots) plot.add(now.time, values(reading));
  writeCounters(now);
  table.show(rowsOf(now));
  // Only what is shown in full is live.
  notice("");
  document.body.classList.remove("old");
  const { media } = now;
  if (media?.isStreaming) pill("good", "Live");
  else pill("noticed", media ? "The bridge is stopped" : "No bridge is connected");
}

/** Another run of the server: nothing of the one before belongs to it. @param {Answer} now */
function begin(now) {
  last = null;
  for (const { plot } of plots) plot.clear();
  for (const { row } of counters.values()) row.remove();
  counters.clear();
  const at = new Date(now.startedAt).toLocaleTimeString("en-GB");
  element("history").textContent = `Over time, since the server was restarted at ${at}`;
}

/** @param {Reading} reading @param {Answer} now */
function writeFigures(reading, { media, maxClients, time, startedAt, version, network }) {
  const { peers, connected, bitrateBps, latencyP50Ms, latencyP95Ms } = reading;
  figure("viewers", `${connected} / ${maxClients}`);
  figure(
    "viewers-more",
    peers === connected ? "all connected" : `and ${peers - connected} not connected`,
  );
  figure("fps", amount(reading.fpsPushed, "fps", 1));
  figure("fps-more", `${amount(reading.fpsEncoded, "", 1)} encoded`);
  figure("load", amount(percent(reading.encoderLoad), "%"));
  figure("load-more", `of a core · p95 ${brief(media?.encodeMs.p95 ?? null, 1)}`);
  figure("bitrate", bitrate(bitrateBps));
  figure("bitrate-more", `${bytes(network.bytesSent)} in all`);
  figure("latency", brief(latencyP50Ms));
  figure("latency-more", `median · p95 ${brief(latencyP95Ms)}`);
  figure("uptime", lasting(time - startedAt));
  figure("uptime-more", `version ${version}`);
}

/** @param {Answer} now */
function writeCounters({ joins, drops, network, droppedEvents, media, microphones, viewers }) {
  const frames = media && {
    "encoded frames": media.framesEncoded,
    "superseded by newer": media.framesSuperseded,
    "pushed late": media.framesLate,
    "invalid frames": media.framesInvalid,
    "chunks of sound not sent": media.droppedChunks,
  };
  count("Joins and drops", { joins, drops: drops.total, ...named("dropped: ", drops.byReason) });
  count("Refused to viewers", {
    retransmissions: network.refusedNacks,
    keyframes: network.refusedKeyframeRequests,
    datagrams: network.refusedDatagrams,
    messages: network.refusedMessages,
  });
  count("Not delivered", {
    "units, viewer blocked": network.blockedUnits,
    "units, too late": network.lateUnits,
    "events: sound": droppedEvents.audio,
    "events: messages": droppedEvents.messages,
    "events: states": droppedEvents.state,
    "packets of microphones": microphones.dropped,
  });
  if (frames) count("Pushed", frames);
  if (media) count("Keyframes", named("", media.keyframes));
  count("Viewers by codec, now", { ...viewers, "microphones decoded": microphones.decoders });
}

/** @param {string} group @param {Record<string, number>} values by what was counted */
function count(group, values) {
  for (const [name, value] of Object.entries(values)) {
    const { row, value: shown } = counters.get(`${group}/${name}`) ?? counter(group, name);
    const text = value.toLocaleString("en-GB");
    if (shown.textContent === text) continue;
    shown.textContent = text;
    row.classList.toggle("none", value === 0);
  }
}

/** A new line for it, in the box of its group. @param {string} group @param {string} name */
function counter(group, name) {
  const id = `counters-${group.toLowerCase().replaceAll(/\W+/g, "-")}`;
  let list = document.getElementById(id);
  if (!list) {
    const box = document.createElement("div");
    box.className = "panel";
    const title = document.createElement("h3");
    title.textContent = group;
    list = document.createElement("dl");
    list.id = id;
    box.append(title, list);
    element("counters").append(box);
  }
  const row = document.createElement("div");
  const term = document.createElement("dt");
  term.textContent = name;
  const value = document.createElement("dd");
  row.append(term, value);
  list.append(row);
  const made = { row, value };
  counters.set(`${group}/${name}`, made);
  return made;
}

/** Something is wrong; what was shown so far stays, as of then. @param {string} short @param {string} long */
function trouble(short, long) {
  pill("bad", short);
  notice(last ? `${long} What is shown below is of then.` : long);
  document.body.classList.add("old");
}

/** @param {"good" | "noticed" | "bad"} judged @param {string} words */
function pill(judged, words) {
  element("pill").dataset.judged = judged;
  write(element("state"), words);
}

/** @param {string} words empty to take the notice away */
function notice(words) {
  write(element("notice"), words);
  element("notice").hidden = words === "";
}

/** @param {string} name @param {string} text */
function figure(name, text) {
  const box = document.querySelector(`[data-figure="${name}"]`);
  if (box instanceof HTMLElement) write(box, text);
}

/** @param {string} before @param {Record<string, number>} values by names as the server has them */
function named(before, values) {
  const words = (/** @type {string} */ name) => before + name.replaceAll(/[_-]/g, " ");
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [words(name), value]));
}

/** With a capital and a full stop. @param {string} text as the server sends it */
function sentence(text) {
  const words = text.trim();
  return (
    words && words.charAt(0).toUpperCase() + words.slice(1) + (/[.!?]$/.test(words) ? "" : ".")
  );
}

/** @param {number | null} share */
function percent(share) {
  return share === null ? null : share * 100;
}

/** @param {number} value */
function bytes(value) {
  const power = Math.min(4, Math.floor(Math.log10(Math.max(1, value)) / 3));
  return `${(value / 1000 ** power).toFixed(power === 0 ? 0 : 1)} ${["B", "kB", "MB", "GB", "TB"][power]}`;
}
