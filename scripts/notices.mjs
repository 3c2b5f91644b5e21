// `npm run notices`: writes THIRD-PARTY-NOTICES.md, the licences of everything that is compiled into the addon, on any
// of its platforms: crates, and the C libraries that crates carry. Not of what only builds it (procedural macros,
// build scripts), since none of that is distributed.

import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { fail, output, ROOT } from "./run.mjs";

const FILE = "THIRD-PARTY-NOTICES.md";
const ADDON = "avatar-webrtc-streaming";

/** @typedef {{ name: string, version: string, license: string, authors: string[], manifest_path: string }} Crate */

/** Licence files; README.ijg is that of the IJG's part of libjpeg-turbo. */
const LICENCE_FILE = /^(licen[cs]e|copying|copyright|notice|patents|unlicense)|^readme\.ijg$/i;
/** Never compiled in. */
const SKIPPED =
  /^(\.git|benches|doc|docs|examples|fuzz|gtest|googletest|node_modules|release|target|tests?)$/;
const BSD = /redistribution and use in source and binary forms/i;
/** Of several licences to choose from the first of these, and how to tell its text. */
const PREFERRED = new Map([
  ["MIT", /permission is hereby granted,\s+free of charge/i],
  ["BSD-3-Clause", BSD],
  ["BSD-2-Clause", BSD],
  ["ISC", /permission to use, copy, modify, and\/or distribute/i],
  ["Apache-2.0", /apache license/i],
  ["MPL-2.0", /mozilla public license/i],
]);

/** Texts that no crate brings: licences, and the libraries of the system that a crate links in. */
const TEXTS = join(ROOT, "scripts", "licences");
/** What the pages bring along: a folder each, with its licence. */
const IN_THE_PAGES = join(ROOT, "web", "vendor");
/** @type {Record<string, string>} */
const LIBRARIES = { "libvpx-native-sys": "libvpx" };

const INTRODUCTION = `# Third-party notices

The addon of ${ADDON} contains the software below, under the licences that follow. Written by
\`npm run notices\`; do not edit.

This software is based in part on the work of the Independent JPEG Group. The Rust standard library is part of the addon
too, under the MIT licence (Copyright (c) The Rust Project Contributors), whose text is among those below.
`;

/** The file as it ought to be. */
export function notices() {
  const crates = compiledIn();
  /** @type {Map<string, { names: Set<string>, text: string }>} texts that differ only in white space are one */
  const texts = new Map();
  for (const crate of crates) {
    for (const { label, text } of licences(crate)) {
      const key = text.replace(/\s+/g, " ").trim();
      const entry = texts.get(key) ?? { names: new Set(), text };
      texts.set(key, entry);
      entry.names.add(label);
    }
  }
  const vendored = readdirSync(IN_THE_PAGES, { withFileTypes: true });
  for (const { name } of vendored.filter((entry) => entry.isDirectory())) {
    const text = readFileSync(join(IN_THE_PAGES, name, "LICENSE"), "utf8");
    texts.set(name, { names: new Set([`${name} (in the pages)`]), text });
  }
  const list = crates.map(
    (c) => `| ${c.name} | ${c.version} | ${c.license.replace("/", " OR ")} |`,
  );
  const sections = [...texts.values()]
    .map(({ names, text }) => ({ title: [...names].join(", "), text }))
    .sort((a, b) => order(a.title, b.title))
    .map(({ title, text }) => `## ${title}\n\n\`\`\`text\n${tidy(text)}\n\`\`\`\n`);
  const table = ["| crate | version | licence |", "| --- | --- | --- |", ...list].join("\n");
  return [INTRODUCTION, `${table}\n`, ...sections].join("\n");
}

/** Whether the file is up to date; says so if it is not. */
export function noticesAreCurrent() {
  const is = readFileSync(join(ROOT, FILE), "utf8") === notices();
  if (!is) console.error(`${FILE} is out of date`);
  return is;
}

