/**
 * @param {string | null | undefined} code
 * @returns {Explanation | null} null for a code that is not known here: a newer client's
 */
export function explain(code: string | null | undefined): Explanation | null;
/**
 * Tells the two reasons apart for which no media comes: what helps is not the same.
 * @param {string | null} code
 * @param {RTCIceServer[]} iceServers those of the connection that failed
 * @returns {string | null}
 */
export function refine(code: string | null, iceServers: RTCIceServer[]): string | null;
/**
 * Why `getUserMedia` gave no microphone: https://www.w3.org/TR/mediacapture-streams/#dom-mediadevices-getusermedia
 * @param {unknown} error
 * @returns {MicrophoneProblem}
 */
export function microphoneProblem(error: unknown): MicrophoneProblem;
/**
 * The client's codes (`state` events), and what only a page can notice.
 */
export type ConnectionProblem = "unreachable" | "server-full" | "no-media-path" | "no-udp-path" | "no-shared-codec" | "version-mismatch" | "no-webrtc" | "bad-address" | "refused";
/**
 * The client's codes (`state` events), and what only a page can notice.
 */
export type MicrophoneProblem = "insecure-context" | "microphone-denied" | "microphone-missing" | "microphone-busy" | "microphone-lost" | "microphone-failed";
/**
 * The client's codes (`state` events), and what only a page can notice.
 */
export type PlaybackProblem = "autoplay-blocked";
/**
 * The client's codes (`state` events), and what only a page can notice.
 */
export type ProblemCode = ConnectionProblem | MicrophoneProblem | PlaybackProblem;
export type Explanation = {
    wrong: string;
    remedy: string;
};
