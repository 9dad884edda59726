// @ts-check
/** Text of a model, every token coloured, told when pointed at, chosen with a click or the arrow keys. */

import { fill, h } from "./dom.js";
import { fixed, percent } from "./format.js";
import { visible } from "./glyphs.js";

/** @import {Scored} from "../types.js" */

const MOST_BITS = 8, MOST_SAVED = 4;
export const MODES = /** @type {[string, string][]} */ ([["bits", "Probability"], ["saved", "Saved over the bigram"]]);

/** How strongly a token is coloured, -1 (costs) to 1 (saves). @param {Scored} token @param {string} mode */
function strength({ bits, bigram_bits }, mode) {
  if (bits == null) return 0;
  if (mode === "bits") return -Math.min(1, bits / MOST_BITS);
  return bigram_bits == null ? 0 : Math.max(-1, Math.min(1, (bigram_bits - bits) / MOST_SAVED));
}

let against = "bigram";
const tip = h("div", { class: "tip", role: "tooltip", hidden: true });

/** @param {Scored} token */
function tell(token) {
  const p = token.bits == null ? null : 2 ** -token.bits;
  fill(tip, h("p", null, h("b", { class: "mono" }, visible(token.text)), ` ${percent(p)}, ${fixed(token.bits, 2)} bits`),
    token.bigram_bits != null && token.bits != null && h("p", { class: "muted" }, `${against} ${fixed(token.bigram_bits, 2)} bits: saved ${fixed(token.bigram_bits - token.bits, 2)}`),
    token.top.map(([text, share]) => h("div", { class: "choice" }, h("span", { class: "mono" }, visible(text)), h("i", { style: { width: `${100 * share}%` } }), h("small", null, percent(share)))));
}

/** @param {HTMLElement} at */
function place(at) {
  if (!tip.isConnected) document.body.append(tip);
  tip.hidden = false;
  const box = at.getBoundingClientRect(), { offsetWidth: w, offsetHeight: t } = tip;
  tip.style.left = `${Math.max(8, Math.min(box.left, innerWidth - w - 8))}px`;
  tip.style.top = `${box.bottom + t + 12 < innerHeight ? box.bottom + 6 : Math.max(8, box.top - t - 6)}px`;
}

/** @param {string} label @param {(index: number) => void} pick */
export function coloured(label, pick) {
  /** @type {Scored[]} */ let tokens = [];
  let mode = "bits", at = -1, from = 0;
  const box = h("div", { class: "coloured mono", tabindex: 0, role: "group", "aria-label": label,
    onpointerover: (e) => point(e.target),
    onpointerleave: () => { tip.hidden = true; }, onblur: () => { tip.hidden = true; },
    onclick: (e) => { const i = index(e.target); if (i >= 0) { mark(i); pick(i); } },
    onkeydown: (e) => {
      const by = e.key === "ArrowLeft" ? -1 : e.key === "ArrowRight" ? 1 : 0;
      if (by && tokens.length) { e.preventDefault(); mark(Math.max(0, Math.min(tokens.length - 1, at + by))); point(box.children[at]); }
      if (e.key === "Enter" && at >= 0) pick(at);
      if (e.key === "Escape") tip.hidden = true;
    } });
  const index = (/** @type {any} */ span) => (span.dataset?.i ? Number(span.dataset.i) : -1);
  const point = (/** @type {any} */ span) => { const i = index(span); if (i < 0) { tip.hidden = true; return; } tell(tokens[i]); place(span); };
  const mark = (/** @type {number} */ i) => { box.children[at]?.classList.remove("at"); at = i; box.children[at]?.classList.add("at"); };
  const span = (/** @type {Scored} */ token, /** @type {number} */ i) => {
    const made = h("span", { data: { i }, class: i < from ? "given" : null }, token.text.replace(/[ \t]/g, visible).replace(/\n/g, "↵\n"));
    paint(made, token);
    return made;
  };
  const paint = (/** @type {any} */ made, /** @type {Scored} */ token) => {
    const s = strength(token, mode);
    made.style.setProperty("--heat", `${Math.round(Math.abs(s) * 60)}%`);
    made.classList.toggle("good", s > 0);
  };
  return {
    element: box,
    tokens: () => tokens,
    /** Other tokens, of which the first `given` were not written by the model. @param {Scored[]} all */
    set(all, given = 0) { tokens = all; from = given; at = -1; fill(box, all.map(span)); },
    /** @param {Scored[]} more */
    add(more) { box.append(...more.map((token, i) => span(token, tokens.length + i))); tokens = [...tokens, ...more]; },
    /** What the other bits are called. @param {string} name */
    beside(name) { against = name; },
    /** @param {string} other */
    colour(other) { mode = other; tokens.forEach((token, i) => paint(box.children[i], token)); },
    mark,
    close() { tip.hidden = true; },
  };
}
