// Charts as SVG text, readable on a light and on a dark page. No dependency.

/**
 * @typedef {{ label: string, log?: boolean, from?: number }} Axis `from` where a linear axis begins, 0
 * @typedef {{ name: string, points: [x: number, y: number][], dashed?: boolean }} Series
 * @typedef {{ title: string, note?: string, x: Axis, y: Axis, series: Series[] }} LineChart
 * @typedef {{ title: string, note?: string, x: Axis, bars: { name: string, value: number }[] }} BarChart
 * @typedef {{ at: (value: number) => number, ticks: number[] }} Scale
 */

const WIDTH = 760;
const HEIGHT = 420;
const FRAME = { left: 76, right: 24, top: 96, bottom: 58 };
const BAR = { top: 68, height: 30, gap: 16, left: 210, right: 70 };

/** Told apart also by those who do not tell red from green (after Okabe and Ito). */
const STYLE = `
  svg { --back: #ffffff; --ink: #1f2328; --soft: #59636e; --grid: #d8dee4;
    --s0: #0072b2; --s1: #d55e00; --s2: #009e73; --s3: #cc79a7; --s4: #8a6d00; }
  @media (prefers-color-scheme: dark) {
    svg { --back: #0d1117; --ink: #e6edf3; --soft: #9198a1; --grid: #30363d;
      --s0: #56b4e9; --s1: #f0883e; --s2: #3fb98b; --s3: #e39bc4; --s4: #e3c34a; }
  }
  text { font: 13px system-ui, "Segoe UI", "Liberation Sans", sans-serif; fill: var(--soft); }
  .title { font-size: 17px; font-weight: 600; fill: var(--ink); }
  .name { fill: var(--ink); }
  .grid { stroke: var(--grid); stroke-width: 1; }
  .axis { stroke: var(--soft); stroke-width: 1; }
  .line { fill: none; stroke-width: 2.5; stroke-linejoin: round; stroke-linecap: round; }
  .dashed { stroke-dasharray: 7 6; }`;

/**
 * @param {LineChart} chart
 * @returns {string} SVG
 */
export function lineChart({ title, note, x, y, series }) {
  const all = series.flatMap(({ points }) => points);
  const right = WIDTH - FRAME.right;
  const bottom = HEIGHT - FRAME.bottom;
  const across = scale(
    x,
    all.map(([value]) => value),
    FRAME.left,
    right,
  );
  const up = scale(
    y,
    all.map(([, value]) => value),
    bottom,
    FRAME.top,
  );
  return svg(HEIGHT, title, note, [
    ...up.ticks.map((tick) => rule(FRAME.left, up.at(tick), right, up.at(tick), "grid")),
    ...up.ticks.map((tick) => label(FRAME.left - 10, up.at(tick) + 4, number(tick), "end")),
    ...across.ticks.map((tick) => rule(across.at(tick), bottom, across.at(tick), bottom + 5)),
    ...across.ticks.map((tick) => label(across.at(tick), bottom + 21, number(tick), "middle")),
    rule(FRAME.left, bottom, right, bottom),
    label((FRAME.left + right) / 2, HEIGHT - 12, x.label, "middle"),
    `<text text-anchor="middle" transform="translate(18 ${(FRAME.top + bottom) / 2}) rotate(-90)">${escaped(y.label)}</text>`,
    ...series.map((line, n) => curve(line, n, across, up)),
    ...legend(series),
  ]);
}

/**
 * Horizontal bars, each with its value behind it.
 * @param {BarChart} chart
 * @returns {string} SVG
 */
export function barChart({ title, note, x, bars }) {
  const bottom = BAR.top + bars.length * (BAR.height + BAR.gap);
  const right = WIDTH - BAR.right;
  const across = scale(
    x,
    bars.map(({ value }) => value),
    BAR.left,
    right,
    true,
  );
  return svg(bottom + FRAME.bottom, title, note, [
    ...across.ticks.map((tick) => rule(across.at(tick), BAR.top, across.at(tick), bottom, "grid")),
    ...across.ticks.map((tick) => label(across.at(tick), bottom + 20, number(tick), "middle")),
    ...bars.flatMap(({ name, value }, n) => {
      const top = BAR.top + n * (BAR.height + BAR.gap) + BAR.gap / 2;
      const end = across.at(value);
      const middle = top + BAR.height / 2 + 4;
      return [
        `<rect x="${BAR.left}" y="${top}" width="${fixed(end - BAR.left)}" height="${BAR.height}" rx="2" style="fill:var(--s${n % 5})"/>`,
        label(BAR.left - 12, middle, name, "end", "name"),
        label(end + 8, middle, number(value), "start", "name"),
      ];
    }),
    rule(BAR.left, BAR.top, BAR.left, bottom),
    label((BAR.left + right) / 2, bottom + 46, x.label, "middle"),
  ]);
}

