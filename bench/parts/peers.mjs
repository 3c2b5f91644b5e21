// Side by side: our server, Janus' streaming plugin and @roamhq/wrtc, in turn, with the same viewers in a
// network namespace of their own (the other two ignore the loopback interface).

import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT, run } from "../../scripts/run.mjs";
import { CpuClock } from "../lib/cpu.mjs";
import { Crowd } from "../lib/crowd.mjs";
import { startJanus, whyNoJanus } from "../lib/janus.mjs";
import { makeNamespaces, whyNoNamespaces } from "../lib/namespaces.mjs";
import { barChart } from "../lib/plot.mjs";
import { measurePoint, microsecondsPerViewer, networkPerViewer } from "../lib/point.mjs";
import { delay, release, start, stop, within } from "../lib/process.mjs";
import { median, range } from "../lib/statistics.mjs";

/** Janus beside ours. */
const MANY = [50, 200];
/** @roamhq/wrtc has an encoder for each viewer. */
const FEW = [2, 5, 10];
/** Ours beside @roamhq/wrtc, which is full long before: where the encoders are shared by so many. */
const SHARED_BY = 400;
const AIM_JANUS = 8;
const AIM_WRTC = 120;

/** @typedef {ReturnType<typeof makeNamespaces>} Namespaces */
/** @typedef {{ pid: number, url: string, stop: () => Promise<void> }} Peer */
/**
 * @typedef {object} Cost
 * @property {number} viewers
 * @property {number} microseconds of CPU a viewer-second
 * @property {number} [network] the same of our network threads alone
 * @property {number} fpsMin
 * @property {number} withPicture
 */
/** @typedef {{ ours: Cost[], theirs: Cost[] }} Compared of one number of viewers */
/** @typedef {import("../lib/report.mjs").Row} Row */

/**
 * @param {import("../lib/report.mjs").Context} context
 * @returns {Promise<import("../lib/report.mjs").Result>}
 */
export async function measure({ runs, quick, log }) {
  const why = whyNoNamespaces();
  if (why) return { rows: [{ what: "peers", measured: `left out: ${why}` }] };

  const seconds = quick ? 6 : 10;
  const namespaces = makeNamespaces();
  try {
    const janus = await compareJanus(namespaces, seconds, { runs, quick, log });
    const wrtc = await compareWrtc(namespaces, seconds, { quick, log });
    log(`${SHARED_BY} viewers`);
    const ours = await measureOurs(namespaces, SHARED_BY, seconds);
    return {
      rows: [...janus.rows, ...wrtc.rows, ...ratioRow(wrtc.costs, ours)],
      plots: plots(janus.compared, wrtc.costs),
      values: { janus: janus.compared, wrtc: wrtc.costs, ours },
    };
  } finally {
    namespaces.remove();
  }
}

// ------------------------------------------------------------------------------------------------- Janus

/**
 * @param {Namespaces} namespaces
 * @param {number} seconds
 * @param {Pick<import("../lib/report.mjs").Context, "runs" | "quick" | "log">} context
 * @returns {Promise<{ rows: Row[], compared: Compared[] }>}
 */
async function compareJanus(namespaces, seconds, { runs, quick, log }) {
  const why = whyNoJanus();
  /** @type {Compared[]} */
  const compared = [];
  for (const viewers of quick ? MANY.slice(-1) : MANY) {
    /** @type {Compared} */
    const costs = { ours: [], theirs: [] };
    for (let n = 0; n < runs; n++) {
      log(`${viewers} viewers`);
      costs.ours.push(await measureOurs(namespaces, viewers, seconds));
      if (!why) costs.theirs.push(await measureJanus(namespaces, viewers, seconds));
    }
    compared.push(costs);
  }
  if (!why) return { rows: compared.map(janusRow), compared };
  const what = `Janus' streaming plugin`;
  return { rows: [{ what, measured: `left out: ${why}` }], compared };
}

/**
 * @param {Namespaces} namespaces
 * @param {number} viewers
 * @param {number} seconds
 * @returns {Promise<Cost>}
 */
async function measureOurs(namespaces, viewers, seconds) {
  const point = await measurePoint({
    viewers,
    seconds,
    namespaces,
    crowd: { joinRate: JOIN_RATE },
  });
  const cost = costOf(viewers, microsecondsPerViewer(point), point.seen);
  return { ...cost, network: networkPerViewer(point) };
}

