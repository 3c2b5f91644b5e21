// Pure arithmetic on measured values.

/**
 * @param {number[]} values
 * @param {number} share 0 to 1
 * @returns {number} the nearest value; NaN of none
 */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.round((sorted.length - 1) * share)] ?? Number.NaN;
}

/**
 * @param {number[]} values
 * @returns {number} the middle one, or the mean of the middle two; NaN of none
 */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length / 2;
  const low = sorted[Math.ceil(half) - 1] ?? Number.NaN;
  return (low + (sorted[Math.floor(half)] ?? Number.NaN)) / 2;
}

/** @param {number[]} values */
export const sum = (values) => values.reduce((total, value) => total + value, 0);

/**
 * The straight line through points that leaves the least squares (ordinary least squares).
 * @param {[x: number, y: number][]} points at least two different x
 * @returns {{ slope: number, intercept: number }}
 */
export function leastSquares(points) {
  const meanX = sum(points.map(([x]) => x)) / points.length;
  const meanY = sum(points.map(([, y]) => y)) / points.length;
  const slope =
    sum(points.map(([x, y]) => (x - meanX) * (y - meanY))) /
    sum(points.map(([x]) => (x - meanX) ** 2));
  return { slope, intercept: meanY - slope * meanX };
}

/**
 * The smallest and the largest of the repetitions, as text.
 * @param {number[]} values
 * @param {number} [digits]
 */
export function range(values, digits = 1) {
  const [low, high] = [Math.min(...values), Math.max(...values)].map((v) => v.toFixed(digits));
  return low === high ? `${low}` : `${low} to ${high}`;
}
