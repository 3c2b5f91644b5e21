// What the page and <avatar-view> say, without a browser.
import { describe, expect, it } from "vitest";
import { captionOf } from "../web/view/captions.js";
import { levelOf } from "../web/view/microphone.js";
import { explain, refine } from "../web/view/problems.js";
import {
  NO_OUTAGE,
  nextOutage,
  pictureWords,
  retryWords,
  spokenWords,
} from "../web/view/state-words.js";

describe("a caption", () => {
  it("is a plain string, or a cue of that type", () => {
    expect(captionOf(" Hello. ")).toMatchObject({ text: "Hello." });
    expect(captionOf({ type: "caption", text: "Hello.", durationMs: 900 })).toEqual({
      text: "Hello.",
      durationMs: 900,
    });
    for (const other of [null, undefined, 7, {}, [], { type: "viseme", text: "a" }])
      expect(captionOf(other)).toBeNull();
    expect(captionOf({ type: "caption", text: 7 })).toBeNull();
    expect(captionOf({ type: "caption", text: "" })).toMatchObject({ text: "" });
  });

  it("stays as long as it takes to read, within bounds, unless it says for how long", () => {
    const ms = (data: unknown) => captionOf(data)?.durationMs ?? 0;
    expect(ms("Yes.")).toBe(1500);
    expect(ms("x".repeat(60))).toBe(4000);
    expect(ms("x".repeat(300))).toBe(7000);
    for (const durationMs of [-1, 0, Number.NaN, "soon", null])
      expect(ms({ type: "caption", text: "Yes.", durationMs })).toBe(1500);
  });

  it("is cut where nobody would read on", () => {
    expect(captionOf("x".repeat(10_000))?.text).toHaveLength(401);
  });
});

describe("what is wrong", () => {
  const lost = { state: "reconnecting", reason: "the server is full", retryInMs: 3000 } as const;
  const trying = { state: "reconnecting", problem: null, reason: null, retryInMs: null } as const;

  it("stays in view while the next try is made, and goes with the connection", () => {
    const full = nextOutage(NO_OUTAGE, { ...lost, problem: "server-full" }, 1000);
    expect(retryWords("reconnecting", full, 1500)).toBe("Trying again in 3 s.");
    expect(retryWords("disconnected", full, 1500)).toBe("");
    const next = nextOutage(full, trying, 4000);
    expect(pictureWords("reconnecting", next).headline).toBe(explain("server-full")?.wrong);
    expect(retryWords("reconnecting", next, 4000)).toBe("Trying again now.");
    const other = nextOutage(next, { ...lost, reason: "the server closed the connection" }, 5000);
    expect(pictureWords("reconnecting", other)).toEqual({
      headline: "Reconnecting…",
      detail: "The server closed the connection.",
    });
    const connected = { ...trying, state: "connected" } as const;
    expect(nextOutage(other, connected, 6000)).toEqual(NO_OUTAGE);
  });

  it("is told of in the server's own words where it turns somebody away, and gave some", () => {
    const refused = (reason: string | null) =>
      pictureWords("failed", { problem: "refused", reason, retryAt: null });
    const { wrong: headline = "", remedy = "" } = explain("refused") ?? {};
    const detail = `The server says: “full (for now)”. ${remedy}`;
    expect(refused("full (for now)")).toEqual({ headline, detail });
    for (const reason of ["", null]) expect(refused(reason)).toEqual({ headline, detail: remedy });
    // Of any other problem the explanation says more.
    const away = { problem: "unreachable", reason: "going away", retryAt: null };
    const other = pictureWords("reconnecting", away);
    expect(other.detail).toBe(explain("unreachable")?.remedy);
  });

  it("is heard as it is read, after the state", () => {
    const { wrong, remedy } = explain("server-full") ?? {};
    const full = { problem: "server-full", reason: null, retryAt: null };
    expect(spokenWords("reconnecting", full)).toBe(`Reconnecting… ${wrong} ${remedy}`);
    const cut = { problem: null, reason: "the media connection is interrupted", retryAt: null };
    expect(spokenWords("reconnecting", cut)).toBe(
      "Reconnecting… The media connection is interrupted.",
    );
    expect(spokenWords("connected", NO_OUTAGE)).toBe("Connected.");
  });

  it("is that UDP is blocked only where there is no relay", () => {
    const turn = [{ urls: "stun:a" }, { urls: ["stun:b", "TURNS:c:443?transport=tcp"] }];
    expect(refine("no-media-path", turn)).toBe("no-media-path");
    expect(refine("no-media-path", [{ urls: "stun:a" }])).toBe("no-udp-path");
    expect(refine("no-media-path", [])).toBe("no-udp-path");
    expect(refine("server-full", [])).toBe("server-full");
    expect(refine(null, [])).toBeNull();
  });

  it("is told of in a sentence, and what to do in another one", () => {
    for (const code of [
      "unreachable",
      "microphone-busy",
      "no-udp-path",
      "refused",
      "autoplay-blocked",
    ]) {
      const { wrong = "", remedy = "" } = explain(code) ?? {};
      expect(wrong).toMatch(/^[A-Z].*\.$/);
      expect(remedy).toMatch(/^[A-Z].*\.$/);
    }
    for (const code of ["of-the-future", "constructor", "", null]) expect(explain(code)).toBeNull();
  });
});

describe("the microphone's level", () => {
  it("goes from a silent room to full scale", () => {
    expect(levelOf(new Float32Array(1024))).toBe(0);
    expect(levelOf(new Float32Array(1024).fill(1))).toBeCloseTo(1, 5);
    expect(levelOf(new Float32Array(1024).fill(10 ** (-30 / 20)))).toBeCloseTo(0.5, 5);
  });
});
