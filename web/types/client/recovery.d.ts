/**
 * @param {Situation} before
 * @param {Happening} event
 * @param {number} now in ms
 * @param {number} [random] in [0, 1)
 * @returns {{situation: Situation, actions: Action[]}}
 */
export function recover(before: Situation, event: Happening, now: number, random?: number): {
    situation: Situation;
    actions: Action[];
};
export type Situation = import("./situation.js").Situation;
export type Happening = import("./situation.js").Happening;
export type Action = import("./situation.js").Action;
export type Timer = import("./situation.js").Timer;
export type ClientState = import("../avatar-client.js").ClientState;
export type Problem = import("../avatar-client.js").Problem;
