// The numbers of a plot: where its scale begins and ends, and what its values and times are called. Pure.

/** Lengths of scales, whose halves are easy numbers as well. */
const ROUND = [1, 2, 4, 6, 8, 10];
const PREFIXES = ["", "k", "M", "G", "T"];

/**
 * A scale that holds the values and changes seldom: it begins at `min` or at a round number, and its length is one.
 * @param {number | null} from the smallest value; null if there are none
 * @param {number | null} to
 * @param {number | undefined} min
 * @param {number} least length
 * @returns {[from: number, to: number]}
 */
export function scale(from, to, min, least) {
  const smallest = from ?? min ?? 0;
  const largest = to ?? smallest;
  const step = powerOfTen(Math.max(least, largest - smallest));
  const low = min ?? Math.floor(smallest / step) * step;
  const length = Math.max(least, largest - low);
  const power = powerOfTen(length);
  return [low, low + power * (ROUND.find((round) => round * power >= length) ?? 10)];
}

/** A value in words. @param {number | null} value @param {string} unit "b/s" and "B" with k, M and G @param {boolean} [isUnitSaid] */
export function quantity(value, unit, isUnitSaid = true) {
  if (value === null) return "–";
  const isScaled = /^b/i.test(unit);
  const power = isScaled ? Math.floor(Math.log10(Math.max(1, Math.abs(value))) / 3) : 0;
  const number = value / 1000 ** power;
  const digits = Number.isInteger(number) || Math.abs(number) >= 100 ? 0 : 1;
  const words = number.toFixed(digits);
  const prefix = PREFIXES[power] ?? "";
  return isUnitSaid ? `${words} ${prefix}${unit}`.trim() : words + prefix;
}

/** A time in words. @param {number} seconds before the newest */
export function ago(seconds) {
  const whole = Math.round(seconds);
  if (whole === 0) return "now";
  return whole >= 60 && whole % 60 === 0 ? `−${whole / 60} min` : `−${whole} s`;
}

/** The largest that is not above it. @param {number} value */
function powerOfTen(value) {
  return 10 ** Math.floor(Math.log10(value));
}
