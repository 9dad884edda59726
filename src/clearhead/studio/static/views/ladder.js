// @ts-check
/** The ladder of a run's text, and which characters each step gains. */

import { fill, h, problem, select } from "../lib/dom.js";
import { draw, purge } from "../lib/figure.js";
import { fixed, short } from "../lib/format.js";
import { visible } from "../lib/glyphs.js";
import { coloured } from "../lib/text.js";

/** @import {Costs, Gains, Rung, Show} from "../types.js" */

export const view = {
  name: "ladder",
  title: "Ladder",
  about: ["Every bar is a model of the same text, scored on the same validation text: first those that only count, then this run.",
    "What a step is worth is what its bar is shorter than the one it is held against.",
    "Choose a step, or click its bar, to see on the validation text itself which characters it predicts better (blue) or worse (orange)."],
  docs: "ladder.md",
};

const NAMED = 10, BEFORE = 64;

/** @type {Show} */
export async function show(root, address, shell) {
  const { get, path } = shell.api, name = address.run ?? "";
  /** @type {any[]} */ const pictures = [];
  /** @type {ReturnType<typeof coloured> | undefined} */ let sheet;
  let closed = false;
  const rows = h("tbody"), bars = h("div"), waterfall = h("div");
  const gained = h("div", { class: "card stack", data: { gains: "loading" } }, h("h2", null, "Which characters gain"), h("small", { class: "busy" }, "Scoring the validation text, token by token ..."));
  const heads = ["Bits / char", "Nats / token", "Gain, bits", "Parameters", "Context"].map((words) => h("th", { scope: "col", class: "n" }, words));
  root.append(h("div", { class: "grid wide" }, bars, h("div", { class: "card" }, h("div", { class: "scroll" }, h("table", null, h("thead", null, h("tr", null, h("th", { scope: "col" }, "Rung"), heads)), rows)))), gained, waterfall);

  /** @type {{ladder: {rungs: Rung[]}, figure: any}} */ const { ladder, figure } = await get(path("runs", name, "ladder"));
  fill(rows, ladder.rungs.map((rung, i) => h("tr", { data: { rung: rung.name } }, h("th", { scope: "row" }, rung.name, rung.note && h("small", { class: "note" }, rung.note)),
    [fixed(rung.bits_per_char, 4), fixed(rung.nats_per_token, 4), i ? fixed(ladder.rungs[i - 1].bits_per_char - rung.bits_per_char, 4) : "–", short(rung.parameters), short(rung.context)].map((words) => h("td", { class: "n" }, words)))));
  const drawn = await draw(bars, figure, { name: "ladder", label: "Bits per character by rung", numbers: ladder });
  pictures.push(drawn);
  gains().catch((error) => { gained.dataset.gains = "error"; fill(gained, problem(error)); });
  return { close() { closed = true; pictures.forEach(purge); sheet?.close(); } };

  async function gains() {
    /** @type {Gains} */ const found = await get(path("runs", name, "gains"));
    if (closed) return;
    /** @type {Record<string, Costs>} */ const costs = Object.fromEntries(found.rungs.map((one) => [one.name, one]));
    const names = Object.keys(costs), own = names.filter((one) => one !== "mixture").at(-1) ?? "";
    let rung = address.params.get("rung") ?? "", over = address.params.get("over") ?? "";
    if (!(rung in costs)) rung = own;
    if (!(over in costs)) over = names.includes("gpt 1") ? "ngram" : costs[rung].over ?? rung;
    const text = sheet = coloured("Validation text", () => {}), told = h("p"), most = h("div", { class: "stack" });
    const options = names.map((one) => /** @type {[string, string]} */ ([one, one]));
    const first = select(options, rung, (one) => step(one), { "aria-label": "Rung" }), second = select(options, over, (one) => step(rung, one), { "aria-label": "Held against" });
    fill(gained, h("div", { class: "row apart" }, h("h2", null, "Which characters gain"), h("div", { class: "row" }, first, h("span", { class: "muted" }, "over"), second)), told, h("div", { class: "sided" }, text.element, most));
    text.colour("saved");

    /** A rung of the ladder as the token-by-token scores name it. @param {Rung | undefined} one */
    const scored = (one) => (one && (one.name in costs ? one.name : one.run ? own : undefined));
    drawn.on("plotly_click", (/** @type {any} */ { points: [{ pointNumber: i }] }) => { const one = scored(ladder.rungs[i]); if (one) step(one, scored(ladder.rungs[i - 1]) ?? one); });

    /** @param {string} a @param {string} b */
    function step(a, b = costs[a].over ?? a) {
      rung = first.value = a;
      over = second.value = b;
      shell.go({ rung, over }, { quiet: true });
      const saved = costs[a].nats.map((nats, i) => (costs[b].nats[i] - nats) / Math.LN2), total = saved.reduce((sum, v) => sum + v, 0), mean = total / saved.length;
      const before = [...found.before.slice(-BEFORE)].map((c) => ({ text: c, bits: null, bigram_bits: null, top: [] }));
      text.beside(b);
      text.set([...before, ...found.tokens.map((token, i) => ({ text: token, bits: costs[a].nats[i] / Math.LN2, bigram_bits: costs[b].nats[i] / Math.LN2, top: [] }))], before.length);
      fill(told, h("b", null, `${a} over ${b}: ${mean < 0 ? "" : "+"}${fixed(mean, 3)} bits a token`), h("span", { class: "muted" }, ` on these ${saved.length} tokens (${fixed(total, 0)} bits in all). The rungs above are measured on the whole validation text.`));
      fill(most, lists(found.tokens, saved));
      Object.assign(gained.dataset, { gains: "ready", rung, over, mean });
    }
    step(rung, over);

    fill(waterfall, h("small", { class: "busy" }, "Measuring what context is worth ..."));
    const { figures, numbers } = await get(path("runs", name, "look", "loss"));
    if (closed) return;
    fill(waterfall);
    const fall = await draw(waterfall, figures.waterfall, { name: "waterfall", label: "What context is worth", numbers: numbers.waterfall });
    pictures.push(fall);
    fall.on("plotly_click", (/** @type {any} */ { points: [{ x }] }) => { if (x in costs) { step(x); gained.scrollIntoView({ block: "nearest" }); } });
  }
}

/** The tokens that gain and lose most, all their places together. @param {string[]} tokens @param {number[]} saved bits */
function lists(tokens, saved) {
  /** @type {Record<string, {sum: number, count: number}>} */ const by = {};
  tokens.forEach((token, i) => { const one = by[token] ??= { sum: 0, count: 0 }; one.sum += saved[i]; one.count++; });
  const sorted = Object.entries(by).sort(([, a], [, b]) => b.sum - a.sum), largest = Math.max(1e-9, ...sorted.map(([, { sum }]) => Math.abs(sum)));
  /** @param {string} title @param {typeof sorted} some @param {string} kind */
  const list = (title, some, kind) => h("div", null, h("h3", null, title), some.slice(0, NAMED).map(([token, { sum, count }]) => h("div", { class: `choice ${kind}` },
    h("span", { class: "mono" }, `${visible(token)} `, h("small", null, `×${count}`)), h("i", { style: { width: `${100 * Math.abs(sum) / largest}%` } }), h("small", null, `${sum > 0 ? "+" : ""}${fixed(sum, 1)}`))));
  return [list("Gain most, in bits", sorted.filter(([, { sum }]) => sum > 0), ""), list("Lose most, in bits", sorted.filter(([, { sum }]) => sum < 0).reverse(), "worse")];
}
