// @ts-check
/** Curves of runs: grown by what is new, thinned, drawn. */

import { h } from "./dom.js";
import { exports, purge, react } from "./figure.js";

/** @typedef {import("../types.js").Curves} Curves */

const MOST = 4_000;
export const SERIES = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#7F7F7F"];
const COLUMNS = /** @type {const} */ (["steps", "loss", "lr", "grad_norm", "seconds"]);

/** Older curves with what is new; every second point goes when there are too many. @param {Curves} old @param {Curves} more */
export function grown(old, more) {
  for (const name of COLUMNS) /** @type {any[]} */ (old[name]).push(...more[name] ?? []);
  while (old.steps.length > MOST) for (const name of COLUMNS) /** @type {any[]} */ (old[name]) = old[name].filter((_, i) => i % 2 === 0);
  for (const name of /** @type {const} */ (["evaluations", "certificates", "samples", "notices"])) /** @type {any[]} */ (old[name]).push(...more[name] ?? []);
  return { ...old, rungs: { ...old.rungs, ...more.rungs }, cursor: more.cursor,
    tokens_per_step: more.tokens_per_step || old.tokens_per_step, characters_per_token: more.characters_per_token || old.characters_per_token };
}

/** Bits per character of a loss in nats per token. @param {Curves} curves @param {number | null | undefined} nats */
export const bits = (curves, nats) => (nats == null ? null : nats / Math.LN2 / (curves.characters_per_token || 1));

/** A running mean that forgets: what a noisy curve comes to. @param {(number | null)[]} values */
export function smooth(values, keep = 0.95) {
  let mean = 0, weight = 0;
  return values.map((v) => {
    if (v == null) return null;
    mean = keep * mean + (1 - keep) * v;
    weight = keep * weight + 1 - keep;
    return mean / weight;
  });
}

/** A name that plotly shows as it is. @param {string} text */
export const plain = (text) => text.replaceAll("<", "<\u200b");

/** Places of points. @param {Curves} curves @param {string} by steps, seconds or tokens @param {{step: number, seconds?: number | null}[]} at */
const places = (curves, by, at) => at.map((p) => (by === "steps" ? p.step : by === "tokens" ? p.step * curves.tokens_per_step : p.seconds ?? null));

/** Curves of some runs over each other. @param {string} by */
export function comparison(by) {
  const div = h("div", { class: "plot", role: "img", "aria-label": "Loss of the chosen runs", data: { figure: "comparison" } });
  /** @type {Record<string, Curves>} */ let runs = {};
  const titles = { steps: "step", seconds: "seconds of training", tokens: "tokens read" };
  async function paint() {
    const data = Object.entries(runs).flatMap(([name, c], i) => {
      const shade = SERIES[i % SERIES.length], points = c.steps.map((step, j) => ({ step, seconds: c.seconds[j] }));
      return [
        { x: places(c, by, points), y: smooth(c.loss).map((v) => bits(c, v)), name: plain(`${name}, training`), mode: "lines", line: { color: shade, width: 1 }, opacity: 0.45, legendgroup: name, showlegend: false, hoverinfo: "skip" },
        { x: places(c, by, c.evaluations), y: c.evaluations.map((e) => bits(c, e.val ?? e.train)), name: plain(name), mode: "lines+markers", line: { color: shade, width: 2 }, marker: { size: 5 }, legendgroup: name, hovertemplate: "%{y:.4f} bits per character<extra>%{fullData.name}</extra>" }];
    });
    await react(div, { data, layout: { height: 400, hovermode: "x unified", margin: { l: 56, r: 16, t: 16, b: 44 }, legend: { orientation: "h", y: 1.02, yanchor: "bottom" },
      xaxis: { title: { text: titles[/** @type {"steps"} */ (by)] }, rangemode: "tozero" }, yaxis: { title: { text: "bits per character" } } } });
    div.dataset.runs = Object.keys(runs).join(",");
    div.dataset.by = by;
  }
  return {
    element: h("div", null, div, exports(div, { name: "curves", numbers: () => runs })),
    /** @param {Record<string, Curves>} found */ show(found) { runs = found; return paint(); },
    /** @param {string} other */ along(other) { by = other; return paint(); },
    close: () => purge(div),
  };
}
