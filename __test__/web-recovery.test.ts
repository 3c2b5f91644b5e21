import { describe, expect, it } from "vitest";
import { recover } from "../web/client/recovery.js";
import {
  type Action,
  atRest,
  deadline,
  type Happening,
  reconnectDelay,
  type Situation,
} from "../web/client/situation.js";

describe("reconnectDelay", () => {
  const middle = { random: 0.5 };

  it("starts at a third of a second and grows by 1.7", () => {
    expect([0, 1, 2].map((tries) => reconnectDelay(tries, middle))).toEqual([350, 595, 1011]);
  });

  it("spreads by 40 % either way", () => {
    expect(reconnectDelay(0, { random: 0 })).toBe(210);
    expect(reconnectDelay(0, { random: 1 })).toBe(490);
  });

  it("never exceeds three seconds, after two minutes ten, and keeps its spread there", () => {
    for (const [tries, longest] of [
      [6, 3000],
      [39, 3000],
      [40, 10_000],
      [10_000, 10_000],
    ] as const) {
      expect(reconnectDelay(tries, { random: 1 })).toBe(longest);
      expect(reconnectDelay(tries, { random: 0 })).toBeLessThan(longest / 2);
    }
    const total = Array.from({ length: 40 }, (_, tries) => reconnectDelay(tries, middle));
    expect(total.reduce((sum, ms) => sum + ms)).toBeGreaterThan(75_000);
  });

  it("takes the longest delay at once when the server is full", () => {
    expect(reconnectDelay(0, { serverFull: true, random: 1 })).toBe(10_000);
  });
});

/** A connection, in a time of its own; what is to be done and told is noted. */
class Viewer {
  situation: Situation = atRest();
  now = 1000;
  /** Since the last look. */
  #actions: Action[] = [];

  happen(event: Happening): this {
    const { situation, actions } = recover(this.situation, event, this.now, 0.5);
    this.situation = situation;
    this.#actions.push(...actions);
    return this;
  }

  media = (state: RTCPeerConnectionState) => this.happen({ type: "media", state });
  config = (resumed: boolean, keepsPeer = true) =>
    this.happen({ type: "config", resumed, keepsPeer });
  breaks = (reason = "broke", wasOpen = true) =>
    this.happen({ type: "closed", code: 1006, reason, said: "", isBroken: true, wasOpen });
  ends = (reason: string, code = 1000) =>
    this.happen({ type: "closed", code, reason, said: reason, isBroken: false, wasOpen: true });
  alive = (isExpired = false) => this.happen({ type: "alive", isExpired });

  /** Lets time pass; each timer happens when it is due, and media are heard each second if they are. */
  pass(ms: number, { heard = false } = {}): this {
    const end = this.now + ms;
    let nextHeard = this.now + 1000;
    for (;;) {
      const at = Math.min(deadline(this.situation), heard ? nextHeard : Number.POSITIVE_INFINITY);
      if (at > end) break;
      this.now = Math.max(this.now, at);
      if (heard && at === nextHeard) {
        nextHeard += 1000;
        this.happen({ type: "heard" });
      } else {
        this.happen({ type: "time" });
      }
    }
    this.now = end;
    return this;
  }

  /** What was to be done since the last time, without words. */
  deeds(): string[] {
    const deeds = this.#actions.map((action) => action.do);
    return deeds.filter((deed) => deed !== "log" && deed !== "tell");
  }

  /** What the application was told since the last time. */
  told() {
    return this.#actions.filter((action) => action.do === "tell");
  }

  forget(): this {
    this.#actions = [];
    return this;
  }

  static connected(keepsPeer = true): Viewer {
    const viewer = new Viewer().happen({ type: "connect" }).config(false, keepsPeer);
    return viewer.media("connected").pass(10_000, { heard: true }).forget();
  }
}

