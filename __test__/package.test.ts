// The packages as they are published, installed into an application's project on a machine without Rust.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { pack } from "../scripts/pack.mjs";
import { Consumer, nodeOf } from "./support/consumer.js";

/** What vitest's JSON reporter writes, as far as it is read here. */
interface Report {
  success: boolean;
  testResults: {
    assertionResults: { fullName: string; status: string; failureMessages: string[] }[];
  }[];
}

const CONTRACT = ["bridge", "server", "system", "config"];
const NODES = [20, 22, 24];

let root: string;
let platform: string;
let consumer: Consumer;

beforeAll(() => {
  const packed = pack();
  expect(packed.platforms).toHaveLength(1);
  root = packed.root;
  platform = packed.platforms[0] ?? "";
  consumer = new Consumer([root, platform]);
  consumer.linkTools();
}, 120_000);

afterAll(() => consumer?.remove());

const STREAM = `
  const system = await createStreamingSystem({
    webrtc: {
      signalingPort: 0,
      signalingHost: "127.0.0.1",
      listenIps: ["127.0.0.1"],
      iceServers: [],
    },
  });
  await system.start();
  if (!(system.bridge instanceof MediaBridge)) throw new Error("another MediaBridge");
  const data = Buffer.alloc(64 * 64 * 4);
  const { status } = await system.bridge.pushVideoFrame({
    data,
    width: 64,
    height: 64,
    timestamp: Date.now(),
  });
  const page = await fetch(\`http://127.0.0.1:\${system.server.port}/\`);
  const { videoFrames } = system.getStatus().metrics;
  await system.stop();
  console.log(process.versions.node, status, page.status, videoFrames);
`;
const IMPORTS = `
  import { createStreamingSystem } from "avatar-webrtc-streaming";
  import { MediaBridge } from "avatar-webrtc-streaming/media-bridge.js";
`;
const REQUIRES = `
  const { createStreamingSystem } = require("avatar-webrtc-streaming");
  const { MediaBridge } = require("avatar-webrtc-streaming/media-bridge.js");
`;

describe("the tarballs", () => {
  const list = (tarball: string) =>
    execFileSync("tar", ["tzf", tarball], { encoding: "utf8" })
      .trim()
      .split("\n")
      .map((path) => path.replace(/^package\//, ""))
      .sort();

  it("hold what users need and nothing else", () => {
    const folders = list(root).filter((path) => path.includes("/"));
    expect(new Set(folders.map((path) => path.split("/")[0]))).toEqual(new Set(["lib", "web"]));
    expect(folders.filter((path) => !/\.(js|d\.ts|html|css)$/.test(path))).toEqual([
      "web/package.json",
      "web/vendor/README.md",
      "web/vendor/uplot/LICENSE",
    ]);
    expect(list(root).filter((path) => !path.includes("/"))).toEqual([
      "CHANGELOG.md",
      "LICENSE",
      "README.md",
      "THIRD-PARTY-NOTICES.md",
      "binding.js",
      "index.d.ts",
      "index.js",
      "media-bridge.d.ts",
      "media-bridge.js",
      "package.json",
      "webrtc-server.d.ts",
      "webrtc-server.js",
    ]);
    expect(list(platform)).toEqual([
      "LICENSE",
      "README.md",
      "THIRD-PARTY-NOTICES.md",
      expect.stringMatching(/^avatar-webrtc-streaming\..+\.node$/),
      "package.json",
    ]);
  });

  it("name a package for each platform, of the same version, and nothing that only we need", () => {
    const folder = join(consumer.folder, "node_modules/avatar-webrtc-streaming");
    const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    expect(Object.keys(manifest)).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/^(private|scripts|devDependencies|napi)$/)]),
    );
    expect(manifest.dependencies).toBeUndefined();
    const names = Object.keys(manifest.optionalDependencies);
    expect(new Set(Object.values(manifest.optionalDependencies))).toEqual(
      new Set([manifest.version]),
    );
    expect(basename(platform)).toBe(
      `${names.find((name) => platform.includes(`${name}-`))}-${manifest.version}.tgz`,
    );
    // The addon's loader tells of the same platforms.
    const native = readFileSync(join(folder, "lib/native.js"), "utf8");
    const [, told = ""] = native.match(/const PLATFORMS = (\[[^\]]*\])/) ?? [];
    const platforms = [...told.matchAll(/"([^"]+)"/g)].map(([, name]) => name);
    expect(platforms.map((name) => `avatar-webrtc-streaming-${name}`).sort()).toEqual(names.sort());
  });

  it("bring the licences of the native libraries", () => {
    const notices = execFileSync("tar", ["xzOf", platform, "package/THIRD-PARTY-NOTICES.md"], {
      encoding: "utf8",
    });
    expect(notices).toContain("Cisco Systems");
    expect(notices).toContain("Xiph.Org Foundation");
    expect(notices).toContain("libjpeg-turbo");
    expect(notices).toContain("Independent JPEG Group");
  });
});

