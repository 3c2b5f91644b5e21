// The page: its elements on one side, an AvatarClient on the other.

import { AvatarClient, signallingUrl } from "./avatar-client.js";
import { format, measure, snapshot } from "./statistics.js";

/** @typedef {import("./avatar-client.js").ClientState} ClientState */
/** @typedef {import("./avatar-client.js").LogLevel} LogLevel */

const LOG_LINES = 300;
const METRICS_MS = 1000;
const PROBE_MS = 2000;
/** Level that fills the meter's left end: quieter than this is a silent room. */
const METER_FLOOR_DB = -60;

/** @type {Record<ClientState, string>} */
const STATE_WORDS = {
  idle: "Not connected",
  connecting: "Connecting…",
  connected: "Connected",
  reconnecting: "Reconnecting…",
  disconnected: "Disconnected",
  failed: "Cannot connect",
};

const video = /** @type {HTMLVideoElement} */ (element("video"));
const playSound = element("play-sound");
const microphoneButton = element("microphone");
const logList = element("log");

const client = new AvatarClient({
  url: signallingUrl(location.href, await isServedBySignalling()),
  log,
});
Object.assign(window, { avatarClient: client });

/** @type {{reason: string | null, retryAt: number | null}} why there is no connection, and when the next try is */
let outage = { reason: null, retryAt: null };
let pictureSeen = false;
/** @type {{track: MediaStreamTrack, context: AudioContext} | null} */
let microphone = null;
/** @type {{pc: RTCPeerConnection, taken: import("./statistics.js").Snapshot} | null} */
let lastReading = null;

on(client, "state", ({ reason, retryInMs }) => {
  outage = { reason, retryAt: retryInMs === null ? null : Date.now() + retryInMs };
  if (client.state !== "connected") pictureSeen = false;
  showState();
});
on(client, "stream", ({ stream }) => {
  if (video.srcObject !== stream) video.srcObject = stream;
  void play();
});
on(client, "command", ({ command, data }) =>
  log("info", `Avatar: ${command} ${JSON.stringify(data ?? {})}`),
);
on(client, "interrupt", () => log("info", "The avatar was interrupted."));
on(client, "message", ({ data }) => log("info", `Message: ${JSON.stringify(data)}`));

// "loadeddata" also comes with sound alone; the first picture then comes as "resize".
for (const type of ["loadeddata", "resize"]) {
  video.addEventListener(type, () => {
    pictureSeen = video.videoWidth > 0;
    showState();
  });
}

element("connect").addEventListener("click", () => {
  if (!isActive()) return client.connect();
  client.disconnect();
  stopMicrophone(); // Who leaves does not expect to be listened to on coming back.
});
microphoneButton.addEventListener("click", () =>
  microphone ? stopMicrophone() : startMicrophone(),
);
playSound.addEventListener("click", () => {
  video.muted = false;
  void play();
});
element("emotions").addEventListener("click", ({ target }) => {
  const emotion = target instanceof HTMLElement && target.dataset.emotion;
  if (!emotion) return;
  const sent = client.sendCommand("change-emotion", { emotion });
  log(
    sent ? "info" : "warn",
    sent ? `Sent change-emotion ${emotion}.` : "The control channel is not open yet.",
  );
});
element("clear-log").addEventListener("click", () => logList.replaceChildren());
element("copy-log").addEventListener("click", copyLog);

// Back on the network, or back from the browser's page cache: no need to sit out the delay.
window.addEventListener("online", () => client.state === "reconnecting" && client.connect());
window.addEventListener("pagehide", ({ persisted }) => persisted && client.disconnect());
window.addEventListener("pageshow", ({ persisted }) => persisted && client.connect());

setInterval(showMetrics, METRICS_MS);
setInterval(showDetail, 250);
showState();
client.connect();

/** The signalling server answers /healthz beside the page with a JSON object; any other web server does not. */
async function isServedBySignalling() {
  if (new URLSearchParams(location.search).has("server")) return false;
  try {
    const answer = await fetch("healthz", {
      cache: "no-store",
      signal: AbortSignal.timeout(PROBE_MS),
    });
    // Also while it is draining (503) the signalling server says so in JSON.
    return typeof (await answer.json()) === "object";
  } catch {
    return false;
  }
}

/** Starts with sound; a browser that wants a gesture first gets the picture without it, and a button. */
async function play() {
  try {
    await video.play();
  } catch (error) {
    if (nameOf(error) !== "NotAllowedError") return; // A newer stream took over: its own play() follows.
    video.muted = true;
    await video.play().catch(() => log("warn", "The browser refuses to play the picture."));
  }
  playSound.hidden = !video.muted;
}

async function startMicrophone() {
  notice("");
  if (!navigator.mediaDevices) {
    return notice(
      "The microphone needs a secure page: open this page over https, or on localhost.",
    );
  }
  try {
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
    const [track] = stream.getAudioTracks();
    if (microphone || !track) return track?.stop(); // Two quick presses: one microphone.
    const context = new AudioContext();
    microphone = { track, context };
    track.addEventListener("ended", () => {
      if (microphone?.track !== track) return;
      stopMicrophone();
      notice("The microphone was unplugged or taken away.");
    });
    showMicrophone();
    meter(context, stream);
    log("info", `Microphone on: ${track.label || "default device"}.`);
    await client.setMicrophone(track);
  } catch (error) {
    stopMicrophone();
    notice(microphoneProblem(error));
  }
}

function stopMicrophone() {
  if (!microphone) return;
  microphone.track.stop();
  void microphone.context.close();
  microphone = null;
  showMicrophone();
  log("info", "Microphone off.");
  client.setMicrophone(null).catch((error) => log("warn", `Microphone: ${error.message}`));
}

