// What the stand-ins need: eSpeak NG, and PocketSphinx in a Python environment of its own. Like scripts/setup.mjs, which
// it extends, it looks before it installs; what a service does for us needs nothing here.

import { join } from "node:path";
import { fail, output, ROOT, run } from "../../scripts/run.mjs";
import { installSystemPackages, TO_CONVERSE } from "../../scripts/setup.mjs";

const POCKETSPHINX = "5.1.1"; // brings its model of US English
const ENVIRONMENT = join(ROOT, ".cache", "pocketsphinx");

/** The interpreter that has PocketSphinx. */
export const PYTHON = join(ENVIRONMENT, "bin", "python");

/** Installs what is missing, or says what to type and exits with 1. */
export function setUpConversation({ XTTS_URL, WHISPER_URL } = process.env) {
  if (!XTTS_URL) installSystemPackages(TO_CONVERSE.speak);
  if (WHISPER_URL || hasPocketSphinx()) return;
  installSystemPackages(TO_CONVERSE.hear);
  const installed =
    run("python3", ["-m", "venv", "--clear", ENVIRONMENT]) &&
    run(PYTHON, [
      ...["-m", "pip", "install", "--quiet", "--disable-pip-version-check"],
      `pocketsphinx==${POCKETSPHINX}`,
    ]);
  if (!installed || !hasPocketSphinx()) {
    fail(
      "PocketSphinx could not be installed: see the message above, then try again; " +
        "or set WHISPER_URL to a Whisper service",
    );
  }
}

/** In this version: an environment whose Python is gone, or that was left half-made, has none. */
function hasPocketSphinx() {
  const version = "from importlib.metadata import version; print(version('pocketsphinx'))";
  return output(PYTHON, ["-c", version])?.trim() === POCKETSPHINX;
}
