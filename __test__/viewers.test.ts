// What a server knows of its viewers, and what it does for those whose connection breaks, seen from the wire.
import { get } from "node:http";
import { describe, expect, it, vi } from "vitest";
import type { Finding, WebRTCPeer } from "../index.js";
import { WebRTCStreamingServer } from "../index.js";
import { Client, join, listen, loopback, next, systemWith } from "./support.js";

/** A client that can resume, and what its first message said. */
async function resuming(port: number, query = "resume") {
  const client = new Client(port, `?${query}`);
  const { peerId, data } = await client.receive();
  // Who has not said anything may not have its token: its seat would be kept for nobody.
  client.send({ type: "clock", data: { sentAt: 0 } });
  await client.receive();
  return { client, peerId, ...data } as {
    client: Client;
    peerId: string;
    resumeToken: string;
    resumed: boolean;
    extensions: string[];
  };
}

describe("a client whose WebSocket breaks", () => {
  it("is the same peer when it is there again, and was never gone", async () => {
    const { server, port } = await listen();
    const told: string[] = [];
    server.on("peer-connected", ({ id, resumed }) => told.push(resumed ? `${id} again` : id));
    server.on("peer-disconnected", ({ peerId, reason }) => told.push(`${peerId} ${reason}`));
    const first = await resuming(port);
    expect(first.resumed).toBe(false);
    first.client.socket.terminate();

    const second = await resuming(port, `resume=${first.resumeToken}`);
    expect(second).toMatchObject({ peerId: first.peerId, resumed: true });
    expect(server.getPeers().map(({ id }) => id)).toEqual([first.peerId]);
    second.client.send({ type: "offer", data: { type: "offer", sdp: "v=0" } });
    expect(await next(server, "offer")).toMatchObject({ peerId: first.peerId });

    const gone = next(server, "peer-disconnected");
    second.client.socket.close();
    await gone;
    const { peerId: id } = first;
    expect(told).toEqual([id, `${id} again`, `${id} closed by client`]);
    const third = await resuming(port, `resume=${first.resumeToken}`);
    expect(third.resumed).toBe(false);
    expect(third.peerId).not.toBe(id);
  });

  it("is gone at once if it does not know how to resume, or if the server stops", async () => {
    const { server, port } = await listen();
    const plain = await join(port);
    const gone = next(server, "peer-disconnected");
    plain.client.socket.terminate();
    expect((await gone).peerId).toBe(plain.peerId);

    const away = await resuming(port);
    away.client.socket.terminate();
    const stopped = next(server, "peer-disconnected");
    await server.stop();
    expect((await stopped).peerId).toBe(away.peerId);
    expect(server.getPeers()).toEqual([]);
  });
});

describe("a viewer's own account", () => {
  it("is what getPeerStats tells, and a bad one is refused", async () => {
    const { server, port } = await listen();
    const { client, peerId, extensions } = await resuming(port);
    expect(extensions).toEqual(["clock", "statistics", "resume"]);
    expect(server.getPeerStats(peerId)).toBeNull();
    expect(server.getPeerStats("nobody")).toBeNull();
    client.send({
      type: "statistics",
      data: { latencyMs: 21.5, path: "relay", videoCodec: "H264" },
    });
    await expect.poll(() => server.getPeerStats(peerId)?.latencyMs).toBe(21.5);
    const stats = server.getPeerStats(peerId);
    expect(stats).toMatchObject({ path: "relay", videoCodec: "H264", freezeCount: null });
    expect(Math.abs(Date.now() - (stats?.receivedAt.getTime() ?? 0))).toBeLessThan(5000);
    for (const data of [7, null, [], { latencyMs: "fast" }, { path: 5 }]) {
      client.send({ type: "statistics", data });
      expect((await client.receive()).error).toMatch(/`data` of statistics/);
    }
    expect(server.getPeerStats(peerId)?.path).toBe("relay");
    client.send({ type: "statistics", data: { path: "<img src=x>", latencyMs: 5 } });
    await expect.poll(() => server.getPeerStats(peerId)?.latencyMs).toBe(5);
    expect(server.getPeerStats(peerId)?.path).toBeNull();
  });

  it("is measured on the server's clock", async () => {
    const { port } = await listen();
    const { client } = await join(port);
    client.send({ type: "clock", data: { sentAt: 12.5 } });
    const { type, data } = await client.receive();
    expect(type).toBe("clock");
    expect(data.sentAt).toBe(12.5);
    expect(Math.abs(data.serverTime - Date.now())).toBeLessThan(1000);
  });
});