/**
 * @param {number} height
 * @param {string} title
 * @param {string | undefined} note
 * @param {string[]} parts
 */
function svg(height, title, note, parts) {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escaped(title)}">`,
    `<style>${STYLE}\n</style>`,
    `<rect width="${WIDTH}" height="${height}" style="fill:var(--back)"/>`,
    label(24, 30, title, "start", "title"),
    ...(note ? [label(24, 50, note)] : []),
    ...parts,
    "</svg>\n",
  ].join("\n");
}

/**
 * @param {Axis} axis
 * @param {number[]} values
 * @param {number} from the pixel of its beginning
 * @param {number} to the pixel of its end
 * @param {boolean} [wide] whether a logarithmic axis begins a power of ten early, so that the least bar has a length
 * @returns {Scale}
 */
function scale({ log, from: origin = 0 }, values, from, to, wide = false) {
  const known = values.filter((value) => Number.isFinite(value) && (!log || value > 0));
  const most = Math.max(...known, log ? 1 : origin + 1e-9);
  const ticks = log ? powers(Math.min(...known, most), most, wide) : roundTicks(origin, most);
  const low = /** @type {number} */ (ticks[0]);
  const high = /** @type {number} */ (ticks.at(-1));
  const share = log
    ? (/** @type {number} */ value) => Math.log(value / low) / Math.log(high / low)
    : (/** @type {number} */ value) => (value - low) / (high - low);
  return { ticks, at: (value) => Number(fixed(from + share(value) * (to - from))) };
}

/**
 * @param {number} low
 * @param {number} high
 * @param {boolean} wide
 */
function powers(low, high, wide) {
  const first = Math.floor(Math.log10(low)) - (wide && Number.isInteger(Math.log10(low)) ? 1 : 0);
  const last = Math.max(first + 1, Math.ceil(Math.log10(high) - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, n) => 10 ** (first + n));
}

/**
 * Four to eight steps of 1, 2 or 5 times a power of ten.
 * @param {number} low
 * @param {number} high
 */
function roundTicks(low, high) {
  const rough = (high - low) / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10);
  const count = Math.ceil((high - low) / step - 1e-9);
  return Array.from({ length: count + 1 }, (_, n) => Number((low + n * step).toPrecision(12)));
}

/**
 * @param {Series} series
 * @param {number} n
 * @param {Scale} across
 * @param {Scale} up
 */
function curve({ points, dashed }, n, across, up) {
  const known = points.filter(([, y]) => Number.isFinite(y));
  const path = known.map(([x, y], at) => `${at === 0 ? "M" : "L"}${across.at(x)} ${up.at(y)}`);
  const dots = known.map(
    ([x, y]) => `<circle cx="${across.at(x)}" cy="${up.at(y)}" r="3.5" style="fill:${colour(n)}"/>`,
  );
  const kind = dashed ? "line dashed" : "line";
  return `<path class="${kind}" d="${path.join("")}" style="stroke:${colour(n)}"/>${dots.join("")}`;
}

/** @param {Series[]} series @returns {string[]} in one row above the frame */
function legend(series) {
  let left = FRAME.left;
  return series.flatMap(({ name, dashed }, n) => {
    const at = left;
    left += 52 + 7.2 * name.length;
    return [
      `<path class="${dashed ? "line dashed" : "line"}" d="M${at} ${FRAME.top - 24}h22" style="stroke:${colour(n)}"/>`,
      label(at + 30, FRAME.top - 20, name, "start", "name"),
    ];
  });
}

/**
 * @param {number} x1
 * @param {number} y1
 * @param {number} x2
 * @param {number} y2
 * @param {"axis" | "grid"} [kind]
 */
const rule = (x1, y1, x2, y2, kind = "axis") =>
  `<line class="${kind}" x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}"/>`;

/**
 * @param {number} x
 * @param {number} y
 * @param {string} text
 * @param {"start" | "middle" | "end"} [anchor]
 * @param {string} [kind]
 */
const label = (x, y, text, anchor = "start", kind = "text") =>
  `<text class="${kind}" x="${fixed(x)}" y="${fixed(y)}" text-anchor="${anchor}">${escaped(text)}</text>`;

/** @param {number} n */
const colour = (n) => `var(--s${n % 5})`;

/** @param {number} value */
const fixed = (value) => String(Math.round(value * 10) / 10);

/** @param {number} value */
const number = (value) =>
  Math.abs(value) >= 1000
    ? Math.round(value).toLocaleString("en-GB")
    : String(Number(value.toPrecision(3)));

/** @param {string} text */
const escaped = (text) =>
  text.replace(/[&<>"]/g, (sign) => `&#${/** @type {number} */ (sign.codePointAt(0))};`);
