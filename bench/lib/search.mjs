// The search for a capacity: the largest number for which a measurement still says yes.

/** Times a number that failed its confirmation is lowered before the search gives up. */
const MAX_CONFIRMATIONS = 5;

/**
 * @typedef {object} Search
 * @property {(count: number) => Promise<boolean>} probe a short look: whether so many hold
 * @property {(count: number) => Promise<boolean>} confirm a long look at a number that held
 * @property {number} start where to begin: near the answer is quickest
 * @property {number} limit the most to try
 * @property {number} [resolution] share of the answer that is left unknown, 0.05
 * @property {number} [factor] from one number to the next while the answer is not between two, 2
 * @property {boolean} [patient] whether a probe that fails is tried once more, true
 */

/**
 * Doubles (or halves) until the answer lies between two numbers, bisects down to the resolution, and confirms
 * what was found; a number that fails there is lowered by one resolution and confirmed again. A probe that
 * fails is tried once more: other programs share the machine, and one bad second of theirs must not halve the
 * answer.
 * @param {Search} search
 * @returns {Promise<number>} 0 if not even one holds
 */
export async function mostThatHold({ probe, confirm, start, limit, ...search }) {
  const { resolution = 0.05, factor = 2, patient = true } = search;
  const holds = async (/** @type {number} */ count) =>
    (await probe(count)) || (patient && (await probe(count)));
  const step = (/** @type {number} */ count) => Math.max(1, Math.round(count * resolution));

  let [good, bad] = await bracket(holds, start, limit, factor);
  while (bad - good > step(good)) {
    const middle = Math.round((good + bad) / 2);
    if (await holds(middle)) good = middle;
    else bad = middle;
  }
  for (let tries = 0; good > 0 && tries < MAX_CONFIRMATIONS; tries++) {
    if (await confirm(good)) return good;
    good -= step(good);
  }
  return 0;
}

/**
 * @param {(count: number) => Promise<boolean>} holds
 * @param {number} start
 * @param {number} limit
 * @param {number} factor
 * @returns {Promise<[good: number, bad: number]>} at most the factor apart
 */
async function bracket(holds, start, limit, factor) {
  let count = Math.min(start, limit);
  if (await holds(count)) {
    while (count < limit) {
      const more = Math.min(Math.ceil(factor * count), limit);
      if (!(await holds(more))) return [count, more];
      count = more;
    }
    return [limit, limit];
  }
  while (count > 1) {
    const fewer = Math.floor(count / factor);
    if (await holds(fewer)) return [fewer, count];
    count = fewer;
  }
  return [0, 1];
}
