// What a process of this machine took, read from outside: CPU time by thread, and memory.

import { readdirSync, readFileSync } from "node:fs";

/**
 * @typedef {object} Spent
 * @property {number} seconds of wall time
 * @property {number} cpuSeconds of all threads
 * @property {Record<string, number>} threads CPU seconds by thread name
 */

/** Begins at once; each `lap` says what was spent since. */
export class CpuClock {
  #pid;
  #at = 0;
  #threads = /** @type {ReturnType<typeof threadTimes>} */ (new Map());

  /** @param {number} pid */
  constructor(pid) {
    this.#pid = pid;
    this.reset();
  }

  reset() {
    this.#at = performance.now();
    this.#threads = threadTimes(this.#pid);
  }

  /** @returns {Spent} since the start or the last `reset` */
  lap() {
    const seconds = (performance.now() - this.#at) / 1000;
    /** @type {Record<string, number>} */
    const threads = {};
    let cpuSeconds = 0;
    for (const [id, { name, ms }] of threadTimes(this.#pid)) {
      const spent = (ms - (this.#threads.get(id)?.ms ?? 0)) / 1000;
      threads[name] = (threads[name] ?? 0) + spent;
      cpuSeconds += spent;
    }
    return { seconds, cpuSeconds, threads };
  }
}

/**
 * @param {Spent} spent
 * @param {RegExp} name
 * @returns {number} CPU seconds of the threads whose name matches
 */
export function threadSeconds({ threads }, name) {
  return Object.entries(threads)
    .filter(([thread]) => name.test(thread))
    .reduce((total, [, seconds]) => total + seconds, 0);
}

/**
 * @param {number} pid
 * @param {RegExp} name
 * @returns {number} how many of its threads are called so
 */
export function countThreads(pid, name) {
  return [...threadTimes(pid).values()].filter((thread) => name.test(thread.name)).length;
}

/**
 * @param {number} pid
 * @returns {number} its resident memory in bytes (VmRSS of proc(5))
 */
export function residentBytes(pid) {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return 1024 * Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]);
}

/**
 * Each thread's time on a CPU: `/proc/PID/task/ID/schedstat`, first field, in ns. Unlike the user and system
 * times of proc(5), it is not counted in ticks of 10 ms.
 * @param {number} pid
 */
function threadTimes(pid) {
  /** @type {Map<string, { name: string, ms: number }>} */
  const times = new Map();
  for (const id of readdirSync(`/proc/${pid}/task`)) {
    try {
      const name = readFileSync(`/proc/${pid}/task/${id}/comm`, "utf8").trim();
      const [ns] = readFileSync(`/proc/${pid}/task/${id}/schedstat`, "utf8").split(" ");
      times.set(id, { name, ms: Number(ns) / 1e6 });
    } catch {
      // It ended meanwhile.
    }
  }
  return times;
}
