// An example, run as its users run it.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { cleanup } from "../support.js";

export const LISTENING = /Open http:\/\/localhost:(\d+)/;

export class Example {
  readonly process: ChildProcess;
  output = "";

  constructor(name: string, args: string[], env: NodeJS.ProcessEnv) {
    const path = fileURLToPath(new URL(`../../examples/${name}.mjs`, import.meta.url));
    this.process = spawn(process.execPath, [path, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream?.on("data", (text) => {
        this.output += text;
        this.process.emit("printed");
      });
    }
  }

  /** Waits until it has printed this. */
  async printed(pattern: RegExp) {
    while (!pattern.test(this.output)) await once(this.process, "printed");
    return pattern.exec(this.output);
  }

  /** The port that it says to open. */
  async port(): Promise<number> {
    return Number((await this.printed(LISTENING))?.[1]);
  }

  async exitCode() {
    const [code] = await once(this.process, "close");
    return code as number | null;
  }
}

/** Runs an example, which ends with the test at the latest. */
export function startExample(name: string, ...args: string[]): Example {
  return startExampleWith({}, name, ...args);
}

/** The same, with variables in its environment. */
export function startExampleWith(env: NodeJS.ProcessEnv, name: string, ...args: string[]): Example {
  const example = new Example(name, args, env);
  cleanup(() => example.process.kill("SIGKILL"));
  return example;
}
