// @ts-check
/** One head as lines between two columns of tokens, and as the square of its numbers, stage by stage. */

import { lists } from "./arrays.js";
import { darkest, picture, pixels, ramp, reach, shade } from "./canvas.js";
import { fill, h, segments } from "./dom.js";
import { colour } from "./figure.js";

const SHOWN = 40, ROW = 16;

/** @param {Element} place @param {any} one a head's chain @param {(position: number) => void} looked */
export function headLines(place, one, looked) {
  const T = one.tokens.length, first = Math.max(0, Math.min(T - SHOWN, one.row - Math.floor(SHOWN * 0.75))), last = Math.min(T, first + SHOWN);
  const widest = Math.min(12, Math.max(...one.tokens.slice(first, last).map((/** @type {string} */ t) => t.length)));
  const strongest = darkest(one.wei, T, T), y = (/** @type {number} */ t) => (t - first + 0.5) * ROW + 4, left = (widest + 6) * 7.3, token = (/** @type {number} */ t) => one.tokens[t].slice(0, widest);
  const lines = (/** @type {any} */ pen, /** @type {number} */ w, /** @type {(t: number, s: number) => boolean} */ which, least = 0.02, strength = 1) => {
    for (let t = first; t < last; t++) for (let s = first; s < last; s++) {
      const weight = one.wei[t * T + s] / strongest;
      if (weight > least && which(t, s)) pen.line(left, y(t), w - left, y(s), colour("accent"), 0.5 + 2.5 * Math.min(1, weight), Math.min(1, weight * strength));
    }
  };
  const names = (/** @type {any} */ pen, /** @type {number} */ w) => {
    for (let t = first; t < last; t++) {
      pen.text(`${t}`, left - (widest + 2) * 7.3, y(t), { size: 10, align: "right", fill: colour("muted") });
      pen.text(token(t), left - 8, y(t), { align: "right", bold: t === one.row, fill: colour(t === one.row ? "accent" : "ink") });
      pen.text(token(t), w - left + 8, y(t), {});
    }
  };
  const told = (/** @type {number} */ t) => [...one.wei.subarray(t * T, t * T + T)].map((v, s) => /** @type {[number, number]} */ ([v, s])).sort((a, b) => b[0] - a[0]).slice(0, 4)
    .map(([v, s]) => `${s} “${one.tokens[s]}” ${v.toFixed(3)}`).join(", ");
  picture(place, {
    name: `head-${one.layer}.${one.head}-lines`, label: "Lines from each token to what it looks at; the stronger a line, the larger the weight", height: () => (last - first) * ROW + 8,
    draw: (pen, w) => { lines(pen, w, (t) => t !== one.row, 0.02, 0.6); lines(pen, w, (t) => t === one.row, 0.002, 1.5); names(pen, w); },
    find: (x, at, w) => { const t = first + Math.floor((at - 4) / ROW); return t >= first && t < last ? { t, looks: x < w / 2 } : null; },
    light: (pen, { t, looks }, w) => {
      pen.rect(0, 0, w, (last - first) * ROW + 8, colour("card"));
      lines(pen, w, (a, b) => (looks ? a : b) === t, 0.002, 1.5);
      pen.rect(looks ? 0 : w - left + 2, y(t) - ROW / 2, left - 2, ROW, colour("accent-soft"));
      names(pen, w);
    },
    tell: ({ t, looks }) => (looks ? `${t} “${one.tokens[t]}” looks at ${told(t)}` : `${t} “${one.tokens[t]}” is looked at from the lines that end here`),
    pick: ({ t }) => looked(t),
    move: (hit, dx, dy) => ({ t: Math.max(first, Math.min(last - 1, (hit?.t ?? one.row) + dy)), looks: dx ? dx < 0 : hit?.looks ?? true }),
    data: () => ({ layer: one.layer, head: one.head, step: one.step, tokens: one.tokens, wei: lists(one.wei) }),
  });
  if (last - first < T) place.append(h("p", { class: "muted" }, `Positions ${first} to ${last - 1} of ${T}; choose another in the square.`));
}

