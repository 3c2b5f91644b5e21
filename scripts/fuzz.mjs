// `npm run fuzz [-- TARGET…] [--seconds N]`: random bytes for every decoder of what is pushed, by libFuzzer.
// Inputs that found something new are kept in target/fuzz-corpus; what crashes, hangs or grows is kept in
// crates/fuzz/seeds, and from then on tried first.

import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { output, run } from "./run.mjs";
import { setUp } from "./setup.mjs";

const TARGETS = readdirSync("crates/fuzz/targets").map((file) => file.replace(".rs", ""));
/** As cargo-fuzz sets them, but that a stable compiler takes them, too. */
const COVERAGE = [
  "-Cpasses=sancov-module",
  "-Cllvm-args=-sanitizer-coverage-level=4",
  "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
  "-Cllvm-args=-sanitizer-coverage-pc-table",
  "-Cllvm-args=-sanitizer-coverage-trace-compares",
  "-Cdebug-assertions",
  "--cfg=fuzzing",
];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: "string", default: "60" } },
});
const unknown = positionals.find((name) => !TARGETS.includes(name));
if (unknown || !(Number(values.seconds) > 0)) {
  console.error(`usage: npm run fuzz -- [${TARGETS.join("] [")}] [--seconds 60]`);
  process.exit(2);
}
const targets = positionals.length > 0 ? positionals : TARGETS;
await setUp();

const host = /host: (.*)/.exec(output("rustc", ["-vV"]) ?? "")?.[1] ?? "";
const folder = "target/fuzz";
// With a target, build scripts and what they link stay without the instruments.
const built = run(
  "cargo",
  ["build", "--profile=fuzz", "-p", "avatar-fuzz", "--target", host, "--target-dir", folder],
  { RUSTFLAGS: COVERAGE.join(" ") },
);
if (!built) process.exit(1);

let failed = 0;
for (const target of targets) {
  const seeds = join("crates/fuzz/seeds", target);
  const corpus = join("target/fuzz-corpus", target);
  mkdirSync(corpus, { recursive: true });
  const isClean = run(join(folder, host, "fuzz", target), [
    ...[corpus, seeds, `-artifact_prefix=${seeds}/`, `-max_total_time=${values.seconds}`],
    ...["-timeout=1", "-rss_limit_mb=1024", "-max_len=65536", "-print_final_stats=1"],
  ]);
  if (!isClean) failed++;
}
console.log(`${targets.length - failed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
