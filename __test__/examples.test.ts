import { once } from "node:events";
import { createServer } from "node:net";
import { beforeAll, describe, expect, it } from "vitest";
import { setUpConversation } from "../examples/conversation/setup.mjs";
import { LISTENING, startExample as start } from "./support/example.js";

const EXAMPLES = ["demo", "renderer", "synthesiser", "recogniser", "conversation/main"];

beforeAll(() => setUpConversation(), 300_000);

describe("every example", () => {
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
