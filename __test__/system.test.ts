import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { createStreamingSystem } from "avatar-webrtc-streaming";
import { describe, expect, it, vi } from "vitest";
import { cleanup, join, loopback, pcm, resources, rgba, settled, systemWith } from "./support.js";

const INDEX = createRequire(import.meta.url).resolve("avatar-webrtc-streaming");

describe("a system's life", () => {
  it("listens already when it is there, and streams once started", async () => {
    const system = await systemWith();
    const { port } = system.getStatus();
    expect(port).toBeGreaterThan(0);
    await join(port ?? 0);
    expect(system.getStatus()).toMatchObject({
      isRunning: false,
      peerCount: 1,
      metrics: { isStreaming: false },
    });
    await system.start();
    expect(await system.bridge.pushVideoFrame(rgba())).toMatchObject({ status: "queued" });
    expect(await system.bridge.pushAudioChunk(pcm())).toMatchObject({ status: "queued" });
    const status = system.getStatus();
    expect(status.isRunning).toBe(true);
    expect(status.metrics).toEqual(system.bridge.getMetrics());
    expect(status.metrics).toMatchObject({ videoFrames: 1, audioChunks: 1 });
  });

  it("only warns when it is started twice", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const system = await systemWith();
    await Promise.all([system.start(), system.start()]);
    expect(warn).toHaveBeenCalledTimes(1);
  });

  it("stops the bridge, then the server, once", async () => {
    const system = await systemWith();
    await system.start();
    const seen: string[] = [];
    system.bridge.on("stopped", () => seen.push("bridge"));
    system.server.on("stopped", () => seen.push("server"));
    await Promise.all([system.stop(), system.stop()]);
    await system.stop();
    expect(seen).toEqual(["bridge", "server"]);
    expect(system.getStatus()).toMatchObject({ isRunning: false, port: null, peerCount: 0 });
  });

  it("starts again after a stop, on the same port if one was asked for", async () => {
    const first = await systemWith();
    const port = first.getStatus().port ?? 0;
    await first.stop();
    const system = await systemWith({ signalingPort: port });
    await system.start();
    await system.stop();
    await system.start();
    expect(system.getStatus()).toMatchObject({ isRunning: true, port });
    await join(port);
    expect(await system.bridge.pushVideoFrame(rgba())).toMatchObject({ status: "queued" });
  });

  it("starts again on any port if none was asked for", async () => {
    const system = await systemWith();
    await system.stop();
    await system.start();
    await join(system.getStatus().port ?? 0);
  });

  it("ends as the last of overlapping calls says", async () => {
    const system = await systemWith();
    await Promise.all([system.start(), system.stop(), system.start(), system.stop()]);
    expect(system.getStatus()).toMatchObject({ isRunning: false, port: null });
  });

  it("is disposed of by await using", async () => {
    let stopped: () => { isRunning: boolean; port: number | null };
    {
      await using system = await createStreamingSystem({ webrtc: loopback });
      await system.start();
      stopped = () => system.getStatus();
      expect(stopped().isRunning).toBe(true);
    }
    expect(stopped()).toMatchObject({ isRunning: false, port: null });
  });
});

describe("GET /metrics", () => {
  it("gives Prometheus what is counted", async () => {
    const system = await systemWith();
    await system.start();
    const port = system.getStatus().port ?? 0;
    await join(port);
    await system.bridge.pushVideoFrame(rgba());
    await system.bridge.pushAudioChunk(pcm(1000));
    const response = await fetch(`http://127.0.0.1:${port}/metrics`);
    expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    const lines = (await response.text()).split("\n");
    const value = (name: string) =>
      Number(lines.find((line) => line.startsWith(`avatar_${name} `))?.split(" ")[1]);
    expect(value('peers{state="connecting"}')).toBe(1);
    expect(value("streaming")).toBe(1);
    expect(value("frames_pushed_total")).toBe(1);
    expect(value("frames_per_second")).toBe(1);
    expect(value("chunks_pushed_total")).toBe(1);
    expect(value("packets_sent_total")).toBe(0);
    expect(value('events_dropped_total{class="state"}')).toBe(0);
  });
});

describe("a system that cannot listen", () => {
  it("rejects with EADDRINUSE and leaves nothing running", async () => {
    const occupant = createServer().listen(0, "127.0.0.1");
    await once(occupant, "listening");
    cleanup(() => occupant.close());
    const { port } = occupant.address() as { port: number };
    const webrtc = { ...loopback, signalingPort: port };
    await createStreamingSystem({ webrtc }).catch(() => {});
    const before = resources();
    for (let attempt = 0; attempt < 5; attempt++) {
      await expect(createStreamingSystem({ webrtc })).rejects.toMatchObject({
        code: "EADDRINUSE",
        message: expect.stringContaining(String(port)),
      });
    }
    await settled(before);
  });

  it("rejects with EADDRNOTAVAIL for an address that is not of this machine", async () => {
    const webrtc = { ...loopback, signalingHost: "192.0.2.1" };
    await expect(createStreamingSystem({ webrtc })).rejects.toMatchObject({
      code: "EADDRNOTAVAIL",
    });
  });
});

