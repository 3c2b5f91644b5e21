// `npm run pack`: the packages as they are published, in dist/: the root package, which holds no addon, and one for
// each platform whose addon is there. A release adds `--all --addons FOLDER`: all platforms, from that folder.

import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { build } from "./build.mjs";
import { fail, npmProgram, ROOT, run } from "./run.mjs";
import { setUp } from "./setup.mjs";

const DIST = join(ROOT, "dist");
/** Every package has these beside what its `files` name. */
const LEGAL = ["LICENSE", "THIRD-PARTY-NOTICES.md"];

/**
 * Makes the packages, and nothing that is not in one is left in dist/.
 * @param {{ all?: boolean, addons?: string }} [options] whether each platform must have an addon, and where they are
 * @returns {{ root: string, platforms: string[] }} the tarballs
 */
export function pack({ all = false, addons = ROOT } = {}) {
  rmSync(DIST, { recursive: true, force: true });
  mkdirSync(DIST);
  const manifest = readJson(join(ROOT, "package.json"));
  const platforms = join(DIST, "npm");
  if (!run(npmProgram("napi"), ["create-npm-dirs", "--npm-dir", platforms])) {
    throw new Error("the platforms' packages could not be made");
  }

  /** @type {Record<string, string>} */
  const optionalDependencies = {};
  /** @type {string[]} */
  const tarballs = [];
  for (const platform of readdirSync(platforms)) {
    const folder = join(platforms, platform);
    const own = readJson(join(folder, "package.json"));
    optionalDependencies[own.name] = own.version;
    if (existsSync(join(addons, own.main))) {
      copyFileSync(join(addons, own.main), join(folder, own.main));
      for (const file of LEGAL) copyFileSync(join(ROOT, file), join(folder, file));
      own.files.push("THIRD-PARTY-NOTICES.md");
      writeJson(join(folder, "package.json"), { ...own, type: "commonjs" });
      tarballs.push(npmPack(folder, `${own.name}-${own.version}.tgz`));
    } else if (all) {
      throw new Error(`${join(addons, own.main)} is missing`);
    }
  }

  const folder = join(DIST, manifest.name);
  const included = manifest.files.filter((/** @type {string} */ file) => !file.startsWith("!"));
  for (const file of [...included, "LICENSE", "README.md"]) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    cpSync(join(ROOT, file), join(folder, file), { recursive: true });
  }
  const { private: _, scripts, devDependencies, napi, ...published } = manifest;
  // `web/` is for browsers, and no part of what Node imports.
  writeJson(join(folder, "package.json"), { ...published, type: "commonjs", optionalDependencies });
  return { root: npmPack(folder, `${manifest.name}-${manifest.version}.tgz`), platforms: tarballs };
}

/** @param {string} folder @param {string} tarball */
function npmPack(folder, tarball) {
  const options = ["--pack-destination", DIST, "--ignore-scripts", "--loglevel=error"];
  if (!run("npm", ["pack", folder, ...options])) {
    throw new Error(`${folder} could not be packed`);
  }
  return join(DIST, tarball);
}

/** @param {string} path */
function readJson(path) {
  return JSON.parse(readFileSync(path, "utf8"));
}

/** @param {string} path @param {unknown} value */
function writeJson(path, value) {
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { values } = parseArgs({
    options: { all: { type: "boolean" }, addons: { type: "string" } },
  });
  if (!values.addons) {
    setUp();
    if (!build())
      fail("The addon could not be built: correct the error above, then type: npm run pack");
  }
  try {
    pack(values);
  } catch (error) {
    fail(String(error));
  }
}
