// Two network namespaces joined by a veth pair: a network between two machines, without the machines. For
// servers that ignore the loopback interface.

import { output } from "../../scripts/run.mjs";
import { atEnd } from "./process.mjs";

/** @typedef {{ name: string, address: string, command: string[] }} Namespace `command` runs what follows in it */

/** Of the two ends: private (RFC 1918), and seen by nobody outside the two namespaces. */
const ADDRESSES = ["10.213.0.1", "10.213.0.2"];

/** @returns {string | undefined} why there can be none here */
export function whyNoNamespaces() {
  if (process.getuid?.() !== 0) return "network namespaces need root";
  if (output("ip", ["-V"]) === undefined) return "network namespaces need ip (Debian: iproute2)";
  return undefined;
}

/**
 * Makes the pair, and removes it at the end of this process at the latest.
 * @returns {{ server: Namespace, viewers: Namespace, remove: () => void }}
 */
export function makeNamespaces() {
  const suffix = process.pid.toString(36);
  const [server, viewers] = ADDRESSES.map((address, n) => {
    const name = `avatar-bench-${suffix}-${n}`;
    return { name, address, command: ["ip", "netns", "exec", name] };
  });
  if (!server || !viewers) throw new Error("unreachable");
  const remove = atEnd(() => {
    // The links go with their namespaces.
    for (const { name } of [server, viewers]) output("ip", ["netns", "delete", name]);
  });
  for (const { name } of [server, viewers]) ip("netns", "add", name);
  const links = [`avb${suffix}0`, `avb${suffix}1`];
  const [one, two] = /** @type {[string, string]} */ (links);
  ip("link", "add", one, "netns", server.name, "type", "veth", "peer", two, "netns", viewers.name);
  for (const [{ name, address }, link] of /** @type {const} */ ([
    [server, one],
    [viewers, two],
  ])) {
    ip("-n", name, "address", "add", `${address}/30`, "dev", link);
    ip("-n", name, "link", "set", link, "up");
    ip("-n", name, "link", "set", "lo", "up");
  }
  return { server, viewers, remove };
}

/** @param {string[]} args */
function ip(...args) {
  if (output("ip", args) === undefined) throw new Error(`ip ${args.join(" ")} failed`);
}
