// `npm run build`: the release addon, avatar-webrtc-streaming.<platform>.node, its generated loader, and the types of the
// browser's modules.

import { rmSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { fail, npmProgram, ROOT, run } from "./run.mjs";
import { setUp } from "./setup.mjs";

const TYPES = join(ROOT, "web", "types");

/** Builds the addon; cargo itself knows when nothing changed. */
export function build() {
  const addon = ["build", "--release", "--platform", "--js=binding.js", "--dts=binding.d.ts"];
  return run(npmProgram("napi"), addon) && declareClient();
}

/** What applications import of web/, as TypeScript sees it. */
function declareClient() {
  rmSync(TYPES, { recursive: true, force: true });
  return run(npmProgram("tsc"), ["--project", "web/tsconfig.json"]);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  setUp();
  if (!build())
    fail("The addon could not be built: correct the error above, then type: npm run build");
}
