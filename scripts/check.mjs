// `npm run check`: everything about the code that needs no running. Every step runs, also after a failed one.

import { mkdirSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { build, declareClient } from "./build.mjs";
import { noticesAreCurrent } from "./notices.mjs";
import { pack } from "./pack.mjs";
import { npmProgram, output, run } from "./run.mjs";
import { setUp } from "./setup.mjs";

const CARGO_DENY = "0.20.2";
const GENERATED = ["binding.js", "binding.d.ts", "web/types"];

/** @type {{ name: string, check: () => boolean, fix: string }[]} */
const STEPS = [
  {
    name: "Biome",
    check: () => run(npmProgram("biome"), ["check", "--error-on-warnings"]),
    fix: "npm run format",
  },
  {
    name: "TypeScript",
    check: () => run(npmProgram("tsc"), ["--noEmit"]),
    fix: "correct the types, then: npx tsc --noEmit",
  },
  {
    name: "rustfmt",
    check: () => run("cargo", ["fmt", "--all", "--check"]),
    fix: "npm run format (if rustfmt is missing: rustup component add rustfmt)",
  },
  {
    name: "cargo deny",
    check: () =>
      installCargoDeny() &&
      run("cargo", [
        ...["deny", "--log-level", "error", "check", "--hide-inclusion-graph"],
        ...["licenses", "bans", "sources"],
      ]),
    fix: "see deny.toml: allow the licence, or choose another crate",
  },
  {
    name: "Clippy",
    check: () => run("cargo", ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    fix: "correct the code, then: cargo clippy (if Clippy is missing: rustup component add clippy)",
  },
  {
    name: "rustdoc",
    check: () => run("cargo", ["doc", "--workspace", "--no-deps"], { RUSTDOCFLAGS: "-D warnings" }),
    fix: "correct the documentation, then: RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps",
  },
  {
    name: "generated files",
    check: () =>
      build() &&
      declareClient() &&
      run("git", ["ls-files", "--error-unmatch", ...GENERATED]) &&
      run("git", ["diff", "--exit-code", "HEAD", "--", ...GENERATED]),
    fix: `git add ${GENERATED.join(" ")} && git commit`,
  },
  {
    name: "TypeDoc",
    check: () => run(npmProgram("typedoc"), ["--emit", "none"]),
    fix: "document it in the .d.ts files, then: npx typedoc --emit none",
  },
  {
    name: "third-party notices",
    check: noticesAreCurrent,
    fix: "npm run notices && git add THIRD-PARTY-NOTICES.md && git commit",
  },
  {
    name: "packages",
    check: checkPackages,
    fix: "see the message above, then: npm run pack",
  },
];

setUp();
const failed = STEPS.filter(({ name, check }) => {
  console.log(`\n--- ${name}`);
  try {
    return !check();
  } catch (error) {
    console.error(String(error));
    return true;
  }
});
console.log("");
for (const step of STEPS) {
  console.log(
    failed.includes(step) ? `FAILED ${step.name}. To do: ${step.fix}` : `ok     ${step.name}`,
  );
}
console.log(`check: ${STEPS.length - failed.length} passed, ${failed.length} failed`);
process.exit(failed.length === 0 ? 0 : 1);

/** Packs what `npm run pack` packs, and looks at it as npm and TypeScript will. */
function checkPackages() {
  const { root, platforms } = pack();
  const lint = (/** @type {string} */ tarball) =>
    run(npmProgram("publint"), ["run", tarball, "--strict"]);
  const types = (/** @type {string[]} */ ...how) =>
    run(npmProgram("attw"), [root, "--format", "ascii", ...how]);
  // What is for browsers are ES modules, for bundlers and for Node that knows `exports`.
  const browser = ["./client", "./avatar-view"];
  return [
    platforms.length > 0,
    ...[root, ...platforms].map(lint),
    types("--exclude-entrypoints", "./web/webrtc-client.html", ...browser),
    types("--entrypoints", ...browser, "--ignore-rules", "no-resolution", "cjs-resolves-to-esm"),
  ].every(Boolean);
}

/** Puts cargo-deny on the PATH; it is compiled once for this user, in about a minute. */
function installCargoDeny() {
  const cache = join(
    process.env.XDG_CACHE_HOME || join(homedir(), ".cache"),
    "avatar-webrtc-streaming",
  );
  process.env.PATH = `${process.env.PATH}${delimiter}${join(cache, "bin")}`;
  if (output("cargo", ["deny", "--version"])) return true;

  mkdirSync(cache, { recursive: true });
  const target = join(cache, "target");
  // Unoptimised: it compiles in half the time, and checks this tree in 2 s.
  const installed = run(
    "cargo",
    [
      ...["install", `cargo-deny@${CARGO_DENY}`, "--locked", "--debug", "--no-track"],
      ...["--root", cache, "--target-dir", target],
    ],
    { CARGO_PROFILE_DEV_DEBUG: "0" },
  );
  rmSync(target, { recursive: true, force: true });
  return installed;
}
