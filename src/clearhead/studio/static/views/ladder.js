// @ts-check
/** The ladder of a run's text, and which characters each step gains. */

import { fill, h, problem, select } from "../lib/dom.js";
import { draw, purge } from "../lib/figure.js";
import { fixed, short } from "../lib/format.js";
import { visible } from "../lib/glyphs.js";
import { coloured } from "../lib/text.js";

export const view = {
  name: "ladder",
  title: "Ladder",
  about: ["Every bar is a model of the same text, scored on the same validation text: first those that only count, then this run.",
    "What a step is worth is what its bar is shorter than the one it is held against.",
    "Choose a step, or click its bar, to see on the validation text itself which characters it predicts better (blue) or worse (orange)."],
  docs: "ladder.md",
};

const NAMED = 10;

/** @param {Element} root @param {import("../types.js").Address} address @param {import("../types.js").Shell} shell */
export async function show(root, address, shell) {
  const { api } = shell, url = (/** @type {string[]} */ ...rest) => api.path("runs", /** @type {string} */ (address.run), ...rest);
  /** @type {any[]} */ const pictures = [];
  let closed = false;
  const rows = h("tbody"), bars = h("div"), waterfall = h("div"), gained = h("div", { class: "card stack", data: { gains: "loading" } }, h("h2", null, "Which characters gain"), h("small", { class: "busy" }, "Scoring the validation text, token by token ..."));
  root.append(h("div", { class: "grid wide" }, bars, h("div", { class: "card" }, h("div", { class: "scroll" }, h("table", null, h("thead", null, h("tr", null, h("th", { scope: "col" }, "Rung"),
    ["Bits / char", "Nats / token", "Gain, bits", "Parameters", "Context"].map((name) => h("th", { scope: "col", class: "n" }, name)))), rows)))), gained, waterfall);
  const { ladder, figure } = await api.get(url("ladder"));
  fill(rows, ladder.rungs.map((/** @type {any} */ rung, /** @type {number} */ i) => h("tr", { data: { rung: rung.name } }, h("th", { scope: "row", title: rung.note || null }, rung.name, rung.note && h("small", { class: "note" }, rung.note)),
    [fixed(rung.bits_per_char, 4), fixed(rung.nats_per_token, 4), i ? fixed(ladder.rungs[i - 1].bits_per_char - rung.bits_per_char, 4) : "–", short(rung.parameters), short(rung.context)].map((words) => h("td", { class: "n" }, words)))));
  const drawn = await draw(bars, figure, { name: "ladder", label: "Bits per character by rung", numbers: ladder });
  pictures.push(drawn);

  gains().catch((error) => { gained.dataset.gains = "error"; fill(gained, problem(error)); });
  return { close() { closed = true; pictures.forEach(purge); text?.close(); } };

  /** @type {ReturnType<typeof coloured> | undefined} */ var text;

  async function gains() {
    const found = await api.get(url("gains"));
    if (closed) return;
    const names = found.rungs.map((/** @type {any} */ rung) => rung.name), costs = Object.fromEntries(found.rungs.map((/** @type {any} */ rung) => [rung.name, rung]));
    const own = names.findLast((/** @type {string} */ name) => name !== "mixture"), usual = names.includes("gpt 1") ? "ngram" : costs[own].over;
    const known = (/** @type {string | null} */ name, /** @type {string} */ other) => (name && name in costs ? name : other);
    let rung = known(address.params.get("rung"), own), over = known(address.params.get("over"), usual);
    const sheet = text = coloured("Validation text", () => {}), told = h("p"), most = h("div", { class: "stack" });
    const options = names.map((/** @type {string} */ name) => /** @type {[string, string]} */ ([name, name]));
    const pick = (/** @type {string} */ name) => { rung = name; over = costs[name].over ?? name; paint(); };
    const first = select(options, rung, pick, { "aria-label": "Rung" }), second = select(options, over, (name) => { over = name; paint(); }, { "aria-label": "Held against" });
    fill(gained, h("div", { class: "row apart" }, h("h2", null, "Which characters gain"), h("div", { class: "row" }, first, h("span", { class: "muted" }, "over"), second)), told, h("div", { class: "sided" }, sheet.element, most));
    sheet.colour("saved");
    drawn.on("plotly_click", (/** @type {any} */ event) => {
      const clicked = ladder.rungs[event.points[0].pointNumber], before = ladder.rungs[event.points[0].pointNumber - 1];
      const there = (/** @type {any} */ one) => (one && (one.name in costs ? one.name : one.name === "gpt" || one.run ? own : null));
      if (!there(clicked)) return;
      rung = there(clicked);
      over = there(before) ?? rung;
      paint();
    });

    function paint() {
      first.value = rung;
      second.value = over;
      shell.go({ rung, over }, { quiet: true });
      const a = costs[rung].nats, b = costs[over].nats, saved = a.map((/** @type {number} */ nats, /** @type {number} */ i) => (b[i] - nats) / Math.LN2);
      const total = saved.reduce((/** @type {number} */ sum, /** @type {number} */ v) => sum + v, 0), given = [...found.before.slice(-64)];
      sheet.beside(over);
      sheet.set([...given.map((c) => ({ text: c, bits: null, bigram_bits: null, top: [] })),
        ...found.tokens.map((/** @type {string} */ token, /** @type {number} */ i) => ({ text: token, bits: a[i] / Math.LN2, bigram_bits: b[i] / Math.LN2, top: [] }))], given.length);
      fill(told, h("b", null, `${rung} over ${over}: ${total >= 0 ? "+" : ""}${fixed(total / saved.length, 3)} bits a token`), h("span", { class: "muted" }, ` on these ${saved.length} tokens (${fixed(total, 0)} bits in all). The rungs above are measured on the whole validation text.`));
      /** @type {Record<string, {sum: number, count: number}>} */ const by = {};
      found.tokens.forEach((/** @type {string} */ token, /** @type {number} */ i) => { const one = by[token] ??= { sum: 0, count: 0 }; one.sum += saved[i]; one.count++; });
      const sorted = Object.entries(by).sort(([, x], [, y]) => y.sum - x.sum), largest = Math.max(1e-9, ...sorted.map(([, { sum }]) => Math.abs(sum)));
      const list = (/** @type {string} */ title, /** @type {typeof sorted} */ some, /** @type {string} */ kind) => h("div", null, h("h3", null, title), some.map(([token, { sum, count }]) => h("div", { class: `choice ${kind}` }, h("span", { class: "mono" }, `${visible(token)} `, h("small", null, `×${count}`)),
        h("i", { style: { width: `${100 * Math.abs(sum) / largest}%` } }), h("small", null, `${sum > 0 ? "+" : ""}${fixed(sum, 1)}`))));
      fill(most, list("Gain most, in bits", sorted.filter(([, { sum }]) => sum > 0).slice(0, NAMED), ""), list("Lose most, in bits", sorted.filter(([, { sum }]) => sum < 0).slice(-NAMED).reverse(), "worse"));
      Object.assign(gained.dataset, { gains: "ready", rung, over, mean: total / saved.length });
    }
    paint();
    fill(waterfall, h("small", { class: "busy" }, "Measuring what context is worth ..."));
    const { figures, numbers } = await api.get(url("look", "loss"));
    if (closed) return;
    fill(waterfall);
    const fall = await draw(waterfall, figures.waterfall, { name: "waterfall", label: "What context is worth", numbers: numbers.waterfall });
    pictures.push(fall);
    fall.on("plotly_click", (/** @type {any} */ event) => { if (event.points[0].x in costs) { pick(event.points[0].x); gained.scrollIntoView({ behavior: "smooth", block: "nearest" }); } });
  }
}
