// `npm start`: sets everything up and runs the demo. `npm start -- --port 9000` takes another port.

import { build } from "./build.mjs";
import { fail } from "./run.mjs";
import { setUp } from "./setup.mjs";

setUp();
if (!build()) fail("The addon could not be built: correct the error above, then type: npm start");
await import("../examples/demo.mjs");