/** @param {unknown} error */
function microphoneProblem(error) {
  switch (nameOf(error)) {
    case "NotAllowedError":
      return "The browser has not allowed the microphone. Allow it for this site in the address bar, then try again.";
    case "NotFoundError":
      return "No microphone was found. Plug one in, then try again.";
    case "NotReadableError":
      return "The microphone is in use by another application.";
    default:
      return `The microphone cannot be used: ${error instanceof Error ? error.message : error}`;
  }
}

/** @param {AudioContext} context @param {MediaStream} stream */
function meter(context, stream) {
  const analyser = new AnalyserNode(context, { fftSize: 1024 });
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const level = element("level");
  const bar = element("level-bar");
  let shown = 0;
  const draw = () => {
    if (microphone?.context !== context) return;
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    const now = Math.min(1, Math.max(0, 1 - (10 * Math.log10(power + 1e-12)) / METER_FLOOR_DB));
    shown = Math.max(now, shown * 0.92); // Rises at once, falls slowly enough to be read.
    bar.style.clipPath = `inset(0 ${(100 - shown * 100).toFixed(1)}% 0 0)`;
    level.setAttribute("aria-valuenow", String(Math.round(shown * 100)));
    requestAnimationFrame(draw);
  };
  draw();
}

function showState() {
  const { state } = client;
  document.documentElement.dataset.state = state;
  element("state").textContent = STATE_WORDS[state];
  element("poster").classList.toggle("gone", state === "connected" && pictureSeen);
  element("headline").textContent =
    state === "connected" ? "Waiting for the picture" : STATE_WORDS[state];
  const connect = element("connect");
  connect.textContent = isActive() ? "Disconnect" : "Connect";
  connect.classList.toggle("quiet", isActive());
  for (const button of element("emotions").querySelectorAll("button"))
    button.disabled = state !== "connected";
  showDetail();
}

function showDetail() {
  const detail = element("detail");
  const words = detailWords();
  if (detail.textContent !== words) detail.textContent = words;
}

function detailWords() {
  const why = outage.reason
    ? `${outage.reason[0]?.toUpperCase()}${outage.reason.slice(1)}.`.replace(/\.\.$/, ".")
    : "";
  switch (client.state) {
    case "connected":
      return "The avatar has not sent its first picture yet.";
    case "reconnecting": {
      const seconds = outage.retryAt === null ? 0 : Math.ceil((outage.retryAt - Date.now()) / 1000);
      return seconds > 0 ? `${why} Trying again in ${seconds} s.` : "Trying again now.";
    }
    case "connecting":
      return "Reaching the avatar.";
    case "failed":
      return why;
    default:
      return "Press Connect to see the avatar.";
  }
}

function showMicrophone() {
  microphoneButton.setAttribute("aria-pressed", String(microphone !== null));
  element("level").classList.toggle("on", microphone !== null);
}

async function showMetrics() {
  const pc = client.state === "connected" ? client.peerConnection : null;
  if (!pc) {
    lastReading = null;
    return writeMetrics(null);
  }
  const taken = snapshot(await pc.getStats());
  if (client.peerConnection !== pc) return;
  const before = lastReading?.pc === pc ? lastReading.taken : null;
  lastReading = { pc, taken };
  writeMetrics(measure(before, taken));
}

/** @param {import("./statistics.js").Metrics | null} metrics */
function writeMetrics(metrics) {
  for (const [name, text] of Object.entries(format(metrics))) {
    const tile = document.querySelector(`[data-metric="${name}"]`);
    if (tile) tile.textContent = text;
  }
}

/** @param {string} text empty to take the notice away */
function notice(text) {
  const box = element("notice");
  box.textContent = text;
  box.hidden = text === "";
  if (text) log("warn", text);
}

/** @param {LogLevel} level @param {string} text */
function log(level, text) {
  const following = logList.scrollHeight - logList.scrollTop - logList.clientHeight < 40;
  const time = document.createElement("time");
  const now = new Date();
  time.dateTime = now.toISOString();
  time.textContent = `${now.toLocaleTimeString("en-GB")}.${String(now.getMilliseconds()).padStart(3, "0")}`;
  const words = document.createElement("span");
  words.textContent = text;
  const line = document.createElement("li");
  line.className = level;
  line.append(time, " ", words);
  logList.append(line);
  while (logList.childElementCount > LOG_LINES) logList.firstElementChild?.remove();
  if (following) logList.scrollTop = logList.scrollHeight;
}

async function copyLog() {
  const text = [...logList.children].map((line) => line.textContent).join("\n");
  try {
    await navigator.clipboard.writeText(text);
    flash("Copied");
  } catch {
    // Not a secure page, or not permitted: leave the lines selected for the user's own copy.
    getSelection()?.selectAllChildren(logList);
    flash("Selected");
  }
}

/** @param {string} word */
function flash(word) {
  const button = element("copy-log");
  button.textContent = word;
  setTimeout(() => {
    button.textContent = "Copy";
  }, 1500);
}

function isActive() {
  return ["connecting", "connected", "reconnecting"].includes(client.state);
}

/** @param {unknown} error */
function nameOf(error) {
  return error instanceof Error ? error.name : "";
}

/** @param {string} id @returns {HTMLElement} */
function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/**
 * @param {EventTarget} target
 * @param {string} type
 * @param {(detail: any) => void} handle
 */
function on(target, type, handle) {
  target.addEventListener(type, (event) => handle(/** @type {CustomEvent} */ (event).detail));
}
