import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";

const EXAMPLES = ["demo", "renderer", "synthesiser", "recogniser"];
const LISTENING = /Open http:\/\/localhost:(\d+)/;

class Example {
  readonly process: ChildProcess;
  output = "";

  constructor(name: string, ...args: string[]) {
    const path = fileURLToPath(new URL(`../examples/${name}.mjs`, import.meta.url));
    this.process = spawn(process.execPath, [path, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream?.on("data", (text) => {
        this.output += text;
        this.process.emit("printed");
      });
    }
  }

  async printed(pattern: RegExp) {
    while (!pattern.test(this.output)) await once(this.process, "printed");
    return pattern.exec(this.output);
  }

  async exitCode() {
    const [code] = await once(this.process, "close");
    return code as number | null;
  }
}

describe("every example", () => {
  const running: Example[] = [];
  const start = (...args: ConstructorParameters<typeof Example>) => {
    const example = new Example(...args);
    running.push(example);
    return example;
  };

  afterEach(() => {
    for (const { process } of running.splice(0)) process.kill("SIGKILL");
  });

  it.each(EXAMPLES)("%s prints its address, and ends by itself after --seconds", async (name) => {
    const example = start(name, "--port", "0", "--seconds", "2");
    const code = await example.exitCode();
    expect(example.output).toMatch(LISTENING);
    expect(code, example.output).toBe(0);
  });

  it.each(EXAMPLES)("%s serves the page until Ctrl-C, which stops it cleanly", async (name) => {
    const example = start(name, "--port", "0");
    const port = (await example.printed(LISTENING))?.[1];
    const page = await fetch(`http://localhost:${port}/`);
    expect(page.status).toBe(200);
    expect(await page.text()).toContain("<video");

    const code = example.exitCode();
    example.process.kill("SIGINT");
    expect(await code, example.output).toBe(0);
  });

  it.each(EXAMPLES)("%s says what to type when its port is in use", async (name) => {
    const other = createServer().listen(0);
    await once(other, "listening");
    const { port } = other.address() as { port: number };
    const example = start(name, "--port", String(port));
    const code = await example.exitCode();
    other.close();
    expect(code).toBe(1);
    expect(example.output).toContain(`Port ${port} is in use. Choose another one: --port`);
  });
});