describe("an application that lets in only whom it knows", () => {
  it("sees the token and closes the others, which are told why", async () => {
    const { server, port } = await listen();
    const peers: WebRTCPeer[] = [];
    server.on("peer-connected", (peer) => {
      peers.push(peer);
      if (peer.token !== "open sesame") server.disconnectPeer(peer.id, "not allowed");
    });
    const known = new Client(port, `?${new URLSearchParams({ token: "open sesame" })}`);
    expect((await known.receive()).type).toBe("config");
    const other = new Client(port);
    const closed = new Promise((resolve) =>
      other.socket.once("close", (code, reason) => resolve([code, String(reason)])),
    );
    expect(await closed).toEqual([4403, "not allowed"]);
    await vi.waitFor(() => expect(server.getPeerCount()).toBe(1));
    expect(JSON.stringify(peers)).not.toContain("sesame");
    expect(server.disconnectPeer("nobody")).toBe(false);
  });
});

describe("the TURN server's credentials", () => {
  it("are made for each client, and the secret stays here", async () => {
    const { port } = await listen({ turn: { urls: "turn:192.0.2.1", secret: "s3cret" } });
    const [one, other] = [new Client(port), new Client(port)];
    const messages = [await one.receive(), await other.receive()];
    const names = messages.map(({ peerId, data }) => {
      const [server] = data.iceServers;
      expect(server).toMatchObject({ urls: ["turn:192.0.2.1"] });
      expect(server.credential).toMatch(/^[\w+/]{27}=$/);
      const [until, name] = server.username.split(":");
      expect(Number(until) - Date.now() / 1000).toBeGreaterThan(86_000);
      expect(name).toBe(peerId);
      return server.username;
    });
    expect(names[0]).not.toBe(names[1]);
    expect(JSON.stringify(messages)).not.toContain("s3cret");
  });
});

describe("the doctor", () => {
  const of = (findings: Finding[], check: string) =>
    findings.filter((finding) => finding.check === check).map(({ severity }) => severity);

  it("names a taken port before the start, and finds the server well once it runs", async () => {
    const { port } = await listen();
    const server = new WebRTCStreamingServer({ ...loopback, signalingPort: port });
    const findings = await server.doctor();
    expect(of(findings, "signalling-port")).toEqual(["problem"]);
    expect(findings.find(({ severity }) => severity === "problem")?.remedy).toMatch(
      /signalingPort/,
    );
    const system = await systemWith({ tcpPort: 0 });
    const found = await system.doctor();
    expect(of(found, "signalling-port")).toEqual(["ok"]);
    expect(of(found, "tcp-port")).toEqual(["ok"]);
    expect(of(found, "encoder")).toEqual(["ok"]);
    expect(of(found, "addresses")).toEqual(["warning"]); // loopback only
  });

  it("names announced addresses that nobody reaches", async () => {
    const server = new WebRTCStreamingServer({
      ...loopback,
      announcedIps: ["192.0.2.7", "10.1.1.1", "8.8.8.8"],
      udpPort: 0,
    });
    expect(of(await server.doctor(), "announced-addresses")).toEqual([
      "problem",
      "warning",
      "ok",
      "warning", // the port is another one at each start
    ]);
  });
});

describe("the dashboard", () => {
  const read = (port: number, host: string) =>
    new Promise<{ status?: number; text: string }>((resolve, reject) => {
      const options = { port, host: "127.0.0.1", path: "/dashboard/data", headers: { host } };
      get(options, (response) => {
        let text = "";
        response.on("data", (data) => {
          text += data;
        });
        response.on("end", () => resolve({ status: response.statusCode, text }));
      }).on("error", reject);
    });

  it("tells who is there, who came and left, and what was told", async () => {
    const { server, port } = await listen();
    const left = await join(port);
    left.client.socket.close();
    await next(server, "peer-disconnected");
    const { client, peerId } = await resuming(port);
    client.send({ type: "statistics", data: { latencyMs: 30 } });
    await expect.poll(() => server.getPeerStats(peerId)?.latencyMs).toBe(30);
    const { status, text } = await read(port, "localhost");
    expect(status).toBe(200);
    expect(JSON.parse(text)).toMatchObject({
      joins: 2,
      drops: { total: 1, byReason: { "closed by client": 1 } },
      peers: [
        { id: peerId, state: "connecting", address: "127.0.0.1", statistics: { latencyMs: 30 } },
      ],
      maxClients: 100,
    });
  });

  it("is refused to whoever comes by another name, unless it is opened", async () => {
    const { port } = await listen();
    const refused = await read(port, "avatar.example");
    expect(refused.status).toBe(403);
    expect(refused.text).toMatch(/localhost/);
    const open = await listen({ dashboard: "everyone" });
    expect((await read(open.port, "avatar.example")).status).toBe(200);
    const closed = await listen({ dashboard: "nobody" });
    expect((await read(closed.port, "localhost")).status).toBe(403);
  });
});
