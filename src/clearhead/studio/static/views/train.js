// @ts-check
/** One run while it trains: its curve against the rungs, its samples, its pace. */

import { coalesce, fill, h, problem } from "../lib/dom.js";
import { AXES, SERIES, along, bits, chart, grown, lines } from "../lib/curves.js";
import { colour } from "../lib/figure.js";
import { bytes, duration, fixed, short, whole } from "../lib/format.js";

/** @import {Curves, Show} from "../types.js" */

export const view = {
  name: "train",
  title: "Train",
  about: ["The curve is the loss of this run, in bits per character, on its batches (thin) and on validation text it has never seen (thick).",
    "The horizontal lines are models that only count, fitted to the same text: below the line \"ngram\" it has learned more than any table of this text.",
    "The strip below shows what it writes at each evaluation."],
  docs: "training.md",
};

/** @type {Record<string, string>} */
const WORDS = { starting: "Starting", training: "Training", paused: "Paused", stopped: "Stopped", done: "Done", patience: "Done: no better for a while", failed: "Failed" };
const NONE = { steps: [], loss: [], lr: [], grad_norm: [], seconds: [], tokens_per_step: 0, characters_per_token: 1, evaluations: [], certificates: [], samples: [], rungs: {}, notices: [], cursor: 0 };
const EVEN = 40;

