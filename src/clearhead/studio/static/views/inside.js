// @ts-check
/** What happens between a text and its next token: read layer by layer, taken apart, stepped through; the trick, the table, the start. */

import { ramp, shade } from "../lib/canvas.js";
import { latest, steps, textForm } from "../lib/controls.js";
import { field, fill, h, segments } from "../lib/dom.js";
import { draw } from "../lib/figure.js";
import { fixed, percent } from "../lib/format.js";

export const view = {
  name: "inside",
  title: "Inside",
  about: ["A text goes through the model as a stream of numbers, to which every layer adds; here it can be read at every place, taken apart into its terms, and stepped through.",
    "Whatever is taken apart is added up again, and by how much the sum misses the model's own number stands beside it.",
    "What is done to weights, by a training step or another start, is done to a copy: the run stays as it is."],
  docs: "understanding.md#which-layer-says-it-and-which-part",
};

/** @type {Record<string, {title: string, docs: string, asks: string[], text?: boolean}>} */
const SUBS = {
  lens: { title: "Lens", docs: "which-layer-says-it-and-which-part", asks: ["text", "position", "token", "against", "patch"], text: true },
  step: { title: "Step by step", docs: "what-happens-in-one-step", asks: ["text", "layer", "backward"], text: true },
  trick: { title: "The trick", docs: "what-is-the-mathematical-trick", asks: ["text"], text: true },
  bigram: { title: "Bigram table", docs: "has-the-table-stabilised", asks: ["current", "following"] },
  init: { title: "Initialisation", docs: "which-initialisation-is-best", asks: ["steps"] },
};

