// `npm test`: sets everything up and runs all tests. `npm test -- NAME` runs the vitest files named so.

import { build } from "./build.mjs";
import { fail, npmProgram, run } from "./run.mjs";
import { setUp } from "./setup.mjs";

const filters = process.argv.slice(2);
setUp({ tests: true });

/** @type {string[]} what to type to run each failed part again */
const failed = [];
if (filters.length === 0) {
  const rust = ["test", "--workspace", "--no-fail-fast"];
  if (!run("cargo", rust)) failed.push(`cargo ${rust.join(" ")}`);
}
if (!build()) failed.push("npm run build");
else if (!run(npmProgram("vitest"), ["run", ...filters]))
  failed.push(["npx vitest run", ...filters].join(" "));

if (failed.length > 0) fail(`Tests failed. To run again: ${failed.join(" ; ")}`);
