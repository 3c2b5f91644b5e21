import { type ChildProcess, execFileSync, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeNamespaces, type Namespace, whyNoNamespaces } from "../bench/lib/namespaces.mjs";
import { cleanup } from "./support.js";

const STREAMER = fileURLToPath(new URL("support/streamer.mjs", import.meta.url));

/** A client that only signals: it prints what it hears. Whoever wants to come back says something first. */
const CLIENT = `
  import { WebSocket } from "ws";
  const socket = new WebSocket(process.argv[1]);
  socket.on("open", () => socket.send('{"type":"pong"}'));
  socket.on("message", (text) => console.log(String(text)));
`;

/** Two machines and a cable between them: only there can packets be lost without anybody being told. */
const why = whyNoNamespaces();
if (why) console.warn(`Dead peers are not tested: ${why}.`);

describe.skipIf(why !== undefined)("a client whose packets do not arrive any more", () => {
  let machines: ReturnType<typeof makeNamespaces>;
  beforeAll(() => {
    machines = makeNamespaces();
  });
  afterAll(() => machines.remove());

  it("is gone within 15 s, and one that may come back within 30", { timeout: 60_000 }, async () => {
    const server = await serve(machines.server);
    const url = `ws://${machines.server.address}:${server.port}`;
    const [plain, resumable] = await Promise.all([
      join(machines.viewers, `${url}/`),
      join(machines.viewers, `${url}/?resume`),
    ]);
    expect((await server.peers()).sort()).toEqual([plain, resumable].sort());

    cut(machines);
    const since = performance.now();
    const seconds = async (peer: string) => {
      await expect.poll(server.peers, { timeout: 40_000, interval: 100 }).not.toContain(peer);
      return (performance.now() - since) / 1000;
    };
    const [whenPlain, whenResumable] = await Promise.all([seconds(plain), seconds(resumable)]);
    console.log(`gone after ${whenPlain.toFixed(1)} and ${whenResumable.toFixed(1)} s`);
    expect(whenPlain).toBeLessThan(15);
    expect(whenResumable).toBeLessThan(30);
    // It was given the time to come back.
    expect(whenResumable).toBeGreaterThan(20);
  });
});

/** A server that streams on a machine of its own, until the test ends. */
async function serve({ command, address }: Namespace) {
  const [program = "", ...before] = command;
  const child = fork(STREAMER, ["0", address], {
    execPath: program,
    execArgv: [...before, process.execPath],
  });
  cleanup(() => ended(child));
  const [{ port }] = (await once(child, "message")) as [{ port: number }];
  const peers = async () => {
    child.send("peers");
    const [answer] = (await once(child, "message")) as [{ peers: { id: string }[] }];
    return answer.peers.map(({ id }) => id);
  };
  let last: Promise<string[]> = Promise.resolve([]);
  return {
    port,
    /** One question after the other: answers carry no name. */
    peers: () => {
      last = last.then(peers);
      return last;
    },
  };
}

/** A client on a machine of its own, until the test ends: its peer id. */
async function join({ command }: Namespace, url: string): Promise<string> {
  const [program = "", ...before] = command;
  const script = ["--input-type=module", "--eval", CLIENT, url];
  const child = spawn(program, [...before, process.execPath, ...script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  cleanup(() => ended(child));
  for await (const line of createInterface({ input: child.stdout })) {
    const { type, peerId } = JSON.parse(line);
    if (type === "config") return peerId;
  }
  throw new Error("the client was not let in");
}

async function ended(child: ChildProcess) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const end = once(child, "exit");
  child.kill();
  await end;
}

/** From now on nothing gets from the viewers' machine to the server's any more, acknowledgements included. */
function cut({ server, viewers }: ReturnType<typeof makeNamespaces>) {
  const route = ["route", "add", "blackhole", `${server.address}/32`];
  execFileSync("ip", ["-n", viewers.name, ...route]);
}