/**
 * @param {Namespaces} namespaces
 * @param {number} viewers
 * @param {number} seconds
 */
async function measureJanus(namespaces, viewers, seconds) {
  const janus = startJanus(namespaces.server);
  try {
    const bridge = await startNode("janus-bridge.mjs", namespaces.server, [janus.api]);
    try {
      const peer = { ...bridge, pid: janus.pid };
      return await watch(peer, namespaces, viewers, seconds, { waitForOffer: true });
    } finally {
      await bridge.stop();
    }
  } finally {
    await janus.stop();
  }
}

/** @param {Compared} compared @returns {Row} */
function janusRow({ ours, theirs }) {
  const ratio = (/** @type {"microseconds" | "network"} */ of) =>
    median(theirs.map((cost, n) => cost.microseconds / Number(ours[n]?.[of])));
  const viewers = Number(ours[0]?.viewers);
  const network = costs(ours, "network");
  return {
    what: `Janus, ${viewers} viewers, us a viewer-second`,
    measured:
      `${costs(theirs)}; our network threads, which do the same work, ${network}: ratio ${ratio("network").toFixed(1)}; ` +
      `with our encoders and renderer, ${costs(ours)}: ratio ${ratio("microseconds").toFixed(1)}${unserved(theirs)}`,
    ...(viewers === MANY.at(-1) && {
      aim: `>= ${AIM_JANUS} x ours`,
      met: ratio("network") >= AIM_JANUS,
    }),
  };
}

// ---------------------------------------------------------------------------------------------- @roamhq/wrtc

/**
 * @param {Namespaces} namespaces
 * @param {number} seconds
 * @param {Pick<import("../lib/report.mjs").Context, "quick" | "log">} context
 * @returns {Promise<{ rows: Row[], costs: Cost[] }>}
 */