/** @type {Show} */
export async function show(root, address, shell) {
  const name = /** @type {string} */ (address.run), { api } = shell, section = /** @type {HTMLElement} */ (root);
  let by = address.params.get("by") ?? "steps";
  /** @type {Curves} */ let curves = structuredClone(NONE);
  const told = h("div", { "aria-live": "polite" }), facts = h("dl", { class: "facts" }), bar = h("progress", { "aria-label": "Steps made" });
  const state = h("span", { class: "state" }), buttons = h("div", { class: "row" }), notices = h("ul", { class: "notices" });
  const strip = h("ol", { class: "strip", tabindex: 0, "aria-label": "Samples by step" });
  const numbers = () => curves, small = { height: 180 };
  const main = chart("loss", "Loss", { height: 420 }, numbers, along(by, (other) => {
    by = other;
    shell.go({ by }, { quiet: true });
    paint(null);
  }));
  const rate = chart("speed", "Characters per second", small, numbers), lr = chart("learning-rate", "Learning rate", small, numbers);
  const norm = chart("gradient", "Gradient norm", small, numbers), gap = chart("certificate", "Above the floor", { height: 300 }, numbers);
  const words = h("p", { class: "certificate" }), certificate = h("div", { class: "stack", hidden: true }, gap.element);
  gap.element.insertBefore(words, gap.div);
  root.append(h("div", { class: "card stack" }, h("div", { class: "row apart" }, h("h2", { class: "row" }, name, state), buttons), bar, facts, told, notices),
    main.element, certificate, h("div", { class: "card stack" }, h("h2", null, "What it writes"), strip), h("div", { class: "grid" }, rate.element, lr.element, norm.element));

  /** @param {string} verb */
  const act = (verb) => async () => {
    fill(told);
    try {
      await api.post(api.path("runs", name, verb));
      await shell.refresh();
      if (verb === "resume") shell.subscribe(name, curves.cursor);
    } catch (error) { fill(told, problem(error)); }
  };

  function head() {
    const run = shell.run(name);
    if (!run) return;
    Object.assign(section.dataset, { runState: run.state, step: run.step });
    state.dataset.is = run.state;
    fill(state, WORDS[run.state] ?? run.state);
    bar.max = run.max_iters || 1;
    bar.value = run.step;
    bar.hidden = run.state !== "training";
    const live = run.state === "training", last = curves.evaluations.at(-1);
    const fact = (/** @type {string} */ term, /** @type {string} */ value, unit = "", key = "") => h("div", { data: key ? { fact: key } : {} }, h("dt", null, term), h("dd", null, value, unit && h("small", { class: "muted" }, ` ${unit}`)));
    fill(facts, fact("Bits per character", fixed(last ? bits(curves, last.val ?? last.train) : run.bits), "", "bits"),
      fact("Nats per token", fixed(last ? last.val ?? last.train : run.val), "", "nats"), fact("Step", whole(run.step), run.max_iters ? `of ${whole(run.max_iters)}` : "", "step"),
      run.rate != null && fact("Speed", short(run.rate), "chars / s", "rate"), live ? fact("Time left", duration(run.left), "", "left") : fact("Time", duration(run.seconds), "", "seconds"),
      live ? fact("Memory", bytes(run.memory), "", "memory") : fact("Parameters", short(run.parameters), "", "parameters"));
    const key = `${run.state}`;
    if (buttons.dataset.key !== key) {
      buttons.dataset.key = key;
      const button = (/** @type {string} */ verb, kind = "") => h("button", { type: "button", class: kind, onclick: act(verb.toLowerCase()) }, verb);
      fill(buttons, live && [button("Pause"), button("Stop")], ["paused", "stopped"].includes(run.state) && button("Resume", "primary"),
        !live && run.steps.length > 0 && h("a", { class: "button", href: shell.link({ view: "play" }) }, "Play with it"));
      fill(told, run.problem && problem(run.problem));
    }
  }

  const paint = coalesce(async () => {
    head();
    const run = shell.run(name);
    const rungs = Object.entries(curves.rungs).map(([rung, nats]) => ({ rung, y: bits(curves, nats) ?? 0 }));
    await main.paint(lines(curves, by, "", SERIES[0]), {
      xaxis: { title: { text: AXES[by] }, ...(by === "steps" && run?.state === "training" && run.max_iters ? { range: [0, Math.min(run.max_iters, 2 ** Math.ceil(Math.log2(1.2 * run.step + 50)))] } : { rangemode: "tozero" }) },
      yaxis: { title: { text: "bits per character" } }, shapes: rungs.map(({ y }) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: y, y1: y, line: { color: colour("line"), width: 1, dash: "dot" } })),
      annotations: rungs.map(({ rung, y }) => ({ text: `${rung} ${y.toFixed(3)}`, xref: "paper", x: 1, y, xanchor: "right", yanchor: "bottom", showarrow: false, font: { size: 12, color: colour("muted") } })) });
    section.dataset.points = `${curves.steps.length}`;
  }, 100);

  const slower = coalesce(async () => {
    const x = curves.steps, line = (/** @type {any[]} */ y, at = x) => [{ x: at, y, mode: "lines", line: { color: SERIES[0], width: 1.5 }, hovertemplate: "%{y:.4g}<extra></extra>" }];
    const gaps = x.map((step, i) => {
      const j = Math.max(0, i - EVEN), past = (curves.seconds[i] ?? 0) - (curves.seconds[j] ?? 0);
      return past > 0 ? (step - x[j]) * curves.tokens_per_step * curves.characters_per_token / past : null;
    });
    await rate.paint(line(gaps), { yaxis: { rangemode: "tozero" } });
    await lr.paint(line(curves.lr), { yaxis: { rangemode: "tozero" } });
    await norm.paint(line(curves.grad_norm), { yaxis: { rangemode: "tozero" } });
    if (curves.certificates.length) await certify();
  }, 1000);

  async function certify() {
    certificate.hidden = false;
    const last = curves.certificates[curves.certificates.length - 1], b = (/** @type {number} */ nats) => fixed(nats / Math.LN2, 4);
    fill(words, `At step ${whole(last.step)}: ${b(last.gap)} bits above the floor of ${b(last.floor)}: ${b(last.leak)} leak, ${b(last.misfit)} misfit.`);
    const x = curves.certificates.map((c) => c.step);
    await gap.paint(/** @type {const} */ (["gap", "leak", "misfit"]).map((part, i) => ({ x, y: curves.certificates.map((c) => (c[part] > 0 ? c[part] / Math.LN2 : null)), name: part, mode: "lines+markers", line: { color: SERIES[i], width: part === "gap" ? 2 : 1 }, hovertemplate: "%{y:.4f} bits" })),
      { showlegend: true, legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, xaxis: { title: { text: "step" }, rangemode: "tozero" }, yaxis: { type: "log", title: { text: "bits per token" }, dtick: 1, exponentformat: "none" } });
  }

  /** @param {Curves} more */
  function take(more) {
    curves = grown(curves, more);
    const atEnd = strip.scrollLeft + strip.clientWidth > strip.scrollWidth - 80;
    strip.append(...more.samples.map(({ step, text }) => h("li", null, h("small", null, `step ${whole(step)}`), h("pre", null, text))));
    if (more.samples.length && atEnd) strip.scrollLeft = strip.scrollWidth;
    notices.append(...more.notices.map(({ message }) => h("li", null, message)));
    paint(null);
    slower(null);
  }

  let begun = false;
  /** The curves so far, and then what is new: as soon as there is a run. */
  async function begin() {
    if (begun || shell.run(name)?.state === "starting") return;
    begun = true;
    take(await api.get(api.path("runs", name, "curves"), { points: 4000 }));
    shell.subscribe(name, curves.cursor);
  }

  head();
  await begin();
  return {
    update(kind, data) {
      if (kind === "curves") take(data);
      else { head(); begin().catch((error) => fill(told, problem(error))); }
    },
    close: () => [main, rate, lr, norm, gap].forEach((one) => one.close()),
  };
}