describe("many systems", () => {
  it("run side by side, each with its own clients", async () => {
    const systems = await Promise.all(Array.from({ length: 8 }, () => systemWith()));
    const ports = systems.map((system) => system.getStatus().port ?? 0);
    expect(new Set(ports).size).toBe(8);
    const clients = await Promise.all(ports.map((port) => join(port)));
    await systems[0]?.stop();
    expect(await clients[0]?.client.closed).toEqual(expect.any(Number));
    for (const [at, system] of systems.entries()) {
      if (at === 0) continue;
      system.server.broadcast({ type: "hello", at });
      expect(await clients[at]?.client.receive()).toEqual({ type: "hello", at });
      expect(system.getStatus().peerCount).toBe(1);
    }
  });

  it("started and stopped fifty times leave no thread and no descriptor behind", async () => {
    const cycle = async () => {
      const system = await createStreamingSystem({ webrtc: loopback });
      await system.start();
      await system.bridge.pushVideoFrame(rgba());
      const { client } = await join(system.getStatus().port ?? 0);
      await system.stop();
      await client.closed;
    };
    // What belongs to the process and stays is made by the first few.
    for (let warmUp = 0; warmUp < 3; warmUp++) await cycle();
    const before = resources();
    for (let round = 0; round < 50; round++) await cycle();
    await settled(before);
  }, 120_000);
});

describe("the process", () => {
  it("stays alive while a server listens, and exits by itself once it is stopped", async () => {
    const child = node(`
      const { createStreamingSystem } = require(${JSON.stringify(INDEX)});
      (async () => {
        const system = await createStreamingSystem({ webrtc: ${JSON.stringify(loopback)} });
        await system.start();
        process.stdin.once("data", () => { process.stdin.destroy(); void system.stop(); }).unref();
        process.stdout.write("listening\\n");
      })();
    `);
    await once(child.stdout, "data");
    child.stdin.write("stop\n");
    expect(await once(child, "exit")).toEqual([0, null]);
  });

  it("is kept alive by a listening server alone", async () => {
    const child = node(`
      const { createStreamingSystem } = require(${JSON.stringify(INDEX)});
      createStreamingSystem({ webrtc: ${JSON.stringify(loopback)} }).then(({ server }) => {
        process.stdout.write(String(server.port));
      });
    `);
    const [port] = await once(child.stdout, "data");
    // Every earlier turn of the child's loop is over once it has answered this.
    await join(Number(port));
    expect(child.exitCode).toBeNull();
    child.kill("SIGKILL");
    await once(child, "exit");
  });

  it("is not kept alive by a bridge", async () => {
    const child = node(`
      const { MediaBridge } = require(${JSON.stringify(INDEX)});
      new MediaBridge().start();
    `);
    expect(await once(child, "exit")).toEqual([0, null]);
  });

  it("exits cleanly with process.exit while it streams", async () => {
    const child = node(`
      const { createStreamingSystem } = require(${JSON.stringify(INDEX)});
      createStreamingSystem({ webrtc: ${JSON.stringify(loopback)} }).then(async (system) => {
        await system.start();
        process.exit(7);
      });
    `);
    expect(await once(child, "exit")).toEqual([7, null]);
  });

  it("outlives worker threads that end while they stream, stopped or terminated", async () => {
    const child = node(`
      const { Worker } = require("node:worker_threads");
      const code = \`
        const { createStreamingSystem } = require(${JSON.stringify(INDEX)});
        const { parentPort } = require("node:worker_threads");
        createStreamingSystem({ webrtc: ${JSON.stringify(loopback)} }).then(async (system) => {
          await system.start();
          parentPort.postMessage(system.getStatus().port);
        });
      \`;
      (async () => {
        for (let round = 0; round < 3; round++) {
          const worker = new Worker(code, { eval: true });
          const port = await new Promise((resolve) => worker.once("message", resolve));
          await worker.terminate();
          await new Promise((resolve, reject) => {
            const socket = require("node:net").connect(port, "127.0.0.1");
            socket.once("error", resolve);
            socket.once("connect", () => reject(new Error("it still listens")));
          });
        }
        const dying = new Worker(code, { eval: true });
        await dying.terminate();
      })();
    `);
    expect(await once(child, "exit")).toEqual([0, null]);
  }, 30_000);
});

const BRIDGE = ["MediaBridge", "createMediaBridge", "connectMediaBridge"];
const SERVER = ["WebRTCStreamingServer", "createWebRTCServer"];
const ALL = ["createStreamingSystem", ...SERVER, ...BRIDGE];

describe("the package", () => {
  it.each([
    ["", ALL],
    ["/index.js", ALL],
    ["/media-bridge", BRIDGE],
    ["/media-bridge.js", BRIDGE],
    ["/webrtc-server", SERVER],
    ["/webrtc-server.js", SERVER],
  ])(
    "gives the very same by import, require and path: avatar-webrtc-streaming%s",
    async (path, names) => {
      const child = node(
        `
      import { ${names} } from "avatar-webrtc-streaming${path}";
      import { createRequire } from "node:module";
      const require = createRequire(import.meta.url);
      const required = require("avatar-webrtc-streaming${path}");
      const whole = require(${JSON.stringify(INDEX)});
      for (const [name, imported] of Object.entries({ ${names} })) {
        if (typeof imported !== "function") throw new Error(name + " is no function");
        if (imported !== required[name] || imported !== whole[name]) throw new Error(name);
      }
      if (Object.keys(required).join() !== "${names}") throw new Error(Object.keys(required).join());
      `,
        "--input-type=module",
      );
      expect(await once(child, "exit")).toEqual([0, null]);
    },
  );

  it("says where the browser page is, for who serves it otherwise", () => {
    const { resolve } = createRequire(import.meta.url);
    const page = readFileSync(resolve("avatar-webrtc-streaming/web/webrtc-client.html"), "utf8");
    expect(page).toContain("<html");
  });
});

function node(code: string, ...options: string[]) {
  const child = spawn(process.execPath, [...options, "-e", code], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  cleanup(() => child.kill("SIGKILL"));
  return child;
}
