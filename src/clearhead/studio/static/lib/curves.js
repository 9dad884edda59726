// @ts-check
/** Curves of runs: grown by what is new, thinned, drawn. */

import { h, segments } from "./dom.js";
import { exports, purge, react } from "./figure.js";

/** @import {Curves} from "../types.js" */

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

/** A running mean that forgets, over a fortieth of the curve: what its noise is about. @param {(number | null)[]} values */
export function smooth(values) {
  const keep = Math.max(0, 1 - 40 / values.length);
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

/** Where steps lie along an axis. @param {Curves} curves @param {string} by steps, seconds or tokens @param {{step: number, seconds?: number | null}[]} at */
const places = (curves, by, at) => at.map((p) => (by === "steps" ? p.step : by === "tokens" ? p.step * curves.tokens_per_step : p.seconds ?? null));
/** Buttons for it. @param {string} by @param {(by: string) => void} change */
export const along = (by, change) => segments("Along", [["steps", "Steps"], ["seconds", "Seconds"], ["tokens", "Tokens"]], by, change);
/** @type {Record<string, string>} */
export const AXES = { steps: "step", seconds: "seconds of training", tokens: "tokens read" };

/**
 * A card with one picture that is drawn again and again.
 * @param {string} name @param {string} title @param {any} layout @param {() => any} numbers @param {...any} tools beside the title
 */
export function chart(name, title, layout, numbers, ...tools) {
  const div = h("div", { class: "plot", role: "img", "aria-label": title, data: { figure: name }, style: { height: `${layout.height}px` } });
  const base = { hovermode: "x unified", margin: { l: 52, r: 12, t: 8, b: 36 }, showlegend: false, ...layout };
  return {
    div,
    element: h("figure", { class: "card" }, h("div", { class: "row apart" }, h("h2", null, title), tools), div, exports(div, { name, numbers })),
    /** @param {any[]} data @param {any} [more] of the layout */
    paint: (data, more) => react(div, { data, layout: { ...base, ...more } }),
    close: () => purge(div),
  };
}

/** The lines of one run: its batches, smoothed, and its evaluations. @param {Curves} c @param {string} by @param {string} name @param {string} shade */
export function lines(c, by, name, shade) {
  const x = places(c, by, c.steps.map((step, i) => ({ step, seconds: c.seconds[i] })));
  return [
    { x, y: smooth(c.loss).map((v) => bits(c, v)), name: plain(`${name} training`), line: { color: shade, width: 1 }, opacity: 0.5, hovertemplate: "%{y:.3f}", mode: "lines", legendgroup: name, showlegend: false },
    { x: places(c, by, c.evaluations), y: c.evaluations.map((e) => bits(c, e.val ?? e.train)), name: plain(`${name} validation`), line: { color: shade, width: 2 }, marker: { size: 6 }, hovertemplate: "%{y:.4f}", mode: "lines+markers", legendgroup: name }];
}

/** Curves of some runs over each other. @param {string} by @param {...any} tools */
export function comparison(by, ...tools) {
  /** @type {Record<string, Curves>} */ let runs = {};
  const made = chart("comparison", "Curves", { height: 400, showlegend: true, legend: { orientation: "h", y: 1.02, yanchor: "bottom" } }, () => runs, tools);
  async function paint() {
    await made.paint(Object.entries(runs).flatMap(([name, c], i) => lines(c, by, name, SERIES[i % SERIES.length])),
      { xaxis: { title: { text: AXES[by] }, rangemode: "tozero" }, yaxis: { title: { text: "bits per character" } } });
    Object.assign(made.div.dataset, { runs: Object.keys(runs).join(","), by });
  }
  return { ...made,
    /** @param {Record<string, Curves>} found */ show(found) { runs = found; return paint(); },
    /** @param {string} other */ along(other) { by = other; return paint(); } };
}
