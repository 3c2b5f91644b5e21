// A small plot over time: uPlot with our look, in a box that tells its newest values in words too.

import uPlot from "../vendor/uplot/uPlot.esm.js";
import { ago, quantity, scale } from "./plot-scale.js";

/**
 * @typedef {object} PlotOptions
 * @property {string} label what is plotted
 * @property {string} unit such as "ms"; "b/s" is shown with k, M and G; empty for a number of things
 * @property {{label: string, colour: string}[]} series colour: a CSS variable, read anew whenever it is drawn
 * @property {number} [seconds] how far it looks back at most, 120
 * @property {number} [min] where the scale begins; just below the values otherwise
 */

const STYLESHEET = new URL("plot.css", import.meta.url).href;
/** Longer without values is a gap in the line: the page was hidden, or nobody answered. */
const GAP_SECONDS = 5;
/** How far it looks back, in seconds: no further than there are values for. */
const SPANS = [60, 120, 300];
const FONT = "11px system-ui, sans-serif";

export class Plot {
  #options;
  #element;
  #body = box("div", "plot-body");
  /** Where each series' colour and value stand. @type {{mark: HTMLElement, value: HTMLElement}[]} */
  #keys = [];
  /** The unit of several series, which then is not repeated, and how long ago the pointer is. */
  #aside = box("span");
  /** Times in seconds, then the values of each series. @type {(number | null)[][]} */
  #data;
  /** Made once the box has a size. @type {uPlot | null} */
  #chart = null;
  #resizes = new ResizeObserver(([entry]) => entry && this.#fit(entry.contentRect));
  #ending = new AbortController();

