// A real TURN server: coturn, on loopback, for one test.
import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { cleanup } from "../support.js";

const HOST = "127.0.0.1";

/** A UDP port that nobody has at this moment. */
async function freePort(): Promise<number> {
  const socket = createSocket("udp4").bind(0, HOST);
  await once(socket, "listening");
  const { port } = socket.address();
  socket.close();
  await once(socket, "close");
  return port;
}

/** Starts one that takes credentials made with this secret; gives its `turn:` URL. */
export async function startTurn(secret: string): Promise<string> {
  const port = await freePort();
  const folder = await mkdtemp(path.join(tmpdir(), "turn-"));
  cleanup(() => rm(folder, { recursive: true }));
  const child = spawn(
    "turnserver",
    [
      "-n", // no configuration file
      "--use-auth-secret",
      `--static-auth-secret=${secret}`,
      "--realm=avatar.test",
      `--listening-ip=${HOST}`,
      `--relay-ip=${HOST}`,
      `--listening-port=${port}`,
      "--no-tls",
      "--no-dtls",
      "--no-cli",
      "--allow-loopback-peers",
      "--log-file=stdout",
      "--simple-log",
      `--pidfile=${path.join(folder, "pid")}`,
      `--userdb=${path.join(folder, "users.db")}`,
      "--verbose",
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  cleanup(() => child.kill("SIGKILL"));
  const lines = createInterface({ input: child.stdout });
  for await (const line of lines) {
    if (/IPv4\. UDP listener opened on/.test(line)) break;
  }
  child.stdout.resume();
  return `turn:${HOST}:${port}?transport=udp`;
}
