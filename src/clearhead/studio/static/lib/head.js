// @ts-check
/** One head: lines between two columns of tokens, the square of its numbers stage by stage, and how one token comes to what it says. */

import { darkest, lists, part, picture, pixels, ramp, reach, shade } from "./canvas.js";
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

const TALL = 20, CELL = 33, NAME = 80, MID = 58, BAND = 66, GAP = 14, MOST = 48;

/** @typedef {{i: number, part: string, d: number}} Hit part is one of PARTS */
const PARTS = ["q·k", "scaled", "softmax", "v"];

/** A row for each key, its numbers in line; what makes a number lights up with it. @param {Element} parent @param {any} one a head's chain; `row` is the token that looks */
export function chainTable(parent, one) {
  const T = one.tokens.length, t = one.row, hs = one.v.shape[1], sees = one.causal ? t + 1 : T;
  const q = part(one.q, t), out = part(one.out, t), raw = part(one.products, t), wei = part(one.wei, t), loose = part(one.wei_unscaled, t), { scale } = one;
  const heaviest = Array.from({ length: sees }, (_, s) => s).sort((a, b) => wei[b] - wei[a]), keys = heaviest.slice(0, MOST).sort((a, b) => a - b);
  const kAt = NAME, midAt = kAt + hs * CELL + GAP, vAt = midAt + 3 * MID + GAP, wide = vAt + hs * CELL + 4, high = BAND + keys.length * TALL + 2;
  const k = (/** @type {number} */ s, /** @type {number} */ d) => one.k[s * hs + d], v = (/** @type {number} */ s, /** @type {number} */ d) => one.v[s * hs + d];
  const most = { k: Math.max(reach(one.k), reach(q)), v: reach(one.v), p: reach(raw.subarray(0, sees)) };
  const n = (/** @type {number} */ x) => (x < 0 ? `(${x.toFixed(2)})` : x.toFixed(2)), sum = (/** @type {string[]} */ terms) => terms.slice(0, 4).join(" + ") + (terms.length > 4 ? " + …" : "");
  const dims = Array.from({ length: hs }, (_, d) => d), rest = heaviest.slice(MOST).reduce((total, s) => total + wei[s], 0);

  const made = h("div", { class: "chain" });
  parent.append(made);
  picture(made, {
    name: `chain-${one.layer}.${one.head}-${t}`, label: "The numbers of the chain, a row for each key", height: () => high,
    draw: (pen) => {
      const signed = ramp("signed"), amount = ramp("amount"), muted = colour("muted");
      const cell = (/** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ value, /** @type {number} */ far, w = CELL, shades = signed, low = -far, digits = 2) => {
        const { fill, ink } = shade(shades, value, low, far);
        pen.rect(x + 1, y + 1, w - 2, TALL - 2, fill);
        pen.text(value.toFixed(Math.abs(value) < 10 || w > CELL ? digits : 1), x + w - 4, y + TALL / 2, { size: 10, align: "right", fill: ink });
      };
      /** @type {[string, number][]} */
      const heads = [["key", 36], ["k", kAt], ["q·k", midAt], [`× ${scale.toFixed(3)}`, midAt + MID], ["softmax", midAt + 2 * MID], ["v", vAt]];
      for (const [words, x] of heads) pen.text(words, x + 4, BAND - 9, { size: 11, fill: muted });
      pen.text(`q of ${t} “${one.tokens[t]}”`, kAt + 4, 10, { bold: true });
      pen.text("out = softmax × v", vAt + 4, 10, { bold: true });
      for (const d of dims) { cell(kAt + d * CELL, 22, q[d], most.k); cell(vAt + d * CELL, 22, out[d], most.v); }
      keys.forEach((s, i) => {
        const y = BAND + i * TALL;
        pen.text(`${s}`, 32, y + TALL / 2, { size: 10, align: "right", fill: muted });
        pen.text(one.tokens[s].slice(0, 5), 40, y + TALL / 2, { bold: s === t, fill: colour(s === t ? "accent" : "ink") });
        for (const d of dims) { cell(kAt + d * CELL, y, k(s, d), most.k); cell(vAt + d * CELL, y, v(s, d), most.v); }
        cell(midAt, y, raw[s], most.p, MID);
        cell(midAt + MID, y, raw[s] * scale, most.p * scale, MID);
        cell(midAt + 2 * MID, y, wei[s], 1, MID, amount, 0, 4);
      });
    },
    find: (x, y) => {
      const i = Math.floor((y - BAND) / TALL), mid = Math.floor((x - midAt) / MID), d = Math.floor((x - (x < midAt ? kAt : vAt)) / CELL);
      if (d >= 0 && d < hs && x >= vAt && y >= 22) return { i: Math.max(0, i), part: "v", d };
      if (i < 0 || i >= keys.length) return null;
      if (mid >= 0 && mid < 3) return { i, part: PARTS[mid], d: 0 };
      return d >= 0 && d < hs && x < midAt ? { i, part: "k", d } : null;
    },
    light: (pen, { i, part: what, d }) => {
      const mark = (/** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ w, rows = 1) => pen.rect(x, y, w, rows * TALL, "", colour("bad"));
      const y = BAND + i * TALL, all = keys.length;
      if (what === "k" || what === "q·k") { mark(kAt, y, hs * CELL); mark(kAt, 22, hs * CELL); mark(midAt, y, MID); }
      if (what === "scaled") mark(midAt, y, 2 * MID);
      if (what === "softmax") { mark(midAt + MID, BAND, MID, all); mark(midAt + 2 * MID, y, MID); }
      if (what === "v") { mark(midAt + 2 * MID, BAND, MID, all); mark(vAt + d * CELL, BAND, CELL, all); mark(vAt + d * CELL, 22, CELL); }
    },
    tell: ({ i, part: what, d }) => {
      const s = keys[i];
      if (what === "k" || what === "q·k") return `q·k = ${sum(dims.map((c) => `${n(q[c])} × ${n(k(s, c))}`))} = ${raw[s].toFixed(3)}`;
      if (what === "scaled") return `${raw[s].toFixed(3)} × ${scale.toFixed(4)} = ${(raw[s] * scale).toFixed(3)}`;
      if (what === "softmax") return `e^${n(raw[s] * scale)} / (${sum(heaviest.map((o) => `e^${n(raw[o] * scale)}`))}) = ${wei[s].toFixed(4)}; without the scale ${loose[s].toFixed(4)}`;
      return `out[${d}] = ${sum(heaviest.map((o) => `${wei[o].toFixed(3)} × ${n(v(o, d))}`))} = ${out[d].toFixed(3)}`;
    },
    move: (hit, dx, dy) => {
      const at = Math.max(0, PARTS.indexOf(hit?.part ?? "")), far = hit?.part === "v" ? hit.d + dx : 0;
      const i = Math.max(0, Math.min(keys.length - 1, (hit?.i ?? 0) + dy));
      return hit?.part === "v" && far >= 0 ? { i, part: "v", d: Math.min(hs - 1, far) } : { i, part: PARTS[Math.max(0, Math.min(3, at + dx))], d: 0 };
    },
    data: () => ({ layer: one.layer, head: one.head, step: one.step, position: t, scale, tokens: one.tokens, q: lists(q), k: lists(one.k), v: lists(one.v), products: lists(raw), wei: lists(wei), out: lists(out) }),
  }).made.style.setProperty("width", `${wide}px`);
  const after = T - sees, said = [sees > MOST && `${sees - MOST} more keys weigh ${rest.toFixed(4)} together`, after > 0 && `${after} later tokens are masked: −∞, so their softmax is 0`];
  parent.append(h("p", { class: "muted" }, said.filter(Boolean).join("; ")));
}