async function compareWrtc(namespaces, seconds, { quick, log }) {
  const why = installWrtc();
  if (why) return { rows: [{ what: "@roamhq/wrtc", measured: `left out: ${why}` }], costs: [] };
  const folder = mkdtempSync(join(tmpdir(), "avatar-bench-"));
  try {
    const pictures = join(folder, "pictures.i420");
    writeFileSync(pictures, await rawPictures());
    /** @type {Cost[]} */
    const costs = [];
    for (const viewers of quick ? FEW.slice(1, 2) : FEW) {
      log(`${viewers} viewers of @roamhq/wrtc`);
      costs.push(await measureWrtc(namespaces, pictures, viewers, seconds));
    }
    return { rows: costs.map(wrtcRow), costs };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * @param {Namespaces} namespaces
 * @param {string} pictures
 * @param {number} viewers
 * @param {number} seconds
 */
async function measureWrtc(namespaces, pictures, viewers, seconds) {
  const peer = await startNode("wrtc-server.mjs", namespaces.server, [pictures]);
  try {
    return await watch(peer, namespaces, viewers, seconds, { codec: "vp8" });
  } finally {
    await peer.stop();
  }
}

/** @returns {string | undefined} why it is not there */
function installWrtc() {
  const folder = join(ROOT, "bench", "peers");
  if (existsSync(join(folder, "node_modules", "@roamhq", "wrtc"))) return undefined;
  const arguments_ = ["ci", "--prefix", folder, "--no-audit", "--no-fund", "--loglevel=error"];
  return run("npm", arguments_) ? undefined : "npm could not install it";
}

/** @returns {Promise<Buffer>} the talking head as I420 */
async function rawPictures() {
  const child = start(release("examples/pictures"), ["i420"], { seconds: 60 });
  /** @type {Buffer[]} */
  const parts = [];
  for await (const part of child.stdout ?? []) parts.push(part);
  return Buffer.concat(parts);
}

/** @param {Cost} cost @returns {Row} */
const wrtcRow = (cost) => ({
  what: `@roamhq/wrtc, ${cost.viewers} viewers, us a viewer-second`,
  measured: `${costs([cost])}, fps min ${cost.fpsMin.toFixed(1)}${unserved([cost])}`,
});

/**
 * @param {Cost[]} wrtc
 * @param {Cost} ours among many
 * @returns {Row[]}
 */
function ratioRow(wrtc, ours) {
  // Among those who were served in time: an encoder that skips frames costs less.
  const cost = wrtc.findLast(({ fpsMin }) => fpsMin > 25);
  if (!cost) return [];
  const ratio = cost.microseconds / ours.microseconds;
  const filled = Math.floor((cpus().length * 1e6) / cost.microseconds);
  return [
    {
      what: `@roamhq/wrtc beside ours with ${ours.viewers} viewers`,
      measured: `${ratio.toFixed(0)} times the cost (ours ${costs([ours])} us); about ${filled} viewers fill this machine`,
      aim: `>= ${AIM_WRTC} x ours`,
      met: ratio >= AIM_WRTC,
    },
  ];
}

// ------------------------------------------------------------------------------------------------- shared

/** Janus gathers candidates before each offer: more at once fail to join, and the same for all is fair. */
const JOIN_RATE = 20;

/**
 * A script of `bench/peers` that says where it listens.
 * @param {string} script
 * @param {import("../lib/namespaces.mjs").Namespace} namespace
 * @param {string[]} args
 * @returns {Promise<Peer>}
 */
async function startNode(script, namespace, args) {
  const file = join(ROOT, "bench", "peers", script);
  const child = start(process.execPath, [file, namespace.address, ...args], {
    seconds: 300,
    namespace,
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const message = new Promise((resolve) => child.once("message", resolve));
  const { url } = await within(message, 20, `the address of ${script}`);
  return { pid: /** @type {number} */ (child.pid), url, stop: () => stop(child) };
}

/**
 * @param {Peer} peer
 * @param {Namespaces} namespaces
 * @param {number} viewers
 * @param {number} seconds
 * @param {Partial<import("../lib/crowd.mjs").CrowdOptions>} options
 * @returns {Promise<Cost>}
 */
async function watch({ pid, url }, namespaces, viewers, seconds, options) {
  const crowd = new Crowd({
    urls: [url],
    count: viewers,
    seconds,
    joinRate: JOIN_RATE,
    namespace: namespaces.viewers,
    ...options,
  });
  try {
    await crowd.joined;
    const cpu = new CpuClock(pid);
    await delay((seconds - 0.3) * 1000);
    const spent = cpu.lap();
    const microseconds = (1e6 * spent.cpuSeconds) / spent.seconds / viewers;
    return costOf(viewers, microseconds, await crowd.report);
  } finally {
    await crowd.stop();
  }
}

/**
 * @param {number} viewers
 * @param {number} microseconds of CPU a viewer-second
 * @param {any} seen the generator's report
 * @returns {Cost}
 */
const costOf = (viewers, microseconds, { fps, withPicture }) => ({
  viewers,
  microseconds,
  fpsMin: fps.min,
  withPicture,
});

/** @param {Cost[]} of @param {"microseconds" | "network"} [which] */
const costs = (of, which = "microseconds") =>
  range(
    of.map((cost) => Number(cost[which])),
    0,
  );

/** @param {Cost[]} of */
function unserved(of) {
  const missing = Math.max(...of.map(({ viewers, withPicture }) => viewers - withPicture));
  return missing > 0 ? `; ${missing} without a picture` : "";
}

/**
 * @param {Compared[]} janus
 * @param {Cost[]} wrtc
 * @returns {Record<string, string>}
 */
function plots(janus, wrtc) {
  const bar = (/** @type {string} */ name, /** @type {Cost[]} */ of) => ({
    name: `${name}, ${of[0]?.viewers} viewers`,
    value: median(of.map(({ microseconds }) => microseconds)),
  });
  const bars = [
    ...janus.map(({ ours }) => bar("this server", ours)),
    ...janus.filter(({ theirs }) => theirs.length > 0).map(({ theirs }) => bar("Janus", theirs)),
    ...wrtc.slice(-1).map((cost) => bar("@roamhq/wrtc", [cost])),
  ];
  const chart = barChart({
    title: "CPU of the server for one viewer in one second",
    note: "viewers in a second network namespace; 512x512, 30 fps, 1 Mb/s and speech",
    x: { label: "µs of CPU a viewer-second, logarithmic", log: true },
    bars,
  });
  return { peers: chart };
}
