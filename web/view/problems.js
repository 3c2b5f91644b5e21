// What keeps a viewer from seeing, hearing or being heard: what is wrong, and what to do about it, a sentence each. Pure.

/**
 * The client's codes (`state` events), and what only a page can notice.
 * @typedef {"unreachable" | "server-full" | "no-media-path" | "no-udp-path" | "no-shared-codec" | "version-mismatch"
 *   | "no-webrtc" | "bad-address" | "refused"} ConnectionProblem
 * @typedef {"insecure-context" | "microphone-denied" | "microphone-missing" | "microphone-busy" | "microphone-lost"
 *   | "microphone-failed"} MicrophoneProblem
 * @typedef {"autoplay-blocked"} PlaybackProblem
 * @typedef {ConnectionProblem | MicrophoneProblem | PlaybackProblem} ProblemCode
 */

/** @typedef {{wrong: string, remedy: string}} Explanation */

/** @type {Record<ProblemCode, Explanation>} */
const EXPLANATIONS = {
  unreachable: {
    wrong: "The avatar’s server does not answer.",
    remedy:
      "Check your network; whoever runs the server checks that it is up and that its port is open.",
  },
  "server-full": {
    wrong: "All places with the avatar are taken.",
    remedy: "Wait for one to become free, or have the server’s webrtc.maxClients raised.",
  },
  "no-media-path": {
    wrong: "The server answers, but its picture gets through neither directly nor over the relay.",
    remedy: "Try another network, or have the relay’s (TURN) address, password and ports checked.",
  },
  "no-udp-path": {
    wrong: "The server answers, but its picture does not get through: UDP seems to be blocked.",
    remedy:
      "Try another network, or have a relay (webrtc.turn) or media over TCP (webrtc.tcpPort) added; for a first set-up, check webrtc.udpPort and webrtc.announcedIps.",
  },
  "no-shared-codec": {
    wrong: "This browser cannot decode what the server sends.",
    remedy: "Use a current browser, or have VP8 added to webrtc.videoCodec: every browser has it.",
  },
  "version-mismatch": {
    wrong: "This page is older than the server and does not understand it.",
    remedy: "Reload the page, or have its copy of the client updated.",
  },
  "no-webrtc": {
    wrong: "This browser has no WebRTC, or it is switched off.",
    remedy:
      "Use a current Chrome, Edge, Firefox or Safari, and let no extension switch WebRTC off.",
  },
  "bad-address": {
    wrong: "The address of the avatar’s server cannot be used.",
    remedy: "It is to look like wss://host:port; a page on https cannot use ws://.",
  },
  refused: {
    wrong: "The server has ended this connection.",
    remedy: "Sign in again, or ask whoever runs this page.",
  },
  "insecure-context": {
    wrong: "Browsers give the microphone only to secure pages, and this one is not.",
    remedy: "Open it over https, or on localhost.",
  },
  "microphone-denied": {
    wrong: "The browser has not allowed the microphone.",
    remedy: "Allow it for this site in the address bar, then try again.",
  },
  "microphone-missing": {
    wrong: "No microphone was found.",
    remedy: "Plug one in, then try again.",
  },
  "microphone-busy": {
    wrong: "The microphone cannot be opened: another application may be using it.",
    remedy: "Close that application or choose another microphone, then try again.",
  },
  "microphone-lost": {
    wrong: "The microphone was unplugged or taken away.",
    remedy: "Plug it in again or choose another one, then switch it on.",
  },
  "microphone-failed": {
    wrong: "The microphone cannot be used.",
    remedy: "Try again, or choose another one.",
  },
  "autoplay-blocked": {
    wrong: "The browser plays no sound before a click.",
    remedy: "Press “Play sound”.",
  },
};

/**
 * @param {string | null | undefined} code
 * @returns {Explanation | null} null for a code that is not known here: a newer client's
 */
export function explain(code) {
  return code && Object.hasOwn(EXPLANATIONS, code)
    ? EXPLANATIONS[/** @type {ProblemCode} */ (code)]
    : null;
}

/**
 * Tells the two reasons apart for which no media comes: what helps is not the same.
 * @param {string | null} code
 * @param {RTCIceServer[]} iceServers those of the connection that failed
 * @returns {string | null}
 */
export function refine(code, iceServers) {
  if (code !== "no-media-path") return code;
  const urls = iceServers.flatMap((server) => server.urls);
  return urls.some((url) => /^turns?:/i.test(url)) ? code : "no-udp-path";
}

/**
 * Why `getUserMedia` gave no microphone: https://www.w3.org/TR/mediacapture-streams/#dom-mediadevices-getusermedia
 * @param {unknown} error
 * @returns {MicrophoneProblem}
 */
export function microphoneProblem(error) {
  switch (error instanceof Error ? error.name : "") {
    case "NotAllowedError":
    case "SecurityError":
      return "microphone-denied";
    case "NotFoundError":
    case "OverconstrainedError":
      return "microphone-missing";
    case "NotReadableError":
    case "AbortError":
      return "microphone-busy";
    default:
      return "microphone-failed";
  }
}