describe("a first connection", () => {
  it("opens a WebSocket, offers once the config is there, and is connected when the media are", () => {
    const viewer = new Viewer().happen({ type: "connect" });
    expect(viewer.deeds()).toEqual(["open"]);
    viewer.forget().config(false);
    expect(viewer.deeds()).toEqual(["offer"]);
    viewer.media("connecting").media("connected");
    expect(viewer.situation.state).toBe("connected");
    expect(viewer.pass(3_600_000, { heard: true }).forget().deeds()).toEqual([]);
  });

  it("is given up after 15 s, and says whether the server or the media were missing", () => {
    const alone = new Viewer().happen({ type: "connect" }).pass(15_000);
    expect(alone.told().at(-1)).toMatchObject({ state: "reconnecting", problem: "unreachable" });
    const mute = new Viewer().happen({ type: "connect" }).config(false).pass(15_000);
    expect(mute.told().at(-1)).toMatchObject({ state: "reconnecting", problem: "no-media-path" });
    expect(mute.deeds()).toEqual(["open", "offer", "drop"]);
    const failed = new Viewer().happen({ type: "connect" }).config(false).media("failed");
    expect(failed.told().at(-1)).toMatchObject({ problem: "no-media-path", retryInMs: 350 });
  });

  it("says that the server is full, in old words and in new ones", () => {
    for (const [reason, code] of [
      ["Server full", null],
      ["no more room", "server-full"],
    ] as const) {
      const viewer = new Viewer().happen({ type: "connect" });
      viewer.happen({ type: "refused", reason, code }).ends("Server full");
      expect(viewer.told().at(-1)).toMatchObject({ problem: "server-full" });
      expect(viewer.told().at(-1)?.retryInMs).toBeGreaterThan(4000);
    }
  });

  it("does not try again what trying does not help", () => {
    const viewer = new Viewer().happen({ type: "connect" }).config(false);
    viewer.happen({ type: "refused", reason: "no codec in common", code: "no-shared-codec" });
    expect(viewer.situation.state).toBe("failed");
    expect(viewer.told().at(-1)).toMatchObject({ problem: "no-shared-codec" });
    expect(deadline(viewer.situation)).toBe(Number.POSITIVE_INFINITY);
  });

  it("does not come back when the application turns it away, then or later", () => {
    for (const viewer of [new Viewer().happen({ type: "connect" }), Viewer.connected()]) {
      viewer.forget().ends("not you", 4403);
      expect(viewer.deeds()).toEqual(["end"]);
      expect(viewer.told()).toMatchObject([
        { state: "failed", problem: "refused", reason: "not you" },
      ]);
      expect(deadline(viewer.situation)).toBe(Number.POSITIVE_INFINITY);
    }
  });

  it("keeps saying why there is none while it tries again", () => {
    const viewer = new Viewer().happen({ type: "connect" }).breaks("cannot be reached", false);
    viewer.forget().pass(350);
    expect(viewer.told()).toEqual([
      expect.objectContaining({
        reason: "cannot be reached",
        problem: "unreachable",
        retryInMs: null,
      }),
    ]);
  });

  it("ends when told to, also while it waits, and hears nothing any more", () => {
    const viewer = Viewer.connected().breaks();
    viewer.happen({ type: "disconnect" });
    expect(viewer.situation).toEqual({ ...atRest(), state: "disconnected" });
    viewer.forget().media("failed").config(true).breaks().happen({ type: "look" }).pass(60_000);
    expect(viewer.deeds()).toEqual([]);
  });
});