  /** @param {HTMLElement} element gets the plot as its content; its size is the page's @param {PlotOptions} options */
  constructor(element, options) {
    this.#element = element;
    this.#options = { seconds: 120, ...options };
    this.#data = [[], ...options.series.map(() => [])];
    const label = box("span", "plot-label", box("b", "", options.label), " ", this.#aside);
    const keys = options.series.map(({ label, colour }, _, { length }) => {
      const key = { mark: box("i", "plot-mark"), value: box("b") };
      key.mark.style.color = `var(${colour})`;
      this.#keys.push(key);
      const name = length > 1 ? `${label} ` : "";
      return box("span", length > 1 ? "plot-key" : "plot-key alone", key.mark, name, key.value);
    });
    element.classList.add("plot");
    element.setAttribute("role", "img");
    element.replaceChildren(box("div", "plot-head", label, ...keys), this.#body);
    this.#tell();
    const redraw = () => this.#chart?.redraw();
    const { signal } = this.#ending;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw, { signal });
    stylesheet(element).addEventListener("load", redraw, { signal });
    this.#resizes.observe(this.#body);
  }

  /** @param {number} timeMs later than that before; else the clock was set, and the plot begins anew @param {(number | null)[]} values of each series; null where there is none */
  add(timeMs, values) {
    const time = timeMs / 1000;
    const last = this.#data[0]?.at(-1) ?? time;
    if (time < last) this.clear();
    else if (time - last > GAP_SECONDS) this.#append(time - 0.001, []);
    this.#append(time, values);
    this.#show();
  }

  /** Forgets every value. */
  clear() {
    for (const column of this.#data) column.length = 0;
    this.#show();
  }

  /** Leaves the element empty, as it was. */
  destroy() {
    this.#ending.abort();
    this.#resizes.disconnect();
    this.#chart?.destroy();
    this.#chart = null;
    this.#element.replaceChildren();
    this.#element.classList.remove("plot");
    for (const name of ["role", "aria-label"]) this.#element.removeAttribute(name);
  }

  /** @param {number} time @param {(number | null)[]} values */
  #append(time, values) {
    const [times = [], ...series] = this.#data;
    times.push(time);
    for (const [n, column] of series.entries()) column.push(values[n] ?? null);
    const old = times.findIndex((t) => t !== null && t >= time - this.#options.seconds);
    if (old > 0) for (const column of this.#data) column.splice(0, old);
  }

  #show() {
    // Nobody looks at a hidden page: what came in the meantime is drawn with the next values.
    if (document.visibilityState === "visible") this.#chart?.setData(this.#aligned());
    this.#tell();
  }

  #aligned() {
    return /** @type {uPlot.AlignedData} */ (/** @type {unknown} */ (this.#data));
  }

  /** Writes the newest values, or those under the pointer. */
  #tell() {
    const { label, unit, series } = this.#options;
    const isOne = series.length === 1;
    const [times = [], ...columns] = this.#data;
    const pointed = this.#chart?.cursor.idx ?? null;
    const at = (/** @type {number} */ n, index = -1) => columns[n]?.at(index) ?? null;
    for (const [n, { value }] of this.#keys.entries())
      value.textContent = quantity(at(n, pointed ?? -1), unit, isOne);
    const seconds = pointed === null ? 0 : (times.at(-1) ?? 0) - (times[pointed] ?? 0);
    this.#aside.textContent = seconds > 0 ? ago(seconds) : isOne ? "" : unit;
    const newest = series.map(
      (one, n) => `${isOne ? "" : `${one.label} `}${quantity(at(n), unit)}`,
    );
    this.#element.setAttribute("aria-label", `${label}: ${newest.join(", ")}`);
  }

  /** @param {{width: number, height: number}} size */
  #fit({ width, height }) {
    if (width === 0 || height === 0) return; // Not shown.
    if (this.#chart) this.#chart.setSize({ width, height });
    else this.#chart = new uPlot(this.#settings(width, height), this.#aligned(), this.#body);
  }

  /** @param {number} width @param {number} height @returns {uPlot.Options} */
  #settings(width, height) {
    const { seconds, unit, min, series } = this.#options;
    const ink = () => getComputedStyle(this.#body).color;
    const colour = (/** @type {number} */ n) =>
      getComputedStyle(this.#keys[n]?.mark ?? this.#body).color;
    const line = { stroke: () => faint(ink(), 18), width: 1 };
    const axis = { stroke: ink, font: FONT, ticks: { show: false }, gap: 8, space: 1 };
    const ends = (
      /** @type {uPlot} */ _,
      /** @type {number} */ __,
      /** @type {number} */ from,
      /** @type {number} */ to,
    ) => [from, (from + to) / 2, to];
    return {
      width,
      height,
      padding: [8, 16, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: false, y: false },
        sync: { key: "plots" },
        points: { size: 6 },
      },
      hooks: { setCursor: [() => this.#tell()] },
      scales: {
        x: {
          time: false,
          range: (_, from, to) => {
            const reach = (to ?? 0) - (from ?? 0);
            return [
              (to ?? 0) - Math.min(seconds, SPANS.find((span) => span >= reach) ?? seconds),
              to ?? 0,
            ];
          },
        },
        y: { range: (_, from, to) => scale(from, to, min, unit === "" ? 2 : 1) },
      },
      axes: [
        {
          ...axis,
          size: 24,
          grid: { show: false },
          splits: ends,
          values: (_, at) => at.map((time) => ago((at.at(-1) ?? 0) - time)),
        },
        {
          ...axis,
          size: 42,
          grid: line,
          splits: ends,
          values: (_, at) => at.map((value) => quantity(value, unit, false)),
        },
      ],
      series: [
        {},
        ...series.map((_, n) => ({
          stroke: () => colour(n),
          width: 1.75,
          points: { show: false },
          ...(series.length === 1 ? { fill: () => faint(colour(n), 14) } : {}),
        })),
      ],
    };
  }
}

/** @param {string} colour as computed: "rgb(1, 2, 3)" @param {number} percent */
function faint(colour, percent) {
  return colour.replaceAll(",", "").replace(")", ` / ${percent}%)`);
}

/** The stylesheet in the document or shadow tree of an element, which may still be loading. @param {HTMLElement} element */
function stylesheet(element) {
  const root = element.getRootNode();
  const parent = root instanceof ShadowRoot ? root : document.head;
  const there = [...parent.querySelectorAll("link")].find(({ href }) => href === STYLESHEET);
  if (there) return there;
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = STYLESHEET;
  parent.append(link);
  return link;
}

/** @param {string} name @param {string} classes @param {(Node | string)[]} content */
function box(name, classes = "", ...content) {
  const element = document.createElement(name);
  element.className = classes;
  element.append(...content);
  return element;
}
