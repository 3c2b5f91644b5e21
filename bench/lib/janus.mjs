// Janus with nothing but its streaming plugin and its WebSocket API, configured for one stream.

import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { isInstalled, output } from "../../scripts/run.mjs";
import { atEnd, release, start, stop } from "./process.mjs";

/** The stream that viewers watch. */
export const MOUNTPOINT = 1;

const API_PORT = 8188;
const VIDEO_PORT = 5004;
const AUDIO_PORT = 5002;
const LIFETIME_SECONDS = 600;

/** @returns {string | undefined} why it cannot run here */
export function whyNoJanus() {
  if (!isInstalled("janus")) return "Janus is not installed (Debian: apt-get install janus)";
  return pluginFolder() ? undefined : "Janus' streaming plugin was not found";
}

/**
 * Janus in a namespace, and the feed of the stream that the engine would send.
 * @param {import("./namespaces.mjs").Namespace} namespace
 */
export function startJanus(namespace) {
  const folder = configure(namespace.address);
  const janus = start("janus", ["-F", folder, "-o"], {
    seconds: LIFETIME_SECONDS,
    namespace,
    stdio: "ignore",
  });
  // Its own namespace's loopback: Janus takes media in from it, only its viewers it never meets there.
  const feed = start(
    release("examples/rtp_feed"),
    ["127.0.0.1", VIDEO_PORT, AUDIO_PORT, LIFETIME_SECONDS],
    { seconds: LIFETIME_SECONDS, namespace, stdio: "ignore" },
  );
  return {
    pid: /** @type {number} */ (janus.pid),
    api: `ws://${namespace.address}:${API_PORT}`,
    stop: async () => {
      await Promise.all([stop(feed), stop(janus)]);
    },
  };
}

/** @returns {string | undefined} where Debian put its modules */
function pluginFolder() {
  const listed = output("dpkg", ["-L", "janus"]) ?? "";
  const file = listed.split("\n").find((path) => path.endsWith("/plugins/libjanus_streaming.so"));
  return file && existsSync(file) ? dirname(file) : undefined;
}

/**
 * @param {string} address
 * @returns {string} a folder of configuration, which goes with this process
 */
function configure(address) {
  const folder = mkdtempSync(join(tmpdir(), "avatar-bench-janus-"));
  atEnd(() => rmSync(folder, { recursive: true, force: true }));
  const modules = dirname(/** @type {string} */ (pluginFolder()));
  for (const [kind, name] of /** @type {const} */ ([
    ["plugins", "streaming"],
    ["transports", "websockets"],
  ])) {
    mkdirSync(join(folder, kind));
    const file = `libjanus_${name}.so`;
    symlinkSync(join(modules, kind, file), join(folder, kind, file));
  }
  for (const [name, text] of Object.entries(files(folder, address))) {
    writeFileSync(join(folder, `janus${name}.jcfg`), text);
  }
  return folder;
}

/**
 * @param {string} folder
 * @param {string} address
 * @returns {Record<string, string>}
 */
function files(folder, address) {
  return {
    "": `
general: {
  configs_folder = "${folder}"
  plugins_folder = "${folder}/plugins"
  transports_folder = "${folder}/transports"
  debug_level = 2
}
nat: {
  ice_enforce_list = "${address}"
}
events: {
  broadcast = false
}
`,
    ".transport.websockets": `
general: {
  json = "compact"
  ws = true
  ws_port = ${API_PORT}
  ws_ip = "${address}"
}
`,
    ".plugin.streaming": `
avatar: {
  type = "rtp"
  id = ${MOUNTPOINT}
  audio = true
  audioport = ${AUDIO_PORT}
  audiopt = 111
  audiocodec = "opus"
  video = true
  videoport = ${VIDEO_PORT}
  videopt = 96
  videocodec = "h264"
  videofmtp = "profile-level-id=42e01f;packetization-mode=1"
  videobufferkf = true
}
`,
  };
}