describe("a WebSocket that is lost while the media are fine", () => {
  it("is opened again in the background", () => {
    const viewer = Viewer.connected().breaks().pass(350, { heard: true });
    expect(viewer.deeds()).toEqual(["open"]);
    viewer.config(true).pass(60_000, { heard: true });
    expect(viewer.deeds()).toEqual(["open"]);
    expect(viewer.told()).toEqual([]);
    expect(viewer.situation).toMatchObject({ state: "connected", tries: 0 });
  });

  it("is tried as long as it takes", () => {
    const viewer = Viewer.connected();
    for (let n = 0; n < 30; n++) viewer.breaks("refused", n === 0).pass(3000, { heard: true });
    expect(viewer.deeds()).toHaveLength(30);
    expect(new Set(viewer.deeds())).toEqual(new Set(["open"]));
    expect(viewer.situation.state).toBe("connected");
  });

  it("leads to a new peer connection if the server does not know the peer any more", () => {
    const viewer = Viewer.connected().breaks().pass(350, { heard: true }).config(false);
    expect(viewer.deeds().filter((deed) => deed !== "look")).toEqual(["open", "offer"]);
    expect(viewer.situation.state).toBe("reconnecting");
    viewer.media("connected");
    expect(viewer.situation.state).toBe("connected");
  });

  it("is replaced at once when the server does not answer", () => {
    const viewer = Viewer.connected().happen({ type: "silent" });
    expect(viewer.deeds()).toEqual(["open"]);
    expect(viewer.situation.state).toBe("connected");
  });

  it("means that the media are lost too if nothing comes there either", () => {
    const viewer = Viewer.connected().breaks();
    viewer.pass(350).breaks("refused", false).pass(2700);
    expect(viewer.told().at(0)).toMatchObject({
      state: "reconnecting",
      reason: "nothing arrives any more",
    });
    // It was only the WebSocket that took longer.
    viewer.happen({ type: "heard" });
    expect(viewer.situation.state).toBe("connected");
  });

  it("ends everything if the server closed it", () => {
    const viewer = Viewer.connected().ends("server stopping");
    expect(viewer.deeds()).toEqual(["drop"]);
    expect(viewer.told()).toMatchObject([{ state: "reconnecting", retryInMs: 350 }]);
  });

  it("ends everything with a server that does not keep peers", () => {
    const viewer = Viewer.connected(false).breaks();
    expect(viewer.deeds()).toEqual(["drop"]);
    expect(viewer.told()).toMatchObject([{ state: "reconnecting", retryInMs: 350 }]);
  });
});

describe("media that are lost while the WebSocket is fine", () => {
  it("have a second to recover by themselves", () => {
    const viewer = Viewer.connected().media("disconnected").pass(900).media("connected");
    expect(viewer.pass(30_000, { heard: true }).deeds()).toEqual([]);
    expect(viewer.told()).toEqual([]);
  });

  it("have five with a server that keeps nothing, and then a new connection", () => {
    const viewer = Viewer.connected(false).media("disconnected").pass(4900).media("connected");
    viewer.pass(10_000).media("disconnected").pass(5000);
    expect(viewer.deeds()).toEqual(["drop"]);
    expect(viewer.situation.state).toBe("reconnecting");
  });

  it.each(["disconnected", "failed"] as const)("come back by an ICE restart: %s", (state) => {
    const viewer = Viewer.connected().media(state).pass(1000);
    expect(viewer.situation.state).toBe("reconnecting");
    expect(viewer.deeds()).toEqual(["look"]);
    viewer.forget().alive().pass(500).alive();
    expect(viewer.deeds()).toEqual(["restart"]);
    viewer.media("connecting").media("connected").pass(60_000, { heard: true });
    expect(viewer.deeds()).toEqual(["restart"]);
    expect(viewer.situation.state).toBe("connected");
  });

  it("are mended over another WebSocket when the credentials for TURN have expired, and once", () => {
    const viewer = Viewer.connected().media("failed").forget().alive(true);
    expect(viewer.deeds()).toEqual(["open"]);
    viewer.forget().config(true).alive(true);
    expect(viewer.deeds()).toEqual(["restart"]);
  });

  it("get a new connection when the ICE restart has not helped within 8 s", () => {
    const viewer = Viewer.connected().media("failed").alive().pass(7900);
    expect(viewer.deeds()).toEqual(["look", "restart"]);
    viewer.forget().pass(100);
    expect(viewer.deeds()).toEqual(["offer"]);
    viewer.media("failed");
    expect(viewer.told().at(-1)).toMatchObject({ problem: "no-media-path", retryInMs: 350 });
  });

  it("get one at once when the server refuses the ICE restart", () => {
    const viewer = Viewer.connected().media("failed").alive().forget();
    viewer.happen({ type: "refused", reason: "unknown fingerprint", code: "bad-offer" });
    expect(viewer.deeds()).toEqual(["offer"]);
  });
});

