// The usual Node answer: one RTCPeerConnection of @roamhq/wrtc for each viewer, fed from one picture and one
// sound source. Arguments: the address to listen on, a file of I420 pictures.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { asset, readWav, steadily } from "../../examples/support.mjs";
import { FPS, SIZE } from "../programs/frames.mjs";
import { serve } from "./signalling.mjs";

// Its own package.json brings it, so that types do not depend on whether it is there.
const { RTCPeerConnection, MediaStream, nonstandard } = createRequire(import.meta.url)(
  "@roamhq/wrtc",
);

/** Our stream's rate. */
const KILOBITS = 1000;

const [host = "127.0.0.1", file = ""] = process.argv.slice(2);
const pictureBytes = (SIZE * SIZE * 3) / 2;
const raw = readFileSync(file);
// It takes buffers that hold nothing but one picture.
const pictures = Array.from(
  { length: raw.length / pictureBytes },
  (_, n) => new Uint8ClampedArray(raw.subarray(n * pictureBytes, (n + 1) * pictureBytes)),
);
const video = new nonstandard.RTCVideoSource();
const audio = new nonstandard.RTCAudioSource();
const tracks = [video.createTrack(), audio.createTrack()];
const stream = new MediaStream(tracks);

steadily(FPS, (n) => {
  video.onFrame({ width: SIZE, height: SIZE, data: pictures[n % pictures.length] });
});

const speech = readWav(asset("speech-24k.wav"));
// 10 ms, which is what libwebrtc takes.
const samples = speech.sampleRate / 100;
const sound = new Int16Array(
  speech.data.buffer.slice(
    speech.data.byteOffset,
    speech.data.byteOffset + (speech.data.length & ~1),
  ),
);
steadily(100, (n) => {
  const at = (n % Math.floor(sound.length / samples)) * samples;
  audio.onData({
    samples: sound.slice(at, at + samples),
    sampleRate: speech.sampleRate,
    bitsPerSample: 16,
    channelCount: 1,
    numberOfFrames: samples,
  });
});

serve(host, (send) => {
  const connection = new RTCPeerConnection();
  for (const track of tracks) connection.addTrack(track, stream);
  connection.onicecandidate = (/** @type {any} */ { candidate }) => {
    if (candidate) send({ type: "ice-candidate", data: candidate });
  };
  const answer = async (/** @type {any} */ offer) => {
    await connection.setRemoteDescription({ type: "offer", sdp: prepared(offer.sdp) });
    const { type, sdp } = await connection.createAnswer();
    await connection.setLocalDescription({ type, sdp });
    send({ type: "answer", data: { type, sdp } });
  };
  return {
    onMessage: ({ type, data }) => {
      const done =
        type === "offer"
          ? answer(data)
          : type === "ice-candidate"
            ? connection.addIceCandidate(data)
            : undefined;
      done?.catch((/** @type {Error} */ { message }) => send({ type: "error", error: message }));
    },
    onClose: () => connection.close(),
  };
});

/**
 * What makes it comparable: the viewer begins the DTLS handshake, as it does with our server; and the rate is
 * ours, where libwebrtc would stay at the 300 kb/s that it begins with, since no bandwidth estimate comes back.
 * @param {string} sdp
 */
function prepared(sdp) {
  const rates = ["min", "start", "max"].map((rate) => `x-google-${rate}-bitrate=${KILOBITS}`);
  return sdp
    .replaceAll("a=setup:actpass", "a=setup:active")
    .replace(/a=rtpmap:(\d+) VP8\/90000\r\n/, `$&a=fmtp:$1 ${rates.join(";")}\r\n`);
}
