// An application's project, empty but for our packages, on a machine that has Node and npm and nothing else.
import { execFileSync, type SpawnSyncReturns, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** What an application's tests need, taken from here rather than from the registry: none of it is ours. */
const TOOLS = ["@types/node", "@types/ws", "typescript", "vitest", "ws"];

export class Consumer {
  readonly folder = mkdtempSync(join(tmpdir(), "consumer-"));

  /** Installs tarballs. Offline, with an empty cache: nothing comes from anywhere else. */
  constructor(tarballs: string[]) {
    this.write("package.json", JSON.stringify({ name: "consumer", private: true }));
    const options = ["--offline", "--no-audit", "--no-fund", "--loglevel=error"];
    const { status, stderr } = this.run("npm", ["install", ...options, ...tarballs]);
    if (status !== 0) throw new Error(`npm install failed: ${stderr}`);
  }

  /** Runs a command that knows of this project, of Node (this one or another) and npm, and of nothing else. */
  run(command: string, args: string[], node = process.execPath): SpawnSyncReturns<string> {
    const bin = mkdtempSync(join(this.folder, ".bin-"));
    symlinkSync(node, join(bin, "node"));
    symlinkSync("/bin/sh", join(bin, "sh"));
    symlinkSync(execFileSync("which", ["npm"], { encoding: "utf8" }).trim(), join(bin, "npm"));
    return spawnSync(join(bin, command), args, {
      cwd: this.folder,
      encoding: "utf8",
      env: { PATH: bin, HOME: this.folder, TMPDIR: tmpdir(), NO_COLOR: "1" },
      maxBuffer: 64 * 2 ** 20,
    });
  }

  /** Runs Node, which must exit with 0. @returns What it printed. */
  node(args: string[], node?: string): string {
    const { status, signal, stdout, stderr } = this.run("node", args, node);
    if (status === 0) return stdout;
    throw new Error(`node ${args.join(" ")}: ${signal ?? status}\n${stdout}\n${stderr}`);
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(join(this.folder, path)), { recursive: true });
    writeFileSync(join(this.folder, path), text);
  }

  /** Copies a file of these tests. */
  copy(from: string, to: string): void {
    cpSync(join(ROOT, "__test__", from), join(this.folder, to));
    // What suites push.
    cpSync(join(ROOT, "assets/sweep"), join(this.folder, "assets/sweep"), { recursive: true });
  }

  linkTools(): void {
    for (const tool of TOOLS) {
      const link = join(this.folder, "node_modules", tool);
      mkdirSync(dirname(link), { recursive: true });
      symlinkSync(join(ROOT, "node_modules", tool), link);
    }
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A Node of this major version: the one that runs this, or one that npm brings, which is kept for the next time. */
export function nodeOf(major: number): string {
  if (Number.parseInt(process.versions.node, 10) === major) return process.execPath;
  const name = `node-${process.platform === "win32" ? "win" : process.platform}-${process.arch}`;
  const folder = join(ROOT, ".cache", `node-${major}`);
  const node = join(folder, "node_modules", name, "bin", "node");
  if (!existsSync(node)) {
    const options = [
      "--prefer-offline",
      "--no-audit",
      "--no-fund",
      "--no-save",
      "--loglevel=error",
    ];
    execFileSync("npm", ["install", "--prefix", folder, ...options, `${name}@${major}`]);
  }
  return node;
}
