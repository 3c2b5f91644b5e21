// What is shown and kept: a table on the terminal, JSON and SVG files, and the figures in the documentation.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { join } from "node:path";
import { ROOT } from "../../scripts/run.mjs";

/**
 * One line of the table.
 * @typedef {object} Row
 * @property {string} what
 * @property {string} measured with its unit
 * @property {string} [aim] to be reached; none: for information
 * @property {boolean} [met] whether it was
 */

/**
 * What a part returns.
 * @typedef {object} Result
 * @property {Row[]} rows
 * @property {Record<string, string>} [plots] SVG by name
 * @property {unknown} [values] everything measured, for the JSON
 */

/**
 * What a part is told.
 * @typedef {object} Context
 * @property {number} runs repetitions of each point
 * @property {boolean} quick whether windows are short and few
 * @property {{ capacity?: number }} known what earlier parts found
 * @property {(text: string) => void} log progress, for whoever waits
 */

const FOLDER = join(ROOT, "bench", "results");
const DOCS = join(ROOT, "docs");

/** The plots that `docs/performance.md` shows. */
const DOCUMENTED = ["cost", "latency", "peers"];
const FIGURES = /(<!-- figures -->\n)[\s\S]*(<!-- end of figures -->)/;

export const machine = () => ({
  cores: cpus().length,
  model: cpus()[0]?.model.trim() ?? "unknown",
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  load: Number((loadavg()[0] ?? 0).toFixed(2)),
  node: process.version,
});

/** @param {Row} row */
export function print({ what, measured, aim, met }) {
  const verdict = aim === undefined ? "" : ` | aim: ${aim}${met === false ? "  NOT MET" : ""}`;
  console.log(`  ${what.padEnd(48)} | ${measured}${verdict}`);
}

/**
 * @param {object} results everything, for `latest.json`
 * @param {Record<string, string>} plots
 */
export function write(results, plots) {
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(join(FOLDER, "latest.json"), `${JSON.stringify(results, null, 1)}\n`);
  for (const [name, text] of Object.entries(plots)) {
    writeFileSync(join(FOLDER, `${name}.svg`), text);
  }
}

/**
 * Puts the figures into `docs/performance.md`, and the plots beside it. Parts that were not measured now keep theirs.
 * @param {{ date: string, machine: ReturnType<typeof machine>, parts: Record<string, Result> }} results
 * @param {Record<string, string>} plots
 */
export function document(results, plots) {
  const file = join(DOCS, "performance.md");
  const text = readFileSync(file, "utf8");
  if (!FIGURES.test(text))
    throw new Error("docs/performance.md has lost its marks for the figures");
  writeFileSync(
    file,
    text.replace(FIGURES, (all, begin, end) => begin + markdown(results, rowsOf(all)) + end),
  );
  for (const name of DOCUMENTED) {
    const plot = plots[name];
    if (plot) writeFileSync(join(DOCS, `${name}.svg`), plot);
  }
}

/**
 * The rows of a table, by part.
 * @param {string} table
 * @returns {Record<string, string[]>}
 */
export function rowsOf(table) {
  /** @type {Record<string, string[]>} */
  const rows = {};
  for (const [row, part = ""] of table.matchAll(/^\| ((?!part |---)\S+) \| .*$/gm)) {
    rows[part] = [...(rows[part] ?? []), row];
  }
  return rows;
}

/**
 * @param {Parameters<typeof document>[0]} results
 * @param {Record<string, string[]>} [before] rows of parts that were measured before
 */
export function markdown({ date, machine: { cores, model, node }, parts }, before = {}) {
  const cell = (/** @type {string} */ text) => text.replaceAll("|", "\\|");
  const measured = Object.entries(parts).map(([part, { rows }]) => [
    part,
    rows.map(({ what, measured, aim, met }) => {
      const verdict = aim === undefined ? "" : `${aim}${met === false ? " (not met)" : ""}`;
      return `| ${[part, what, measured, verdict].map(cell).join(" | ")} |`;
    }),
  ]);
  const rows = Object.values({ ...before, ...Object.fromEntries(measured) }).flat();
  return [
    `Measured on ${date.slice(0, 10)}: ${cores} cores (${model}), Node ${node}; server and viewers share them.`,
    "",
    "| part | what | measured | aim |",
    "| --- | --- | --- | --- |",
    ...rows,
    "",
  ].join("\n");
}
