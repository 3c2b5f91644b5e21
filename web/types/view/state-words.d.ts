/**
 * The outage after a `state` event. What was wrong stays in view while a new try is made: it may be wrong still.
 * @param {Outage} before
 * @param {{state: ClientState, problem?: string | null, reason: string | null, retryInMs: number | null}} event
 * @param {number} now
 * @returns {Outage}
 */
export function nextOutage(before: Outage, { state, problem, reason, retryInMs }: {
    state: ClientState;
    problem?: string | null;
    reason: string | null;
    retryInMs: number | null;
}, now: number): Outage;
/**
 * What to write where the picture is to be.
 * @param {ClientState} state
 * @param {Outage} outage
 * @param {string} [hint] while nothing is connected
 * @returns {{headline: string, detail: string}}
 */
export function pictureWords(state: ClientState, { problem, reason }: Outage, hint?: string): {
    headline: string;
    detail: string;
};
/**
 * What a screen reader is to say: the state, and what is wrong.
 * @param {ClientState} state
 * @param {Outage} outage
 */
export function spokenWords(state: ClientState, outage: Outage): string;
/**
 * When the next try is; empty when none is to come.
 * @param {ClientState} state
 * @param {Outage} outage
 * @param {number} now
 */
export function retryWords(state: ClientState, { retryAt }: Outage, now: number): string;
export { isActive } from "../client/situation.js";
/** @typedef {import("../avatar-client.js").ClientState} ClientState */
/**
 * Why there is no connection, and when the next try is, on the clock of `Date.now()`.
 * @typedef {{problem: string | null, reason: string | null, retryAt: number | null}} Outage
 */
/** @type {Outage} */
export const NO_OUTAGE: Outage;
/** @type {Record<ClientState, string>} */
export const STATE_WORDS: Record<ClientState, string>;
export const PRESS_CONNECT: "Press Connect to see the avatar.";
export type ClientState = import("../avatar-client.js").ClientState;
/**
 * Why there is no connection, and when the next try is, on the clock of `Date.now()`.
 */
export type Outage = {
    problem: string | null;
    reason: string | null;
    retryAt: number | null;
};
