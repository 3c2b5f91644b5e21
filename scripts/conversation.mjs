// `npm run example:conversation`: sets everything up and runs the example, which sets up its stand-ins itself.

import { build } from "./build.mjs";
import { fail } from "./run.mjs";
import { setUp } from "./setup.mjs";

setUp();
if (!build()) {
  fail(
    "The addon could not be built: correct the error above, then type: npm run example:conversation",
  );
}
await import("../examples/conversation/main.mjs");