/** @param {HTMLElement} root @param {import("../types.js").Address} address @param {import("../types.js").Shell} shell */
export async function show(root, address, shell) {
  const run = shell.run(), get = (/** @type {string} */ what) => address.params.get(what), sub = get("sub") ?? (run?.model === "bigram" ? "bigram" : "lens"), about = SUBS[sub] ?? SUBS.lens;
  const note = (/** @type {any} */ changes) => { shell.go(changes, { quiet: true }); return load(); };
  const place = h("div", { class: "stack found" }), loads = latest(place);
  root.append(h("div", { class: "row apart" }, segments("What to look at", Object.entries(SUBS).map(([name, { title }]) => [name, title]), sub, (name) => shell.go({ sub: name, text: get("text") }, { fresh: true })),
    h("a", { href: `#/docs?at=${encodeURIComponent(`understanding.md#${about.docs}`)}` }, "Read more")),
  h("div", { class: "card stack" }, about.text && textForm(get("text"), (text) => note({ text, position: "" })), sub === "init" ? lab() : steps(run, get("step"), async (step) => note({ step }))), place);

  const input = (/** @type {string} */ name, /** @type {string} */ label, hint = "", tag = "input") => field(label, h(tag, { class: "mono", name, rows: 1, value: get(name) ?? "", placeholder: hint, onchange: (/** @type {any} */ e) => note({ [name]: e.target.value }) }));
  function lab() {
    const many = h("input", { type: "number", min: 1, value: get("steps") ?? "", placeholder: "auto", "aria-label": "Steps of each start" });
    return h("form", { class: "row", onsubmit: (/** @type {Event} */ e) => { e.preventDefault(); note({ steps: many.value || "auto" }); } }, "Steps of each start", many, h("button", { class: "primary" }, "Measure every start"), h("small", null, "Trains each for a few steps, in memory: about ten seconds."));
  }

  /** Figures, one after another. @param {any} found @param {string[]} [names] */
  async function pictures(found, names = Object.keys(found.figures)) {
    const made = h("div", { class: "stack" }), divs = /** @type {Record<string, any>} */ ({});
    place.append(made);
    for (const name of names.filter((one) => found.figures[one])) {
      found.figures[name].layout.height ??= 440;
      divs[name] = await draw(made, found.figures[name], { name: `${run?.name}-${sub}-${name}`, numbers: found.numbers });
    }
    return divs;
  }
  const check = (/** @type {string} */ said) => h("p", { class: "check", data: { check: sub } }, said);
  /** @type {Record<string, (found: any) => any>} */
  const shown = {
    async lens(found) {
      const d = found.numbers.decomposition, grid = await pictures(found, ["lens"]);
      place.append(h("p", { class: "muted" }, "Click a column to take the logit after it apart."));
      grid.lens.on("plotly_click", (/** @type {any} */ e) => note({ position: found.numbers.tokens.length - found.figures.lens.data[0].text[0].length + e.points[0].x }));
      place.append(h("div", { class: "card stack" }, h("h2", null, `The logit of ${d.token}${d.against ? ` less the logit of ${d.against}` : ""}, after position ${d.position} “${found.numbers.tokens[d.position]}”`),
        check(`parts sum to ${d.total.toFixed(6)}, the model says ${d.logit.toFixed(6)}; the largest error over the whole vocabulary is ${d.error.toExponential(1)} (${d.norm})`),
        h("div", { class: "row" }, input("position", "After position", "the last"), input("token", "Logit of", "the likeliest"), input("against", "Less the logit of", "none"), input("patch", "Patch into another text of as many tokens", "", "textarea"))));
      if (found.numbers.patching && !found.figures.patching) place.append(h("p", null, "The texts do not differ here: there is nothing to share out. Choose a later position, or other tokens."));
      await pictures(found, ["parts", "patching", "depth"]);
    },
    async step(found) {
      const n = found.numbers, stages = n.stages.filter((/** @type {any} */ s) => s.block === null || s.block === n.shown_block || s.name === "x = x + ffwd"), shades = ramp("signed");
      const numbers = (/** @type {any} */ s) => { const far = 3 * s.size || 1; return h("span", { class: "nums" }, s.first.map((/** @type {number | null} */ v) => { const { fill: back, ink } = shade(shades, v ?? 0, -far, far), plain = s.name === "idx" || v === null; return h("span", { style: plain ? {} : { background: back, color: ink } }, v === null ? "−∞" : s.name === "idx" ? v : v.toFixed(3)); })); };
      let at = Math.min(stages.length - 1, Number(get("stage") ?? 0));
      const most = Math.max(...stages.map((/** @type {any} */ s) => (s.name === "idx" ? 0 : s.size)));
      const rows = stages.map((/** @type {any} */ s, /** @type {number} */ i) => h("tr", { onclick: () => stand(i) }, h("th", { scope: "row", class: "mono" }, `${s.block === null ? "" : `${s.block}: `}${s.name}`), h("td", { class: "n mono" }, s.shape.join(" × ")), h("td", null, s.name === "idx" ? "" : [h("span", { class: "bar", style: { "--share": `${s.size / most}` } }), fixed(s.size)]), h("td", null, numbers(s)), h("td", { class: "words" }, s.words)));
      const stand = (/** @type {number} */ i) => { at = Math.max(0, Math.min(stages.length - 1, i)); rows.forEach((/** @type {Element} */ row, /** @type {number} */ k) => row.classList.toggle("on", k === at)); fill(said, `${at + 1} of ${stages.length}: ${stages[at].name} — ${stages[at].words}`); shell.go({ stage: at }, { quiet: true }); };
      const said = h("p", { "aria-live": "polite" });
      place.append(h("div", { class: "card stack" }, h("div", { class: "row apart" }, h("h2", null, "Forward"), h("div", { class: "row" }, run?.layers && segments("Block", Array.from({ length: run.layers }, (_, i) => [`${i}`, `Block ${i}`]), `${n.shown_block}`, (layer) => note({ layer })),
        h("button", { type: "button", onclick: () => stand(at - 1) }, "Back"), h("button", { type: "button", class: "primary", onclick: () => stand(at + 1) }, "Next stage"))), said,
      h("div", { class: "scroll" }, h("table", { class: "stages" }, h("thead", null, h("tr", null, ["Stage", "Shape", "Size (root mean square)", "First numbers of the last position", ""].map((name, i) => h("th", { scope: "col", class: i === 1 && "n" }, name)))), h("tbody", null, rows))),
      h("p", null, "Next: ", n.choices.map((/** @type {[string, number]} */ [token, p]) => h("span", { class: "chip mono" }, `${token} ${percent(p)}`)).flatMap((/** @type {any} */ c) => [c, " "]), n.loss === null ? "" : `Loss: mean of −log softmax over ${n.losses.length} positions = ${n.loss.toFixed(4)} nats.`),
      check(`these stages end in the model's own logits, to ${n.logits_error.toExponential(1)}`)));
      stand(at);
      const back = n.backward, tick = h("input", { type: "checkbox", checked: !!back, onchange: () => note({ backward: tick.checked ? "true" : "" }) });
      place.append(h("div", { class: "card stack" }, h("label", { class: "row" }, tick, h("b", null, "Backward: one training step on this text, in a copy of the weights")), back && [
        h("p", null, `Loss on this text ${back.loss_before.toFixed(4)} → ${back.loss_after.toFixed(4)} nats. `, back.optimizer ?? `Plain SGD at rate ${back.rate}: after = logit − rate × gradient; ${back.rows_moved} rows moved.`),
        back.cells && check(`autograd and the formula, row's share × (softmax − share), differ by ${back.gradient_error.toExponential(1)} at most; the update by ${back.update_error.toExponential(1)}`),
        h("pre", null, found.text.slice(found.text.indexOf("\n\nbackward") + 2))]));
      await pictures(found);
    },
    async trick(found) {
      place.append(h("div", { class: "card stack" }, h("h2", null, "Four ways to the average of the past"), h("pre", { data: { check: sub } }, found.text)));
      await pictures(found);
    },
    async bigram(found) {
      const n = found.numbers, { bits } = n;
      place.append(h("div", { class: "card stack" }, h("h2", null, n.title), n.pair && h("p", null, h("a", { href: shell.link({ current: "", following: "" }) }, "← the whole table")), !n.pair && [
        h("div", { class: "sum", role: "img", "aria-label": "floor, leak and misfit as shares of the loss" }, ["floor", "leak", "misfit"].map((name) => h("i", { class: name, title: name, style: { "--share": `${Math.max(0, bits[name] / bits.loss)}` } }))),
        h("dl", { class: "facts" }, [["Loss", bits.loss], ["Floor: the text's own pairs", bits.floor], ["Leak: belief in pairs never seen", bits.leak], ["Misfit: wrong shares", bits.misfit], ["Gap", bits.gap]].map(([name, v]) => h("div", null, h("dt", null, name), h("dd", null, v.toFixed(4), h("small", null, " bits"))))),
        h("p", { data: { stabilised: n.stabilised } }, n.stabilised === null ? "No verdict: this table was never what training made smaller." : `${n.stabilised ? "Stabilised" : "Not stabilised"}: the gap of ${bits.gap.toFixed(4)} bits is ${n.stabilised ? "below" : "not below"} the threshold of ${n.threshold}.`),
        check(`floor + leak + misfit differ from the loss by ${n.check.toExponential(1)} nats`)], n.pair && h("pre", null, found.text)));
      const divs = await pictures(found);
      for (const name of ["counts", "softmax", "difference"]) divs[name]?.on("plotly_click", (/** @type {any} */ e) => { const { xaxis, yaxis } = found.figures[name].layout, [{ x, y }] = e.points; shell.go({ current: yaxis.ticktext[y], following: xaxis.ticktext[x] }); });
    },
    async init(found) {
      place.append(h("div", { class: "card stack" }, h("h2", null, found.title), h("pre", null, found.text)));
      await pictures(found);
    },
  };

  function load() {
    if (sub === "init" && !get("steps")) return fill(place);
    const asked = Object.fromEntries([...about.asks, ...(sub === "init" ? [] : ["step"])].map((name) => [name, get(name)]).filter(([, v]) => v !== "auto"));
    return loads(shell.api.get(shell.api.path("runs", run?.name ?? "", "look", sub), asked), async (found) => {
      fill(place, found.numbers.notes?.length > 0 && h("p", { class: "muted" }, found.numbers.notes.join("; ")));
      root.dataset.shown = "";
      await shown[sub](found);
      if (!place.querySelector("pre")) place.append(h("details", { class: "more" }, h("summary", null, "All of it as text"), h("pre", null, found.text)));
      root.dataset.shown = sub;
      root.dataset.step = found.step;
    });
  }
  await load();
}
