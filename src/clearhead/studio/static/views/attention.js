// @ts-check
/** All heads on one text, and one of them stage by stage; every number is the checkpoint's own. */

import { packed } from "../lib/api.js";
import { darkest, lists, part, picture, pixels, ramp } from "../lib/canvas.js";
import { latest, steps, textForm } from "../lib/controls.js";
import { fill, h, segments } from "../lib/dom.js";
import { colour } from "../lib/figure.js";
import { chainTable, headLines, pattern } from "../lib/head.js";

export const view = {
  name: "attention",
  title: "Attention",
  about: ["Each small square is one head: its rows are the tokens that look, its columns what they look at, and the darker a cell the more it weighs.",
    "A pattern is pretty whether or not it matters, so heads can stand in the order of what the loss is without them.",
    "Open a head to follow one token from q·k to what the head says, with the numbers of this checkpoint in every cell."],
  docs: "understanding.md#what-does-this-head-look-at",
};

const GAP = 10, LABEL = 18;

/** @param {HTMLElement} root @param {import("../types.js").Address} address @param {import("../types.js").Shell} shell */
export async function show(root, address, shell) {
  const run = shell.run(), name = run?.name ?? "", get = (/** @type {string} */ what) => address.params.get(what);
  /** @type {any} */ let all, /** @type {any} */ one, /** @type {any[] | null} */ worth = null, /** @type {any} */ grid;
  const chosen = () => ({ layer: Number(get("layer")), head: Number(get("head")) });
  const asked = () => ({ text: get("text"), step: get("step") });
  const note = (/** @type {any} */ changes) => shell.go(changes, { quiet: true });
  const ask = (/** @type {any} */ more = {}) => packed(shell.api.path("runs", name, "attention"), { ...asked(), ...more });

  const notes = h("p", { class: "muted" }), heads = h("div"), table = h("div", { class: "scroll" }), open = h("div", { class: "card stack" }), chain = h("div", { class: "card stack" });
  const first = latest(heads), second = latest(open), third = latest(table);
  root.append(h("div", { class: "card stack" }, textForm(get("text"), (text) => { note({ text, position: "" }); load(); }), steps(run, get("step"), (step) => { note({ step }); return load(); }), notes),
    h("div", { class: "halves" }, h("div", { class: "card stack" }, h("div", { class: "row apart" }, h("h2", null, "Every head"),
      segments("Order", [["layer", "By layer"], ["cost", "By what it is worth"]], get("sort") ?? "layer", (sort) => { note({ sort }); grid?.redraw(); })), heads),
    h("div", { class: "card stack" }, h("h2", null, "What each head is worth"), table)), open, chain);

  const order = () => (get("sort") === "cost" && worth ? worth.map((w) => [w.layer, w.head]) : all.on_text.map((/** @type {any} */ p) => [p.layer, p.head]));
  const width = (/** @type {number} */ w) => Math.min(150, Math.floor((w - 2 + GAP) / Math.min(all.heads, Math.max(2, Math.floor(w / 70)))) - GAP);
  const across = (/** @type {number} */ w) => (get("sort") === "cost" || all.heads * (width(w) + GAP) > w + GAP ? Math.floor((w + GAP) / (width(w) + GAP)) : all.heads);
  const corner = (/** @type {number} */ i, /** @type {number} */ w) => { const s = width(w), n = across(w); return [(i % n) * (s + GAP) + 1, Math.floor(i / n) * (s + GAP + LABEL) + 1]; };
  function drawGrid() {
    fill(heads);
    const n = all.wei.shape[2];
    grid = picture(heads, {
      name: `attention-${name}-heads`, label: `The patterns of ${all.layers} layers of ${all.heads} heads`,
      height: (w) => corner(all.layers * all.heads - 1, w)[1] + width(w) + LABEL,
      draw: (pen, w) => order().forEach((/** @type {number[]} */ [l, i], /** @type {number} */ k) => {
        const [x, y] = corner(k, w), s = width(w), own = l === chosen().layer && i === chosen().head;
        pen.image(pixels(part(part(all.wei, l), i), n, n, ramp("amount"), 0, all.dark), x, y, s, s);
        pen.rect(x, y, s, s, "", own ? colour("accent") : colour("rule"));
        const cost = worth?.find((q) => q.layer === l && q.head === i)?.zero;
        pen.text(`${l}.${i}`, x, y + s + 10, { size: 11, bold: own, fill: colour(own ? "accent" : "ink") });
        if (cost !== undefined && s > 64) pen.text(signed(cost), x + s, y + s + 10, { size: 10, align: "right", fill: colour("muted") });
      }),
      find: (x, y, w) => {
        const k = order().findIndex((/** @type {any} */ _, /** @type {number} */ i) => { const [cx, cy] = corner(i, w); return x >= cx && x < cx + width(w) && y >= cy && y < cy + width(w) + LABEL; });
        if (k < 0) return null;
        const [cx, cy] = corner(k, w), cell = (/** @type {number} */ v) => Math.max(0, Math.min(n - 1, Math.floor((v / width(w)) * n)));
        return { k, row: cell(y - cy), column: cell(x - cx) };
      },
      light: (pen, { k, row, column }, w) => {
        const [x, y] = corner(k, w), s = width(w), side = s / n;
        pen.rect(x, y, s, s, "", colour("accent"));
        pen.rect(x + column * side, y + row * side, Math.max(2, side), Math.max(2, side), "", colour("bad"));
      },
      tell: ({ k, row, column }) => {
        const [l, i] = order()[k], p = all.on_text[l * all.heads + i], c = all.cell, v = all.wei[((l * all.heads + i) * n + row) * n + column];
        return `head ${l}.${i}: ${token(row * c)} looks at ${token(column * c)}: ${v.toFixed(4)}${c > 1 ? `, the largest of ${c} × ${c}` : ""}. On this text: entropy ${p.entropy.toFixed(2)} bits, ${p.distance.toFixed(1)} tokens back.`;
      },
      pick: ({ k }) => { const [layer, head] = order()[k]; choose(layer, head); },
      move: (hit, dx, dy) => ({ row: 0, column: 0, ...hit, k: Math.max(0, Math.min(all.on_text.length - 1, (hit?.k ?? -1) + dx + dy * across(grid.made.clientWidth))) }),
      data: () => ({ title: all.title, step: all.step, tokens: all.tokens, cell: all.cell, wei: lists(all.wei), worth }),
    });
    root.dataset.grid = performance.now().toFixed(0);
  }

  const token = (/** @type {number} */ t) => `${t} “${all.tokens[t]}”`;
  const signed = (/** @type {number} */ v) => `${v < 0 ? "−" : "+"}${Math.abs(v).toFixed(v > 0.01 || v < -0.01 ? 2 : 3)}`;
  const choose = (/** @type {number} */ layer, /** @type {number} */ head) => { note({ layer, head }); grid?.redraw(); drawWorth(); return openHead(); };

  function drawWorth() {
    if (!worth) return;
    const most = Math.max(...worth.map((w) => w.zero)), { scores } = all;
    const share = (/** @type {number | null} */ v) => h("td", { class: "n" }, v === null ? "" : v.toFixed(3));
    fill(table, h("table", { class: "worth" }, h("thead", null, h("tr", null, h("th", { scope: "col" }, "Head"), h("th", { scope: "col" }, "Loss without it"),
      ["Entropy", "Distance", "Previous", "Duplicate", "Induction"].map((word) => h("th", { scope: "col", class: "n" }, word)))),
    h("tbody", null, worth.map((w) => h("tr", { data: { head: `${w.layer}.${w.head}` }, class: w.layer === chosen().layer && w.head === chosen().head && "on" },
      h("th", { scope: "row" }, h("button", { type: "button", class: "quiet", onclick: () => choose(w.layer, w.head) }, `${w.layer}.${w.head}`)),
      h("td", null, h("span", { class: "bar", style: { "--share": `${Math.max(0, w.zero / most)}` } }), ` ${signed(w.zero)}${w.zero_error === null ? "" : ` ± ${w.zero_error.toFixed(3)}`}`),
      h("td", { class: "n" }, w.entropy.toFixed(2)), h("td", { class: "n" }, w.distance.toFixed(1)), share(w.previous), share(w.duplicate), share(w.induction)))),
    h("tfoot", null, h("tr", null, h("th", { scope: "row" }, "chance"), h("td", { colspan: 3 }), share(scores.chance.previous), share(scores.chance.duplicate), share(scores.chance.induction)))),
    h("p", { class: "muted" }, `Nats per token more when what the head adds is left out; ± standard error. Measured on ${scores.measured_on}: ${scores.loss.toFixed(4)} nats with all heads. Entropy in bits, distance in tokens back; the rest is mean weight: on the token before, on earlier copies of the current one, on what followed those.`));
  }

  const openHead = () => second(ask({ ...chosen() }), (found) => {
    one = found;
    const T = one.tokens.length, t = Math.min(T - 1, Number(get("position") ?? T - 1));
    one.row = t;
    const focused = /** @type {any} */ (document.activeElement)?.dataset.picture;
    const lines = h("div"), square = h("div"), far = one.saved && t < T - 1 ? one.saved[t] : null;
    fill(open, h("div", { class: "row apart" }, h("h2", null, `Layer ${one.layer}, head ${one.head}`), h("p", { class: "muted" }, `attention added up differs from the model's own by ${one.attention_error.toExponential(1)} at most`)),
      h("div", { class: "pair" }, h("div", { class: "stack" }, h("h3", null, "Who looks at whom"), lines), h("div", { class: "stack" }, square)));
    const looked = (/** @type {number} */ position) => { note({ position }); openHead(); };
    headLines(lines, one, looked);
    pattern(square, one, get("stage") ?? "wei", (stage) => note({ stage }), looked);
    fill(chain, h("h2", null, `From ${token(t)}: q·k, the scale, the mask, softmax, times v`));
    chainTable(chain, one);
    if (far !== null) chain.append(h("p", null, `The token that came, “${one.tokens[t + 1]}”, would cost `, h("b", null, `${Math.abs(far).toFixed(3)} bits ${far < 0 ? "less" : "more"}`), " without this head."));
    if (focused) /** @type {HTMLElement | null} */ (root.querySelector(`[data-picture="${focused}"]`))?.focus({ preventScroll: true });
    root.dataset.head = `${one.layer}.${one.head}`;
  });

  async function load() {
    await first(ask(), (found) => {
      const before = all?.wei.length, had = all?.scores;
      all = { ...found, scores: had };
      all.dark = Math.max(...Array.from({ length: all.layers * all.heads }, (_, i) => darkest(part(part(all.wei, Math.floor(i / all.heads)), i % all.heads), all.wei.shape[2], all.wei.shape[2])));
      fill(notes, [all.title, ...all.notes].join(" · "), ` · darkest from a weight of ${all.dark.toFixed(3)}, shades go by its root`, all.cell > 1 ? ` · small squares show the largest weight of ${all.cell} × ${all.cell}` : "");
      if (before === all.wei.length && grid.made.isConnected) grid.redraw(); else drawGrid();
      root.dataset.step = all.step;
    });
    if (!all) return;
    await openHead();
    if (!worth) fill(table, h("p", { class: "muted" }, `Leaving out each of ${all.layers * all.heads} heads in turn: for a small model seconds, for a large one a minute …`));
    third(shell.api.get(shell.api.path("runs", name, "look", "attention"), asked()), ({ numbers }) => {
      all.scores = numbers.scores;
      worth = numbers.scores?.heads ?? null;
      if (worth) drawWorth(); else fill(table, h("p", { class: "muted" }, "One token alone: nothing can be measured on it."));
      grid.redraw();
      root.dataset.worth = "ready";
    });
  }
  await load();
}