describe("without Rust", () => {
  it("the addon needs no library that Node itself does not need", () => {
    const needed = (file: string) =>
      execFileSync("ldd", [file], { encoding: "utf8" })
        .split("\n")
        .map((line) => line.trim().split(" ")[0] ?? "");
    const name = basename(platform).replace(/-\d.*$/, "");
    const folder = join(consumer.folder, "node_modules", name);
    const addon = readdirSync(folder).find((file) => file.endsWith(".node")) ?? "";
    const node = new Set(needed(process.execPath));
    expect(needed(join(folder, addon)).filter((library) => !node.has(library))).toEqual([]);
  });

  it("is what this is about", () => {
    const found = consumer.run("sh", ["-c", "command -v node; command -v cargo rustc cc"]);
    expect(found.stdout.trim()).toMatch(/^\S+\/node$/);
  });

  it("TypeScript compiles strictly against it, as ES module, CommonJS and for a bundler, and runs", () => {
    consumer.write("src/avatar/streaming/index.ts", `export * from "avatar-webrtc-streaming";`);
    consumer.write("src/esm.mts", IMPORTS + STREAM);
    consumer.write(
      "src/cjs.cts",
      `
        import { createStreamingSystem, MediaBridge } from "./avatar/streaming/index.js";
        async function main() { ${STREAM} }
        main();
      `,
    );
    consumer.copy("types.test-d.ts", "src/types.mts");
    const strict = ["--strict", "--target", "es2022", "--types", "node", "--outDir", "out"];
    const lib = ["--lib", "es2023,esnext.disposable,dom"];
    const tsc = (...args: string[]) => consumer.node(["node_modules/typescript/bin/tsc", ...args]);
    expect(tsc(...strict, "--module", "nodenext", "src/esm.mts", "src/cjs.cts")).toBe("");
    const bundler = ["--module", "preserve", "--moduleResolution", "bundler", "--noEmit"];
    expect(tsc(...strict, ...lib, ...bundler, "src/types.mts", "src/esm.mts")).toBe("");
    for (const file of ["out/esm.mjs", "out/cjs.cjs"]) {
      expect(consumer.node([file])).toBe(`${process.versions.node} queued 200 1\n`);
    }
  });

  it("an application and its tests move over with one alias", () => {
    consumer.write(
      "moved/vitest.config.mjs",
      `export default { resolve: { alias: [
        { find: /^.*\\/avatar\\/streaming\\/(.*)$/, replacement: "avatar-webrtc-streaming/$1" },
      ] } };`,
    );
    consumer.write(
      "moved/app.test.ts",
      `
        import { expect, it } from "vitest";
        import { createStreamingSystem } from "./avatar/streaming/index.js";
        import { MediaBridge, type VideoFrame } from "./avatar/streaming/media-bridge.js";
        import { WebRTCStreamingServer } from "../src/avatar/streaming/webrtc-server.js";
        it("streams", async () => {
          const system = await createStreamingSystem({ webrtc: { signalingPort: 0 } });
          expect(system.bridge).toBeInstanceOf(MediaBridge);
          expect(system.server).toBeInstanceOf(WebRTCStreamingServer);
          await system.stop();
        });
      `,
    );
    const printed = consumer.node(["node_modules/vitest/vitest.mjs", "run", "--root", "moved"]);
    expect(printed).toMatch(/Tests\s+1 passed/);
  });
});

