// Everything that must be there before the real work: Rust, system packages, npm packages.
// It looks before it installs, so that a second run costs a fraction of a second.

import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { pathToFileURL } from "node:url";
import { fail, isInstalled, output, ROOT, run } from "./run.mjs";

const NODE_MAJOR = 20;
const RUST = { major: 1, minor: 95 };

/**
 * What must be there: a program under any of its names, a library that pkg-config knows, or a module of Python; and
 * the Debian packages that bring it.
 * @typedef {{ commands: string[], packages: string[] }} Program
 * @typedef {{ library: string, packages: string[] }} Library
 * @typedef {{ module: string, packages: string[] }} Module
 * @typedef {Program | Library | Module} Need
 */

/** @type {Need[]} */
const TO_BUILD = [
  { commands: ["c++", "g++"], packages: ["g++"] },
  { commands: ["make"], packages: ["make"] },
  { commands: ["cmake"], packages: ["cmake"] }, // Opus, libjpeg-turbo
  { commands: ["nasm"], packages: ["nasm"] }, // OpenH264 is 2-3 times slower without its assembly
  { commands: ["pkg-config"], packages: ["pkg-config"] },
  { library: "vpx", packages: ["libvpx-dev"] }, // VP8, VP9
];

/** @type {Need[]} */
const TO_TEST = [
  { commands: ["chromium"], packages: ["chromium", "fonts-liberation"] },
  { commands: ["firefox-esr", "firefox"], packages: ["firefox-esr"] },
  { commands: ["turnserver"], packages: ["coturn"] },
];

/**
 * The conversation example's stand-ins; it asks for those that it uses.
 * @satisfies {Record<string, Need[]>}
 */
export const TO_CONVERSE = {
  speak: [{ commands: ["espeak-ng"], packages: ["espeak-ng"] }],
  hear: [
    { commands: ["python3"], packages: ["python3"] },
    { module: "ensurepip", packages: ["python3-venv"] },
  ],
};

/**
 * Installs what is missing, or says what to type and exits with 1.
 * @param {{ tests?: boolean }} [options] whether the tests' needs are included
 */
export function setUp({ tests = false } = {}) {
  checkNode();
  checkRust();
  const toTest = [...TO_TEST, ...TO_CONVERSE.speak, ...TO_CONVERSE.hear];
  installSystemPackages(tests ? [...TO_BUILD, ...toTest] : TO_BUILD);
  installNpmPackages();
}

function checkNode() {
  if (Number.parseInt(process.versions.node, 10) < NODE_MAJOR) {
    fail(
      `Node ${process.versions.node} is too old: install Node ${NODE_MAJOR} or newer from https://nodejs.org`,
    );
  }
}

function checkRust() {
  const rustup = join(homedir(), ".cargo", "bin");
  if (!isInstalled("cargo") && existsSync(join(rustup, "cargo"))) {
    process.env.PATH = `${rustup}${delimiter}${process.env.PATH}`;
  }
  const version = output("rustc", ["--version"])?.match(/^rustc (\d+)\.(\d+)/);
  if (!version || !isInstalled("cargo")) {
    fail(
      "Rust is missing. Type: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y",
    );
  }
  const [major, minor] = version.slice(1).map(Number);
  if (major === RUST.major && Number(minor) < RUST.minor) {
    fail(
      `Rust ${major}.${minor} is older than ${RUST.major}.${RUST.minor}. Type: rustup update stable`,
    );
  }
}

/**
 * Installs what of these is missing, or says what to type and exits with 1.
 * @param {Need[]} needs
 */
export function installSystemPackages(needs) {
  const missing = () => needs.filter((need) => !isThere(need)).flatMap(({ packages }) => packages);
  const packages = missing();
  if (packages.length === 0) return;

  console.log(`Missing system packages: ${packages.join(" ")}`);
  if (isInstalled("apt-get") && (isRoot() || output("sudo", ["-n", "true"]) !== undefined)) {
    // A failed update is no reason to stop: one broken third-party list fails it.
    aptGet("update");
    aptGet("install", "-y", "--no-install-recommends", ...packages);
  }

  const left = missing();
  if (left.length === 0) return;
  const apt = `sudo apt-get update && sudo apt-get install -y --no-install-recommends ${left.join(" ")}`;
  fail(
    isInstalled("apt-get")
      ? `Cannot install them from here. Type: ${apt}`
      : `Install these with the package manager of this system (on Debian: ${apt}): ${left.join(" ")}`,
  );
}

/** @param {Need} need */
function isThere(need) {
  if ("library" in need) return output("pkg-config", ["--exists", need.library]) !== undefined;
  if ("module" in need) return output("python3", ["-c", `import ${need.module}`]) !== undefined;
  return need.commands.some(isInstalled);
}

function isRoot() {
  return process.getuid?.() === 0;
}

/** @param {string[]} args */
function aptGet(...args) {
  const command = ["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", ...args];
  return isRoot() ? run("env", command) : run("sudo", ["-n", "env", ...command]);
}

function installNpmPackages() {
  const stamp = join(ROOT, "node_modules", ".stamp");
  const wanted = createHash("sha256")
    .update(readFileSync(join(ROOT, "package-lock.json")))
    .digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  if (
    !run("npm", [
      "ci",
      "--include=dev",
      "--prefer-offline",
      "--no-audit",
      "--no-fund",
      "--loglevel=error",
    ])
  ) {
    fail("The npm packages could not be installed. See the message above, then type: npm ci");
  }
  writeFileSync(stamp, wanted);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  setUp({ tests: process.argv.includes("--tests") });
}
