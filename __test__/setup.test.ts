import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const SETUP = fileURLToPath(new URL("../scripts/setup.mjs", import.meta.url));
let bin: string;

beforeEach(() => {
  bin = mkdtempSync(join(tmpdir(), "bin-"));
});
afterEach(() => rmSync(bin, { recursive: true }));

/** Runs the set-up on a machine that has only these commands. */
function setUpWith(...commands: string[]) {
  const folders = (process.env.PATH ?? "").split(delimiter);
  for (const command of commands) {
    const found = spawnSync("which", [command], { encoding: "utf8" }).stdout.trim();
    expect(folders).toContain(join(found, ".."));
    symlinkSync(found, join(bin, command));
  }
  const env = { ...process.env, PATH: bin };
  return spawnSync(process.execPath, [SETUP], { env, encoding: "utf8" });
}

describe("set-up", () => {
  it("names every missing package in one line to type, and exits with 1", () => {
    const { status, stderr } = setUpWith("cargo", "rustc");
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /apt-get install -y --no-install-recommends g\+\+ make cmake nasm pkg-config libvpx-dev/,
    );
  });

  it("leaves out what is already there", () => {
    const { status, stderr } = setUpWith("cargo", "rustc", "g++", "make", "cmake", "pkg-config");
    expect(status).toBe(1);
    expect(stderr).toMatch(/--no-install-recommends nasm\)/);
  });

  it("says how to install Rust when it is missing", () => {
    const env = { ...process.env, PATH: bin, HOME: bin };
    const { status, stderr } = spawnSync(process.execPath, [SETUP], { env, encoding: "utf8" });
    expect(status).toBe(1);
    expect(stderr).toContain("sh.rustup.rs");
  });

  it("does nothing when everything is there", () => {
    const { status, stdout } = spawnSync(process.execPath, [SETUP], { encoding: "utf8" });
    expect(status).toBe(0);
    expect(stdout).toBe("");
  });

  it("of the conversation names what its stand-ins need, and nothing that a service does", () => {
    const main = fileURLToPath(new URL("../examples/conversation/main.mjs", import.meta.url));
    const start = (urls: NodeJS.ProcessEnv) =>
      spawnSync(process.execPath, [main, "--port", "0", "--seconds", "1"], {
        env: { ...process.env, WHISPER_URL: "http://localhost:1", ...urls, PATH: bin },
        encoding: "utf8",
      });
    const { status, stderr } = start({ XTTS_URL: "" });
    expect(status).toBe(1);
    expect(stderr).toMatch(/apt-get install -y --no-install-recommends espeak-ng\)/);
    expect(start({ XTTS_URL: "http://localhost:1" }).status).toBe(0);
  });
});
