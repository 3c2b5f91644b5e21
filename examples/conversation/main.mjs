// A conversation: the microphone to a recogniser, its text to a reply, the reply to a synthesiser and a face.
//   npm run example:conversation
//   npm run example:conversation -- [TEXT] [--port N] [--seconds N]
// TEXT is answered as soon as somebody watches, as if they had said it. WHISPER_URL, XTTS_URL and LIVEPORTRAIT_URL are
// services to use instead of the stand-ins on this machine; recogniser.mjs, synthesiser.mjs and face.mjs tell how each
// is called.

import { options, startSystem, steadily, untilStopped } from "../support.mjs";
import { Dialogue } from "./dialogue.mjs";
import { face } from "./face.mjs";
import { recogniser } from "./recogniser.mjs";
import { reply } from "./reply.mjs";
import { setUpConversation } from "./setup.mjs";
import { synthesiser } from "./synthesiser.mjs";

const FPS = 30;

const { port, seconds, positionals } = options();
setUpConversation();
const stopped = untilStopped(seconds); // from the start on, so that Ctrl-C always ends it cleanly
const system = await startSystem(port);
const { bridge } = system;
console.log("Switch the microphone on and speak");

const dialogue = new Dialogue(system, {
  recognise: recogniser(),
  reply,
  synthesise: synthesiser(),
});

const draw = face();
const stopping = new AbortController();
let drawing = false;
const endVideo = steadily(FPS, async () => {
  if (drawing) return; // a face that is slower than 30 a second gets as many as it can draw
  drawing = true;
  try {
    const { opening, isSpeaking: speaking } = dialogue.voice;
    const picture = await draw({ opening, speaking }, stopping.signal);
    bridge.pushVideoFrame({ ...picture, timestamp: Date.now() });
  } catch (error) {
    if (!stopping.signal.aborted) console.error(/** @type {Error} */ (error).message);
  } finally {
    drawing = false;
  }
});

const [text] = positionals;
if (text) {
  // Not before somebody can hear the answer: a peer is there before its media are.
  const waiting = setInterval(() => {
    if (!system.server.getPeers().some(({ state }) => state === "connected")) return;
    clearInterval(waiting);
    dialogue.answer(text);
  }, 100);
  stopping.signal.addEventListener("abort", () => clearInterval(waiting));
}

await stopped;
dialogue.stop();
stopping.abort();
endVideo();
await system.stop();
console.log("Stopped");
