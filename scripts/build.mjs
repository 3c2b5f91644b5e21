// `npm run build`: the release addon, avatar-webrtc-streaming.<platform>.node, its generated loader, and the types of the
// browser's modules.

import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { fail, npmProgram, ROOT, run } from "./run.mjs";
import { setUp } from "./setup.mjs";

const TYPES = join(ROOT, "web", "types");
/** Where they are made. */
const DECLARED = join(ROOT, ".cache", "types");

/** What JSDoc cannot declare: which class the name of the element stands for. */
const TAG_NAME = `declare global {
    interface HTMLElementTagNameMap {
        "avatar-view": AvatarView;
    }
}
`;

/** Builds the addon; cargo itself knows when nothing changed. */
export function build() {
  const addon = ["build", "--release", "--platform", "--js=binding.js", "--dts=binding.d.ts"];
  return run(npmProgram("napi"), addon);
}

/** Writes what applications import of web/ as TypeScript sees it. */
export function declareClient() {
  rmSync(DECLARED, { recursive: true, force: true });
  if (!run(npmProgram("tsc"), ["--project", "web/tsconfig.json", "--outDir", DECLARED]))
    return false;
  appendFileSync(join(DECLARED, "avatar-view.d.ts"), TAG_NAME);
  const files = filesOf(DECLARED);
  for (const file of filesOf(TYPES)) if (!files.includes(file)) rmSync(join(TYPES, file));
  for (const file of files) {
    const [from, to] = [join(DECLARED, file), join(TYPES, file)];
    // Only what changed: web/ is embedded in the addon, and what is newer there is compiled anew.
    if (existsSync(to) && readFileSync(to, "utf8") === readFileSync(from, "utf8")) continue;
    mkdirSync(dirname(to), { recursive: true });
    copyFileSync(from, to);
  }
  return true;
}

/** @param {string} folder */
function filesOf(folder) {
  if (!existsSync(folder)) return [];
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  setUp();
  if (!build() || !declareClient())
    fail("It could not be built: correct the error above, then type: npm run build");
}
