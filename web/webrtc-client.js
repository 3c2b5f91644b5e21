// The page: its elements on one side, an AvatarClient on the other.

import { AvatarClient, signallingUrl } from "./avatar-client.js";
import { LogConsole } from "./page/log-console.js";
import { MetricsPanel } from "./page/metrics-panel.js";
import { MicrophoneControls } from "./page/microphone-controls.js";
import { element, on, write } from "./view/dom.js";
import { Microphone } from "./view/microphone.js";
import { Presenter } from "./view/presenter.js";
import { explain } from "./view/problems.js";
import { isActive, STATE_WORDS } from "./view/state-words.js";

const PROBE_MS = 2000;
/** Where it is remembered whether the details are wanted. */
const DETAILS = "avatar-details";

const parameters = new URLSearchParams(location.search);
const log = new LogConsole((text) => write(element("announcement"), text));
const metrics = new MetricsPanel();

const client = new AvatarClient({
  url: signallingUrl(location.href, await isServedBySignalling()),
  ...(parameters.has("token") && { token: parameters.get("token") ?? "" }),
  ...(parameters.has("relay") && { iceTransportPolicy: "relay" }),
  log: (level, text) => log.add(level, text),
});
Object.assign(window, { avatarClient: client });
const microphone = new Microphone((track) => client.setMicrophone(track));
new MicrophoneControls(microphone, { log: (level, text) => log.add(level, text), notice });

new Presenter({
  video: element("video", HTMLVideoElement),
  poster: element("poster"),
  headline: element("headline"),
  detail: element("detail"),
  retry: element("retry"),
  caption: element("caption"),
  announcement: element("announcement"),
  connect: element("connect"),
  sound: element("sound"),
  captions: element("captions"),
  playSound: element("play-sound"),
  unheard: element("unheard"),
}).follow(client, microphone);
element("play-sound-why").textContent = explain("autoplay-blocked")?.wrong ?? "";

on(client, "state", ({ state }) => showState(state));
on(client, "stats", (event) => metrics.show(event.metrics));
on(client, "interrupt", () => log.add("info", "The avatar was interrupted."));
on(client, "command", ({ command, data }) =>
  log.add("info", `Avatar: ${command} ${JSON.stringify(data ?? {})}`),
);
on(client, "message", ({ data }) => log.add("info", `Message: ${JSON.stringify(data)}`));

element("emotions").addEventListener("click", ({ target }) => {
  const emotion = target instanceof HTMLElement && target.dataset.emotion;
  if (!emotion) return;
  const isSent = client.sendCommand("change-emotion", { emotion });
  if (isSent) log.add("info", `Sent change-emotion ${emotion}.`);
  else log.add("warn", "The control channel is not open yet.");
});
element("dismiss-notice").addEventListener("click", () => notice(null));
element("details").addEventListener("click", () => {
  const wanted = element("side").hidden === true;
  showDetails(wanted);
  remember(DETAILS, wanted ? "shown" : "hidden");
});

showDetails(remembered(DETAILS) !== "hidden");
notice(Microphone.obstacle);
client.connect();

/** The signalling server answers /healthz beside the page with a JSON object; any other web server does not. */
async function isServedBySignalling() {
  if (parameters.has("server")) return false;
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

/** Where the page alone shows it. @param {import("./avatar-client.js").ClientState} state */
function showState(state) {
  document.documentElement.dataset.state = state;
  element("state").textContent = STATE_WORDS[state];
  element("connect").classList.toggle("quiet", isActive(state));
  for (const button of element("emotions").querySelectorAll("button"))
    button.disabled = state !== "connected";
  if (state !== "connected") metrics.show(null);
}

/** @param {boolean} wanted */
function showDetails(wanted) {
  element("side").hidden = !wanted;
  element("details").setAttribute("aria-expanded", String(wanted));
}

/**
 * What is wrong, below the picture where the hand is.
 * @param {import("./view/problems.js").ProblemCode | null} code null to take the notice away
 */
function notice(code) {
  const explanation = explain(code);
  const wrong = document.createElement("strong");
  wrong.textContent = explanation?.wrong ?? "";
  element("notice").hidden = !explanation;
  element("notice-text").replaceChildren(wrong, explanation ? ` ${explanation.remedy}` : "");
  if (explanation) log.add("warn", `${explanation.wrong} ${explanation.remedy}`);
}

/** @param {string} key @param {string} value */
function remember(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Storage is switched off, or full: then it is forgotten.
  }
}

/** @param {string} key */
function remembered(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}
