// `npm run notices`: writes THIRD-PARTY-NOTICES.md, the licences of everything that is compiled into the addon, on any
// of its platforms: crates, and the C libraries that crates carry. Not of what only builds it (procedural macros,
// build scripts), since none of that is distributed.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
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
/** Of several licences to choose from, the first of these. */
const PREFERRED = ["MIT", "BSD-3-Clause", "BSD-2-Clause", "ISC", "Apache-2.0"];
/** How to tell which licence a file is. */
const SIGNS = {
  MIT: /permission is hereby granted,\s+free of charge/i,
  "Apache-2.0": /apache license/i,
  Unlicense: /unlicense/i,
  Zlib: /provided .as-is., without any express/i,
  "0BSD": /permission to use, copy, modify, and\/or distribute/i,
  BSD: /redistribution and use in source and binary forms/i,
};

/** For crates that name a licence and bring no text of it. */
const MIT = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;
const BSD_2_CLAUSE = `Redistribution and use in source and binary forms, with or without modification, are permitted
provided that the following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this list of conditions and the following
   disclaimer.

2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the following
   disclaimer in the documentation and/or other materials provided with the distribution.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES,
INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL,
SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY,
WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF
THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.`;
/** @type {Record<string, string>} */
const STANDARD_TEXTS = { MIT, "BSD-2-Clause": BSD_2_CLAUSE };

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
  const files = licenceFiles(folder).map((path) => ({
    label: dirname(path) === "." ? label : `${label}: ${dirname(path)}`,
    nested: dirname(path) !== ".",
    text: readFileSync(join(folder, path), "utf8"),
  }));
  const nested = files.filter((file) => file.nested);
  if (isOurs(crate)) return nested;
  const own = files.filter((file) => !file.nested);
  const chosen = choose(crate.license);
  const matching = own.filter(({ text }) => chosen && sign(chosen).test(text));
  if (matching.length > 0) return [...matching, ...nested];
  if (own.length > 0) return files;
  const text = chosen && STANDARD_TEXTS[chosen];
  if (!text) {
    throw new Error(
      `${label} (${crate.license}) has no licence file: add its text to scripts/notices.mjs`,
    );
  }
  const authors =
    crate.authors.length > 0 ? crate.authors.join(", ") : `The authors of ${crate.name}`;
  return [{ label, text: `Copyright (c) ${authors}\n\n${text}` }, ...nested];
}

/** The one licence of `A OR B` that we take; undefined for expressions that need all their texts. @param {string} license */
function choose(license) {
  const choices = license.split(/ OR |\//);
  return license.includes(" AND ") ? undefined : PREFERRED.find((one) => choices.includes(one));
}

/** @param {string} licence @returns {RegExp} */
function sign(licence) {
  const of = /** @type {Record<string, RegExp>} */ (SIGNS);
  return of[licence] ?? (licence.startsWith("BSD-") ? SIGNS.BSD : /./);
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
