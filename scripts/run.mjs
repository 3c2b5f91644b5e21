// Running commands: what every script here shares. Node built-ins only, since node_modules may be missing.

import { spawnSync } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The top of the repository. */
export const ROOT = fileURLToPath(new URL("..", import.meta.url));

/**
 * Runs a command from the top of the repository, with its output on this terminal.
 * @param {string} command
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} [env] added to the environment
 * @returns {boolean} whether it exited with 0
 */
export function run(command, args, env = {}) {
  console.log(`$ ${[command, ...args].join(" ")}`);
  const { error, status } = spawnSync(command, args, {
    cwd: ROOT,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, ...env },
  });
  if (error) console.error(`${command}: ${error.message}`);
  return status === 0;
}

/**
 * Runs a command quietly.
 * @param {string} command
 * @param {string[]} args
 * @returns {string | undefined} what it printed, or undefined when it failed
 */
export function output(command, args) {
  const { status, stdout } = spawnSync(command, args, {
    cwd: ROOT,
    encoding: "utf8",
    maxBuffer: 64 * 2 ** 20,
  });
  return status === 0 ? stdout : undefined;
}

/**
 * @param {string} command
 * @returns {boolean} whether it is on the PATH
 */
export function isInstalled(command) {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => {
    const file = join(folder, command);
    try {
      accessSync(file, constants.X_OK);
      return statSync(file).isFile();
    } catch {
      return false;
    }
  });
}

/**
 * The path of a program that `npm ci` installed.
 * @param {string} name
 */
export function npmProgram(name) {
  return join(ROOT, "node_modules", ".bin", name);
}

/**
 * Ends the script with what to do about it.
 * @param {string} message
 * @returns {never}
 */
export function fail(message) {
  console.error(`\n${message}`);
  process.exit(1);
}