/** @type {[string, string][]} */
const STAGES = [["products", "q·k"], ["scores", "scaled, masked"], ["wei", "softmax"], ["wei_unscaled", "softmax, no scale"]];

/** @param {Element} place @param {any} one @param {string} stage @param {(stage: string) => void} noted @param {(position: number) => void} looked */
export function pattern(place, one, stage, noted, looked) {
  const T = one.tokens.length, name = (/** @type {number} */ t) => `${t} “${one.tokens[t]}”`;
  const long = Math.min(8, Math.max(...one.tokens.map((/** @type {string} */ token) => token.length))), gutter = T > 80 ? 4 : long < 3 ? 22 : 12 + 7 * long;
  let side = 0;
  const draw = (/** @type {any} */ pen, /** @type {number} */ w) => {
    const soft = stage.startsWith("wei"), values = one[stage], most = soft ? darkest(values, T, T) : reach(values), low = soft ? 0 : -most, shades = ramp(soft ? "amount" : "signed");
    const seen = soft && one.causal ? values.map((/** @type {number} */ v, /** @type {number} */ i) => (i % T > Math.floor(i / T) ? NaN : v)) : values;
    side = (size(w) - gutter) / T;
    pen.image(pixels(seen, T, T, shades, low, most), gutter, gutter, side * T, side * T);
    if (gutter > 4) for (let t = 0; t < T; t++) {
      const at = gutter + (t + 0.5) * side, small = Math.min(12, Math.max(7, side * 0.85));
      pen.text(one.tokens[t].slice(0, long), gutter - 4, at, { size: small, align: "right", bold: t === one.row, fill: colour(t === one.row ? "accent" : "muted") });
      pen.text(one.tokens[t].slice(0, long), at, gutter - 8, { size: small, align: long < 3 ? "center" : "left", turn: long > 2, fill: colour("muted") });
    }
    if (side >= 30) for (let i = 0; i < T * T; i++) if (seen[i] === seen[i]) {
      pen.text(seen[i].toFixed(2), gutter + (i % T + 0.5) * side, gutter + (Math.floor(i / T) + 0.5) * side, { size: Math.min(12, side / 3.4), align: "center", fill: shade(shades, seen[i], low, most).ink });
    }
  };
  const size = (/** @type {number} */ w) => Math.min(w - 1, 660), cell = (/** @type {number} */ v) => Math.floor((v - gutter) / side);
  fill(place, h("div", { class: "row" }, segments("Stage", STAGES, stage, (chosen) => { stage = chosen; noted(stage); made.redraw(); })));
  const made = picture(place, {
    name: `head-${one.layer}.${one.head}-pattern`, label: "The square of numbers: rows look, columns are looked at", height: size, draw,
    find: (x, y) => { const row = cell(y), column = cell(x); return row >= 0 && column >= 0 && row < T && column < T ? { row, column } : null; },
    light: (pen, { row, column }) => {
      const thick = Math.max(1, side);
      pen.rect(gutter, gutter + row * side, side * T, thick, "", colour("accent"));
      pen.rect(gutter + column * side, gutter, thick, side * T, "", colour("accent"));
      pen.rect(gutter + column * side, gutter + row * side, Math.max(3, side), Math.max(3, side), "", colour("bad"));
    },
    tell: ({ row, column }) => {
      const at = row * T + column, masked = one.causal && column > row;
      return `${name(row)} looks at ${name(column)}: q·k = ${one.products[at].toFixed(3)}, × ${one.scale.toFixed(4)} = ${(one.products[at] * one.scale).toFixed(3)}`
        + (masked ? ", in the future: masked, so 0" : `, softmax ${one.wei[at].toFixed(4)} (without the scale ${one.wei_unscaled[at].toFixed(4)})`);
    },
    pick: ({ row }) => looked(row),
    move: (hit, dx, dy) => ({ row: Math.max(0, Math.min(T - 1, (hit?.row ?? one.row) + dy)), column: Math.max(0, Math.min(T - 1, (hit?.column ?? one.row) + dx)) }),
    data: () => ({ layer: one.layer, head: one.head, step: one.step, scale: one.scale, tokens: one.tokens, ...Object.fromEntries(STAGES.map(([s]) => [s, lists(one[s])])) }),
  });
}