describe.each(NODES)("installed without Rust, on Node %i", (major) => {
  let node: string;
  beforeAll(() => {
    node = nodeOf(major);
    for (const suite of CONTRACT) consumer.copy(`${suite}.test.ts`, `contract/${suite}.test.ts`);
    consumer.copy("support.ts", "contract/support.ts");
  }, 180_000);

  const printed = () => expect.stringMatching(new RegExp(`^${major}\\.\\S+ queued 200 1\n$`));

  it("streams from an ES module", () => {
    consumer.write("stream.mjs", IMPORTS + STREAM);
    expect(consumer.node(["stream.mjs"], node)).toEqual(printed());
  });

  it("streams from CommonJS", () => {
    consumer.write("stream.cjs", `${REQUIRES} (async () => { ${STREAM} })();`);
    expect(consumer.node(["stream.cjs"], node)).toEqual(printed());
  });

  it.each(["forks", "threads"])(
    "keeps the contract, with vitest's %s",
    (pool) => {
      const options = ["--root", "contract", "--pool", pool, "--no-file-parallelism"];
      const vitest = ["node_modules/vitest/vitest.mjs", "run", "--reporter=json", ...options];
      const { stdout, stderr } = consumer.run("node", [...vitest, "--test-timeout", "60000"], node);
      if (!stdout.startsWith("{")) throw new Error(`vitest did not run: ${stdout}${stderr}`);
      const { success, testResults } = JSON.parse(stdout) as Report;
      const tests = testResults.flatMap(({ assertionResults }) => assertionResults);
      expect(tests.filter(({ status }) => status !== "passed")).toEqual([]);
      expect(success).toBe(true);
      expect(testResults).toHaveLength(CONTRACT.length);
    },
    180_000,
  );
});

describe("without an addon", () => {
  let lonely: Consumer;
  beforeAll(() => {
    // Its platforms' packages are optional, and not to be had here.
    lonely = new Consumer([root]);
    lonely.write(
      "load.cjs",
      `
        const [platform, arch] = process.argv.slice(2);
        if (platform) Object.defineProperty(process, "platform", { value: platform });
        if (arch) Object.defineProperty(process, "arch", { value: arch });
        try { require("avatar-webrtc-streaming"); }
        catch ({ code, message }) { console.log(code, message); }
      `,
    );
  });
  afterAll(() => lonely?.remove());

  it("says that it is not installed, and what to type", () => {
    const name = basename(platform).match(/^(.+)-(\d.*)\.tgz$/);
    expect(lonely.node(["load.cjs"])).toMatch(
      new RegExp(`^ERR_ADDON_MISSING .*npm install ${name?.[1]}@${name?.[2]} `),
    );
  });

  it.each([
    ["freebsd", "x64", "freebsd-x64"],
    ["win32", "ia32", "win32-ia32-msvc"],
    ["aix", "ppc64", "aix-ppc64"],
  ])("on %s %s names the platform, what is supported and the remedy", (os, arch, name) => {
    const told = lonely.node(["load.cjs", os, arch]);
    expect(told).toMatch(/^ERR_UNSUPPORTED_PLATFORM /);
    expect(told).toContain(`no addon for ${name}`);
    expect(told).toContain("linux-x64-gnu");
    expect(told).toContain("npm run build");
  });

  it("that is broken tells what the system said", () => {
    const name = basename(platform).replace(/-\d.*$/, "");
    const addon = readdirSync(join(consumer.folder, "node_modules", name)).find((file) =>
      file.endsWith(".node"),
    );
    lonely.write(`node_modules/${name}/package.json`, JSON.stringify({ name, main: addon }));
    lonely.write(`node_modules/${name}/${addon}`, "no library");
    expect(lonely.node(["load.cjs"])).toMatch(/^ERR_ADDON_UNUSABLE .* cannot be loaded here: \S/);
  });
});
