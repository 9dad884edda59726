// @ts-check
/** The softmax ladder: from the logits of one place to the token that is drawn, recomputed here over the whole vocabulary. */

import { field, fill, h } from "./dom.js";
import { fixed, percent, whole } from "./format.js";
import { visible } from "./glyphs.js";
import { draw, entropy, ladder, ranked } from "./softmax.js";

const LOWEST = 0.05, HIGHEST = 2, MARKS = 200, NAMED = 0.025, SEEN = 0.0008;
/** T of a place on the slider: 0, then LOWEST to HIGHEST in equal ratios. @param {number} mark */
export const temperature = (mark) => (mark <= 0 ? 0 : Number((LOWEST * (HIGHEST / LOWEST) ** ((mark - 1) / (MARKS - 1))).toPrecision(3)));
/** @param {number} t */
const place = (t) => (t < LOWEST ? 0 : 1 + Math.round((MARKS - 1) * Math.log(t / LOWEST) / Math.log(HIGHEST / LOWEST)));

/** @typedef {{temperature: number, top_k: number | null, top_p: number | null, seed: number}} Settings */
/** @typedef {{tokens: string[], logits: number[], u: number | null}} Place */

/** @param {Settings} settings @param {(seed: boolean) => void} changed whether it was the seed @param {(text: string) => void} pick */
export function sampler(settings, changed, pick) {
  /** @type {Place | null} */ let at = null;
  /** @type {string | null} */ let came = null;
  let rows = 12;
  const slider = h("input", { type: "range", min: 0, max: MARKS, step: 1, value: place(settings.temperature), "aria-label": "Temperature",
    oninput: () => { settings.temperature = temperature(Number(slider.value)); paint(); }, onchange: () => changed(false) });
  const said = h("output", { class: "mono" });
  const number = (/** @type {"top_k" | "top_p" | "seed"} */ name, /** @type {any} */ limits) => h("input", { type: "number", value: settings[name] ?? "", placeholder: "off", ...limits, onchange: (e) => {
    settings[name] = e.target.value === "" || !e.target.validity.valid ? /** @type {any} */ (name === "seed" ? 0 : null) : Number(e.target.value);
    paint();
    changed(name === "seed");
  } });
  const title = h("h2", null, "The next token"), open = h("p", { class: "open" }), body = h("tbody"), more = h("button", { type: "button", class: "quiet", onclick: () => { rows *= 4; paint(); } });
  const bar = h("div", { class: "cumulative", role: "img" }), drawn = h("p", null);
  const table = h("table", { class: "ladder" }, h("thead", null, h("tr", null, ["Token", "Logit", "÷ T"].map((name, i) => h("th", { scope: "col", class: i && "n" }, name)),
    h("th", { scope: "col" }, "Probability ", h("small", null, "(grey: at T = 1)")), h("th", { scope: "col", class: "n" }, h("span", { class: "hidden" }, "Percent")))), body);
  const element = h("div", { class: "card stack sampler" }, title,
    h("div", { class: "knobs" }, h("label", { class: "field wide" }, h("span", { class: "row apart" }, "Temperature ", said), slider), field("Top-k", number("top_k", { min: 1, step: 1 })),
      field("Top-p", number("top_p", { min: 0.01, max: 1, step: 0.01 })), field("Seed", number("seed", { min: 0, step: 1 }))),
    open, h("div", { class: "scroll" }, table), more, bar, drawn);

  function paint() {
    const T = settings.temperature;
    fill(said, T === 0 ? "0 (always the likeliest)" : `${T}`);
    slider.setAttribute("aria-valuetext", `${T}`);
    if (!at) return;
    const { tokens } = at, logits = at.logits.map((logit) => logit ?? -Infinity), found = ladder(logits, settings);
    const order = ranked(logits), H = entropy(found.probability), H1 = entropy(found.before), id = at.u == null ? -1 : draw(found.probability, at.u);
    const left = found.probability.reduce((n, p) => n + (p > 0 ? 1 : 0), 0);
    fill(open, h("b", null, `${fixed(H, 2)} bits`), `, as open as ${fixed(2 ** H, 1)} equal choices`, h("small", null, ` · at T = 1: ${fixed(H1, 2)} bits, ${fixed(2 ** H1, 1)} choices · ${whole(left)} of ${whole(tokens.length)} tokens left`));
    Object.assign(element.dataset, { entropy: H, choices: 2 ** H, drawn: id, u: at.u ?? "" });
    const shown = [...order.subarray(0, rows)];
    for (const token of [id, tokens.indexOf(came ?? "")]) if (token >= 0 && !shown.includes(token)) shown.push(token);
    const most = Math.max(found.probability[order[0]], found.before[order[0]]);
    fill(body, shown.map((i) => h("tr", { class: `${i === id ? "drawn" : ""} ${tokens[i] === came ? "came" : ""}`, data: { id: i, p: found.probability[i] } },
      h("th", { scope: "row" }, h("button", { type: "button", class: "quiet mono", onclick: () => pick(tokens[i]), "aria-label": `Write on with ${visible(tokens[i])}` }, visible(tokens[i]))),
      h("td", { class: "n mono" }, fixed(logits[i], 2)), h("td", { class: "n mono" }, T === 0 ? "–" : fixed(found.scaled[i], 2)),
      h("td", { class: "odds" }, h("i", { class: "ghost", style: { width: `${100 * found.before[i] / most}%` } }), h("i", { style: { width: `${100 * found.probability[i] / most}%` } }), found.cut[i] && h("small", null, found.cut[i])),
      h("td", { class: "n mono" }, percent(found.probability[i])))));
    more.hidden = rows >= tokens.length;
    fill(more, `Show more of ${whole(tokens.length)}`);
    cumulate(found.probability, tokens, id);
  }

  /** All tokens on a bar in the order of their ids, and where u falls. @param {Float64Array} p @param {string[]} tokens @param {number} id */
  function cumulate(p, tokens, id) {
    let low = 0, from = 0;
    const made = [];
    for (let i = 0; i < p.length; i++) {
      if (i === id) from = low;
      if (p[i] >= SEEN || i === id) made.push(h("span", { class: i === id ? "drawn" : null, style: { left: `${100 * low}%`, width: `${100 * p[i]}%` } }, p[i] >= NAMED && visible(tokens[i])));
      low += p[i];
    }
    bar.setAttribute("aria-label", "Cumulative probability, and where the random number falls");
    fill(bar, made, at?.u != null && h("b", { style: { left: `${100 * at.u}%` } }));
    fill(drawn, at?.u == null ? "" : [h("span", { class: "mono" }, `u = ${fixed(at.u, 4)}`), " falls on ", h("b", { class: "mono" }, visible(tokens[id])), ` (${fixed(from, 4)} to ${fixed(from + p[id], 4)}); seed ${settings.seed} draws it.`]);
  }

  return {
    element, settings,
    /** @param {Place | null} place @param {string} words @param {string | null} [token] the one that came there */
    show(place, words, token = null) { at = place; came = token; fill(title, words); paint(); },
  };
}
