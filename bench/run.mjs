// `npm run bench`: sets everything up, builds the release programs, measures, prints a table and writes
// bench/results/latest.json.
//
//   npm run bench                      everything, each part twice
//   npm run bench -- encode push       only these parts: encode, push, first-frame, viewers
//   npm run bench -- viewers 400 1000  other numbers of viewers
//   npm run bench -- --runs 5          so many times each

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build } from "../scripts/build.mjs";
import { fail, ROOT } from "../scripts/run.mjs";
import { setUp } from "../scripts/setup.mjs";
import { buildPrograms, machine } from "./support.mjs";

const PARTS = ["encode", "push", "first-frame", "viewers"];

const { parts, runs, counts } = options();
setUp({ tests: true });
if (!build()) fail("The addon could not be built: correct the error above, then: npm run bench");
buildPrograms();

const results = {
  date: new Date().toISOString(),
  machine: machine(),
  runs,
  rows: /** @type {any[]} */ ([]),
};
const { cores, model, load } = results.machine;
console.log(`\n${cores} cores of ${model}; load average before: ${load[0]}`);
console.log(
  `Each part is measured ${runs} times: the better and the worse. Other programs may share the machine.\n`,
);
for (const part of parts) {
  const { measure } = await import(`./${part}.mjs`);
  for (const row of await measure({ runs, counts })) {
    results.rows.push({ part, ...row });
    console.log(`${row.what.padEnd(58)} | ${row.measured} | aim: ${row.aim}`);
  }
}
const folder = join(ROOT, "bench", "results");
mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, "latest.json"), `${JSON.stringify(results, null, 1)}\n`);
console.log("\nWritten: bench/results/latest.json");

function options() {
  const { values, positionals } = parseArgs({
    options: { runs: { type: "string", default: "2" } },
    allowPositionals: true,
  });
  const parts = positionals.filter((text) => PARTS.includes(text));
  const counts = positionals.filter((text) => /^[1-9]\d*$/.test(text)).map(Number);
  const runs = Number(values.runs);
  if (parts.length + counts.length < positionals.length || !(runs >= 1)) {
    fail(`usage: npm run bench -- [${PARTS.join(" | ")}]... [viewers]... [--runs N]`);
  }
  return {
    parts: parts.length > 0 ? parts : PARTS,
    runs,
    counts: counts.length > 0 ? counts : [1, 100],
  };
}
