// `npm run bench`: sets everything up, builds the release programs, measures, prints a table and writes JSON
// and SVG plots to bench/results/.
//
//   npm run bench                        everything, in half an hour or more
//   npm run bench -- --quick             everything in short windows, in about a quarter of an hour
//   npm run bench -- capacity cost       only these parts
//   npm run bench -- cost --runs 5       each point so many times
//   npm run bench -- --docs              also puts figures and plots into docs/
//   npm run bench -- --list              what there is to measure

import { parseArgs } from "node:util";
import { build } from "../scripts/build.mjs";
import { fail } from "../scripts/run.mjs";
import { setUp } from "../scripts/setup.mjs";
import { buildPrograms } from "./lib/process.mjs";
import { document, machine, print, write } from "./lib/report.mjs";

/** In this order: what is found first is of use to the later ones. */
const PARTS = {
  encode: "conversion and encode of one frame",
  capacity: "the most viewers of one avatar",
  cost: "CPU a viewer-second at 50 to 1600 viewers, beside the floor; where it goes",
  avatars: "the most avatars with one viewer each",
  latency: "push to received, decoded, presented",
  lipsync: "how far the voice is from the lips, and whether that drifts",
  "first-frame": "from the open WebSocket to the first picture",
  "js-thread": "time in each push, delay of the event loop",
  microphones: "open microphones in which nobody speaks",
  idle: "connected viewers while nothing is pushed",
  fairness: "viewers beside one who floods, some who vanish, or a herd that joins",
  memory: "resident memory a viewer, and after they left",
  shards: "one, two and four network threads",
  peers: "side by side with @roamhq/wrtc and Janus",
};

/** @typedef {import("./lib/report.mjs").Result} Result */

const { parts, runs, quick, docs } = options();
setUp({ tests: true });
if (!build()) fail("The addon could not be built: correct the error above, then: npm run bench");
buildPrograms();

/** @type {Record<string, Result>} */
const measured = {};
const results = {
  date: new Date().toISOString(),
  machine: machine(),
  runs,
  quick,
  parts: measured,
};
const { cores, model, load } = results.machine;
console.log(`\n${cores} cores of ${model}; load average before: ${load}`);
console.log("Server and viewers share them, and so may other programs: compare, do not quote.");
/** @type {import("./lib/report.mjs").Context["known"]} */
const known = {};
for (const part of parts) {
  console.log(`\n${part}: ${PARTS[part]}`);
  const started = performance.now();
  const log = (/** @type {string} */ text) => console.log(`    ${text}`);
  measured[part] = await attempt(part, { runs, quick, known, log });
  for (const row of measured[part].rows) print(row);
  console.log(`    (${((performance.now() - started) / 1000).toFixed(0)} s)`);
}
const plots = Object.assign({}, ...Object.values(measured).map(({ plots }) => plots));
for (const result of Object.values(measured)) delete result.plots;
write(results, plots);
if (docs) document(results, plots);
console.log(`\nWritten: bench/results/latest.json${docs ? ", docs/performance.md" : ""}`);
for (const name of Object.keys(plots)) console.log(`         bench/results/${name}.svg`);
process.exit(Object.values(measured).some(({ rows }) => rows.length === 0) ? 1 : 0);

/**
 * A part that fails takes only its own figures with it.
 * @param {keyof typeof PARTS} part
 * @param {import("./lib/report.mjs").Context} context
 * @returns {Promise<Result>}
 */
async function attempt(part, context) {
  try {
    const { measure } = await import(`./parts/${part}.mjs`);
    return await measure(context);
  } catch (error) {
    console.error(`  ${part} failed:`, error);
    return { rows: [] };
  }
}

function options() {
  const { values, positionals } = parseArgs({
    options: {
      runs: { type: "string" },
      quick: { type: "boolean", default: false },
      docs: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
    },
    allowPositionals: true,
  });
  const names = /** @type {(keyof typeof PARTS)[]} */ (Object.keys(PARTS));
  if (values.list) {
    for (const name of names) console.log(`${name.padEnd(12)} ${PARTS[name]}`);
    process.exit();
  }
  const runs = Number(values.runs ?? (values.quick ? 1 : 2));
  const chosen = names.filter((name) => positionals.includes(name));
  if (chosen.length < new Set(positionals).size || !Number.isInteger(runs) || runs < 1) {
    fail(`usage: npm run bench -- [PART]... [--runs N] [--quick] [--docs]\n${names.join(", ")}`);
  }
  return {
    parts: chosen.length > 0 ? chosen : names,
    runs,
    quick: values.quick,
    docs: values.docs,
  };
}