/** The crates in the addon, on all its platforms together. @returns {Crate[]} */
function compiledIn() {
  const { targets } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).napi;
  /** @type {Map<string, Crate>} */
  const known = new Map();
  // Filtered, since cargo downloads whatever it lists.
  const filters = targets.map((/** @type {string} */ target) => `--filter-platform=${target}`);
  const metadata = cargo("metadata", "--format-version=1", "--locked", ...filters);
  for (const crate of JSON.parse(metadata).packages) {
    known.set(`${crate.name} v${crate.version}`, crate);
  }
  const used = new Set();
  for (const target of targets) {
    const tree = cargo(
      ...["tree", "--locked", "--package", ADDON, "--target", target],
      ...["--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"],
    );
    for (const line of tree.split("\n")) used.add(line.split(" ").slice(0, 2).join(" "));
  }
  return [...known]
    .filter(([id, { name }]) => used.has(id) && name !== ADDON)
    .map(([, crate]) => crate)
    .filter((crate) => !isOurs(crate) || licences(crate).length > 0)
    .sort((a, b) => order(a.name, b.name) || order(a.version, b.version));
}

/** Every licence text that goes with a crate, and whom it is of. @param {Crate} crate */
function licences(crate) {
  const folder = dirname(crate.manifest_path);
  const label = `${crate.name} ${crate.version}`;
  const library = LIBRARIES[crate.name];
  const files = licenceFiles(folder).map((path) => ({
    label: dirname(path) === "." ? label : `${label}: ${dirname(path)}`,
    isOwn: dirname(path) === ".",
    text: readFileSync(join(folder, path), "utf8"),
  }));
  const carried = [
    ...files.filter(({ isOwn }) => !isOwn),
    ...(library ? [{ label: `${label}: ${library}`, text: standardText(library) }] : []),
  ];
  if (isOurs(crate)) return carried;
  const own = files.filter(({ isOwn }) => isOwn);
  const [chosen, sign] = choose(crate.license);
  const matching = own.filter(({ text }) => sign?.test(text));
  if (matching.length > 0) return [...matching, ...carried];
  if (own.length > 0) return [...own, ...carried];
  const authors =
    crate.authors.length > 0 ? crate.authors.join(", ") : `The authors of ${crate.name}`;
  const text = `Copyright (c) ${authors}\n\n${standardText(chosen ?? crate.license)}`;
  return [{ label, text }, ...carried];
}

/** The one licence of `A OR B` that we take; none for expressions that need all their texts. @param {string} license */
function choose(license) {
  const choices = license.includes(" AND ") ? [] : license.split(/ OR |\//);
  return [...PREFERRED].find(([name]) => choices.includes(name)) ?? [];
}

/** @param {string} name */
function standardText(name) {
  const file = join(TEXTS, `${name}.txt`);
  if (!existsSync(file)) throw new Error(`a crate brings no text of ${name}: add it as ${file}`);
  return readFileSync(file, "utf8");
}

/** Paths below `folder`, sorted. @param {string} folder @returns {string[]} */
function licenceFiles(folder) {
  /** @type {string[]} */
  const found = [];
  const walk = (/** @type {string} */ at) => {
    for (const entry of readdirSync(at, { withFileTypes: true })) {
      const path = join(at, entry.name);
      if (entry.isDirectory()) {
        if (!SKIPPED.test(entry.name)) walk(path);
      } else if (LICENCE_FILE.test(entry.name) && !/\.(rs|c|h|html|in)$/.test(entry.name)) {
        found.push(relative(folder, path));
      }
    }
  };
  walk(folder);
  return found.sort(order);
}

/** Whether it is a crate of this repository, which can still carry somebody's sources. @param {Crate} crate */
function isOurs(crate) {
  return crate.manifest_path.startsWith(ROOT);
}

/** @param {string} text */
function tidy(text) {
  return text
    .replace(/\r\n?|\f/g, "\n")
    .replace(/[ \t]+$/gm, "")
    .replace(/^\n+|\n+$/g, "")
    .replace(/\n{3,}/g, "\n\n");
}

/** @param {string} a @param {string} b */
function order(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** @param {string[]} args */
function cargo(...args) {
  const printed = output("cargo", args);
  if (printed === undefined) throw new Error(`cargo ${args.join(" ")} failed`);
  return printed;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  try {
    writeFileSync(join(ROOT, FILE), notices());
  } catch (error) {
    fail(String(error));
  }
}