describe("a black-out of everything", () => {
  it("keeps the peer connection, which comes back by itself", () => {
    const viewer = Viewer.connected().pass(6000);
    viewer.media("disconnected").pass(1000);
    expect(viewer.deeds()).toEqual(["look"]);
    viewer.forget().pass(1500).happen({ type: "silent" });
    expect(viewer.deeds()).toEqual(["open"]);
    // ICE first; the WebSocket that was opened in the dark is not waited for.
    viewer.forget().pass(1500).media("connected");
    expect(viewer.deeds()).toEqual(["open"]);
    expect(viewer.situation.state).toBe("connected");
    viewer.config(true).pass(60_000, { heard: true });
    expect(viewer.deeds()).toEqual(["open"]);
  });

  it("is followed by an ICE restart once the server answers, if ICE did not come back", () => {
    const viewer = Viewer.connected().media("failed").happen({ type: "silent" });
    viewer.pass(5000).forget().config(true);
    expect(viewer.deeds()).toEqual(["restart"]);
  });

  it("tries a WebSocket each three seconds and a half", () => {
    const viewer = Viewer.connected().media("failed").happen({ type: "silent" }).forget();
    viewer.pass(7_000);
    expect(viewer.deeds()).toEqual(["abandon", "open", "abandon", "open"]);
    expect(viewer.told().at(-1)).toMatchObject({ problem: "unreachable" });
  });

  it("of more than 20 s ends in a new peer connection, but not before the server answers", () => {
    const viewer = Viewer.connected().media("failed").happen({ type: "silent" });
    for (let n = 0; n < 10; n++) viewer.breaks("refused", false).pass(3000);
    expect(viewer.deeds()).not.toContain("offer");
    expect(viewer.deeds()).not.toContain("drop");
    viewer.forget().config(true);
    expect(viewer.deeds()).toEqual(["offer"]);
  });

  it("that nobody noticed but the network itself is looked at at once", () => {
    const viewer = Viewer.connected().happen({ type: "look" });
    expect(viewer.deeds()).toEqual(["look"]);
    viewer.breaks().forget().happen({ type: "look" });
    expect(viewer.deeds()).toEqual(["open"]);
    // Once is enough, unless it hangs.
    expect(viewer.forget().happen({ type: "look" }).deeds()).toEqual([]);
    expect(viewer.pass(1500).happen({ type: "look" }).deeds()).toContain("open");
  });

  it("of the media alone, that the WebSocket outlived, is mended when that is back", () => {
    const viewer = Viewer.connected().breaks().pass(2900).forget().config(true);
    expect(viewer.deeds()).toEqual([]);
    const silent = Viewer.connected().breaks().pass(350).pass(2640).forget();
    silent.situation = { ...silent.situation, heardAt: silent.now - 3000 };
    expect(silent.config(true).deeds()).toEqual(["restart"]);
    // It was not needed.
    silent.happen({ type: "heard" }).pass(20_000, { heard: true });
    expect(silent.deeds()).toEqual(["restart"]);
  });
});

describe("a server that was killed and started again", () => {
  it("has the viewer back with its first answer", () => {
    const viewer = Viewer.connected().breaks();
    for (const ms of [350, 600, 1020]) viewer.pass(ms).breaks("refused", false);
    viewer.pass(1800).forget().config(false);
    expect(viewer.deeds()).toEqual(["offer"]);
    viewer.media("connected");
    expect(viewer.situation.state).toBe("connected");
  });

  it("is asked at least each three seconds for two minutes", () => {
    const viewer = Viewer.connected().breaks();
    let asked = viewer.now;
    for (let n = 0; n < 38; n++) {
      viewer.pass(deadline(viewer.situation) - viewer.now);
      if (viewer.situation.socket === "opening") {
        expect(viewer.now - asked).toBeLessThanOrEqual(3000);
        asked = viewer.now;
        viewer.breaks("refused", false);
      }
    }
  });
});
