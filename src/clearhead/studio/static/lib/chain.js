// @ts-check
/** How one token comes to what a head says: a row for each key, its numbers in line; what makes a number lights up with it. */

import { lists, part } from "./arrays.js";
import { picture, ramp, reach, shade } from "./canvas.js";
import { h } from "./dom.js";
import { colour } from "./figure.js";

const ROW = 20, CELL = 33, NAME = 80, MID = 58, BAND = 66, GAP = 14, SHOWN = 48;

/** @typedef {{i: number, part: string, d: number}} Hit part is one of PARTS */
const PARTS = ["q·k", "scaled", "softmax", "v"];

/** @param {Element} parent @param {any} one a head's chain; `row` is the token that looks */
export function chainTable(parent, one) {
  const T = one.tokens.length, t = one.row, hs = one.v.shape[1], sees = one.causal ? t + 1 : T;
  const q = part(one.q, t), out = part(one.out, t), raw = part(one.products, t), wei = part(one.wei, t), loose = part(one.wei_unscaled, t), { scale } = one;
  const heaviest = Array.from({ length: sees }, (_, s) => s).sort((a, b) => wei[b] - wei[a]), keys = heaviest.slice(0, SHOWN).sort((a, b) => a - b);
  const kAt = NAME, midAt = kAt + hs * CELL + GAP, vAt = midAt + 3 * MID + GAP, wide = vAt + hs * CELL + 4, high = BAND + keys.length * ROW + 2;
  const k = (/** @type {number} */ s, /** @type {number} */ d) => one.k[s * hs + d], v = (/** @type {number} */ s, /** @type {number} */ d) => one.v[s * hs + d];
  const most = { k: Math.max(reach(one.k), reach(q)), v: reach(one.v), p: reach(raw.subarray(0, sees)) };
  const n = (/** @type {number} */ x) => (x < 0 ? `(${x.toFixed(2)})` : x.toFixed(2)), sum = (/** @type {string[]} */ terms) => terms.slice(0, 4).join(" + ") + (terms.length > 4 ? " + …" : "");
  const dims = Array.from({ length: hs }, (_, d) => d), rest = heaviest.slice(SHOWN).reduce((total, s) => total + wei[s], 0);

  const made = h("div", { class: "chain" });
  parent.append(made);
  picture(made, {
    name: `chain-${one.layer}.${one.head}-${t}`, label: "The numbers of the chain, a row for each key", height: () => high,
    draw: (pen) => {
      const signed = ramp("signed"), amount = ramp("amount"), muted = colour("muted");
      const cell = (/** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ value, /** @type {number} */ far, w = CELL, shades = signed, low = -far, digits = 2) => {
        const { fill, ink } = shade(shades, value, low, far);
        pen.rect(x + 1, y + 1, w - 2, ROW - 2, fill);
        pen.text(value.toFixed(Math.abs(value) < 10 || w > CELL ? digits : 1), x + w - 4, y + ROW / 2, { size: 10, align: "right", fill: ink });
      };
      /** @type {[string, number][]} */
      const heads = [["key", 36], ["k", kAt], ["q·k", midAt], [`× ${scale.toFixed(3)}`, midAt + MID], ["softmax", midAt + 2 * MID], ["v", vAt]];
      for (const [words, x] of heads) pen.text(words, x + 4, BAND - 9, { size: 11, fill: muted });
      pen.text(`q of ${t} “${one.tokens[t]}”`, kAt + 4, 10, { bold: true });
      pen.text("out = softmax × v", vAt + 4, 10, { bold: true });
      for (const d of dims) { cell(kAt + d * CELL, 22, q[d], most.k); cell(vAt + d * CELL, 22, out[d], most.v); }
      keys.forEach((s, i) => {
        const y = BAND + i * ROW;
        pen.text(`${s}`, 32, y + ROW / 2, { size: 10, align: "right", fill: muted });
        pen.text(one.tokens[s].slice(0, 5), 40, y + ROW / 2, { bold: s === t, fill: colour(s === t ? "accent" : "ink") });
        for (const d of dims) { cell(kAt + d * CELL, y, k(s, d), most.k); cell(vAt + d * CELL, y, v(s, d), most.v); }
        cell(midAt, y, raw[s], most.p, MID);
        cell(midAt + MID, y, raw[s] * scale, most.p * scale, MID);
        cell(midAt + 2 * MID, y, wei[s], 1, MID, amount, 0, 4);
      });
    },
    find: (x, y) => {
      const i = Math.floor((y - BAND) / ROW), mid = Math.floor((x - midAt) / MID), d = Math.floor((x - (x < midAt ? kAt : vAt)) / CELL);
      if (d >= 0 && d < hs && x >= vAt && y >= 22) return { i: Math.max(0, i), part: "v", d };
      if (i < 0 || i >= keys.length) return null;
      if (mid >= 0 && mid < 3) return { i, part: PARTS[mid], d: 0 };
      return d >= 0 && d < hs && x < midAt ? { i, part: "k", d } : null;
    },
    light: (pen, { i, part: what, d }) => {
      const mark = (/** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ w, rows = 1) => pen.rect(x, y, w, rows * ROW, "", colour("bad"));
      const y = BAND + i * ROW, all = keys.length;
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
  const after = T - sees, said = [sees > SHOWN && `${sees - SHOWN} more keys weigh ${rest.toFixed(4)} together`, after > 0 && `${after} later tokens are masked: −∞, so their softmax is 0`];
  parent.append(h("p", { class: "muted" }, said.filter(Boolean).join("; ")));
}
