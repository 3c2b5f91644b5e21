// The connection's figures: each as a number, and those that change as small plots.

import { format } from "../client/statistics.js";
import { Plot } from "../plot/plot.js";
import { element } from "../view/dom.js";

/** @typedef {import("../client/statistics.js").Metrics} Metrics */
/** @typedef {(metrics: Metrics) => number | null} Reading */

const SECONDS = 120;

/**
 * The plots, by the id of their element.
 * @type {Record<string, {label: string, unit: string, series: {label: string, of: Reading}[]}>}
 */
const PLOTS = {
  "plot-delay": {
    label: "Delay",
    unit: "ms",
    series: [
      { label: "latency", of: ({ latencyMs }) => latencyMs },
      { label: "buffer", of: ({ jitterBufferMs }) => jitterBufferMs },
    ],
  },
  "plot-bitrate": {
    label: "Bitrate",
    unit: "b/s",
    series: [{ label: "received", of: ({ bitrateBps }) => bitrateBps }],
  },
  "plot-fps": {
    label: "Frame rate",
    unit: "fps",
    series: [{ label: "decoded", of: ({ fps }) => fps }],
  },
  "plot-loss": {
    label: "Packet loss",
    unit: "%",
    series: [{ label: "lost", of: ({ lossPercent }) => lossPercent }],
  },
};

export class MetricsPanel {
  #latencyKind = element("latency-kind");
  #plots = Object.entries(PLOTS).map(([id, { label, unit, series }]) => ({
    readings: series.map(({ of }) => of),
    plot: new Plot(element(id), {
      label,
      unit,
      series: series.map(({ label }, at) => ({ label, colour: `--series-${at + 1}` })),
      seconds: SECONDS,
      min: 0,
    }),
  }));

  /** @param {Metrics | null} metrics null while there is no connection: the plots then have a gap */
  show(metrics) {
    for (const [name, text] of Object.entries(format(metrics))) {
      const tile = document.querySelector(`[data-metric="${name}"]`);
      if (tile) tile.textContent = text;
    }
    this.#latencyKind.textContent = metrics?.latencyIsMeasured ? "measured" : "estimated";
    this.#latencyKind.hidden = typeof metrics?.latencyMs !== "number";
    const now = Date.now();
    for (const { plot, readings } of this.#plots) {
      plot.add(
        now,
        readings.map((reading) => (metrics ? reading(metrics) : null)),
      );
    }
  }
}
