// `npm run build`: the release addon, avatar-webrtc-streaming.<platform>.node, and its generated loader.

import { pathToFileURL } from "node:url";
import { fail, npmProgram, run } from "./run.mjs";
import { setUp } from "./setup.mjs";

/** Builds the addon; cargo itself knows when nothing changed. */
export function build() {
  return run(npmProgram("napi"), [
    "build",
    "--release",
    "--platform",
    "--js=binding.js",
    "--dts=binding.d.ts",
  ]);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  setUp();
  if (!build())
    fail("The addon could not be built: correct the error above, then type: npm run build");
}
