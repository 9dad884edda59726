// @ts-check
/** A model to play with: it writes, every character tells what it cost, and any of them may be another. */

import { fill, h, field, problem, segments, select } from "../lib/dom.js";
import { fixed } from "../lib/format.js";
import { visible } from "../lib/glyphs.js";
import { sampler } from "../lib/sampler.js";
import { MODES, coloured } from "../lib/text.js";

/** @import {Scored, Show} from "../types.js" */

export const view = {
  name: "play",
  title: "Play",
  about: ["The model reads the prompt and writes on, one token at a time: each is drawn from the probabilities on the right.",
    "A colour says how surprising a character was to the model, or how many bits it saves over a bigram that knows only the one before.",
    "Click a character to see what else could have stood there, and a token on the right to go on with that one."],
  docs: "understanding.md#why-this-character",
};

const WAIT = 250;

/** @type {Show} */
export async function show(root, address, shell) {
  const { api } = shell, { params } = address, name = /** @type {string} */ (address.run);
  const number = (/** @type {string} */ key, /** @type {any} */ other) => (params.has(key) ? Number(params.get(key)) : other);
  const settings = { temperature: number("T", 1), top_k: number("k", null), top_p: number("p", null), seed: number("seed", 1337) };
  const step = number("step", null);
  let mode = params.get("colour") ?? "bits", turn = 0;
  /** @type {AbortController | null} */ let writing = null;
  /** @type {{run: string, text: string, came: string | null}} */ let at;
  /** @type {Map<string, Promise<any>>} */ const cache = new Map();
  const prompt = h("textarea", { rows: 3, class: "mono", spellcheck: "false", value: params.get("text") ?? "", oninput: () => { clearTimeout(timer); timer = setTimeout(typed, WAIT); } });
  let timer = 0;
  const length = h("input", { type: "number", min: 1, max: 2000, value: number("n", 300) }), told = h("div", { "aria-live": "polite" });
  const others = shell.runs.filter((run) => run.name !== name && run.steps.length).map((run) => /** @type {[string, string]} */ ([run.name, run.name]));
  const beside = select([["", "none"], ...others], params.get("with") ?? "", () => { note(); lay(); });
  const go = h("button", { class: "primary" }, "Write"), sheets = h("div", { class: "sheets" });
  const panel = sampler(settings, (seed) => { note(); if (seed) look(); }, (token) => { prompt.value = at.text + token; note(); write(); });
  const legend = h("p", { class: "legend" });
  /** @type {{run: string, text: ReturnType<typeof coloured>, bits: HTMLElement}[]} */ let shown = [];
  root.append(h("div", { class: "play" }, h("div", { class: "stack" },
    h("form", { class: "card stack", onsubmit: (e) => { e.preventDefault(); writing ? writing.abort() : write(); } }, field("Prompt", prompt),
      h("div", { class: "row" }, go, field("Tokens", length), field("Beside it", beside)), told),
    h("div", { class: "row apart" }, segments("Colours", MODES, mode, (other) => { mode = other; note(); shown.forEach(({ text }) => text.colour(mode)); key(); }), legend), sheets), panel.element));

  const note = () => shell.go({ text: prompt.value, T: settings.temperature === 1 ? null : `${settings.temperature}`, k: settings.top_k, p: settings.top_p, seed: settings.seed === 1337 ? null : `${settings.seed}`,
    with: beside.value, n: length.value === "300" ? null : length.value, colour: mode === "bits" ? null : mode }, { quiet: true });
  const key = () => fill(legend, mode === "bits" ? [h("i"), "likely", h("i", { class: "high" }), "surprising"] : [h("i", { class: "high good" }), "saves bits", h("i", { class: "high" }), "costs bits"]);

  /** The logits of a place, from the server once. */
  async function look() {
    const mine = ++turn, { run, text, came } = at, id = JSON.stringify([run, text, settings.seed]);
    if (!cache.has(id)) cache.set(id, api.post(api.path("runs", run, "logits"), { text, seed: settings.seed, ...(step == null ? {} : { step }) }));
    try {
      const found = await cache.get(id);
      if (mine !== turn) return;
      panel.show({ tokens: found.tokens, logits: found.logits, u: found.u ?? null }, text ? `After ${visible(text.slice(-16))}` : "How a text begins", came);
      fill(told);
    } catch (error) {
      cache.delete(id);
      if (mine === turn) fill(told, problem(error));
    }
  }

  function typed() {
    clearTimeout(timer);
    note();
    at = { run: name, text: prompt.value, came: null };
    return look();
  }

  function lay() {
    shown.forEach(({ text }) => text.close());
    shown = [name, beside.value].filter(Boolean).map((run) => {
      const bits = h("small");
      const text = coloured(`Text of ${run}`, (i) => {
        at = { run, text: text.tokens().slice(0, i).map((token) => token.text).join(""), came: text.tokens()[i].text };
        look();
      });
      text.colour(mode);
      return { run, text, bits };
    });
    fill(sheets, shown.map(({ run, text, bits }) => h("div", { class: "card stack", data: { sheet: run } }, h("div", { class: "row apart" }, h("h2", null, run), bits), text.element)));
  }

  async function write() {
    writing?.abort();
    const control = writing = new AbortController();
    const asked = prompt.value;
    note();
    fill(told);
    fill(go, "Stop");
    root.dataset.writing = "yes";
    await typed();
    await Promise.all(shown.map((one) => run(one, asked, control).catch((error) => { if (error.name !== "AbortError") fill(told, problem(error)); })));
    if (writing !== control) return;
    writing = null;
    fill(go, "Write");
    root.dataset.writing = "no";
  }

  /** @param {typeof shown[0]} one @param {string} asked @param {AbortController} control */
  async function run({ run: model, text, bits }, asked, control) {
    let whole = asked;
    const { temperature, top_k, top_p, seed } = settings;
    text.set(asked ? [{ text: asked, bits: null, bigram_bits: null, top: [] }] : [], 1);
    fill(bits);
    try {
      for await (const { text: piece, logprobs } of api.completion({ model, prompt: asked, max_tokens: Number(length.value), temperature, seed, logprobs: 5, ...(top_k ? { top_k } : {}), ...(top_p ? { top_p } : {}) }, control.signal)) {
        whole += piece;
        if (logprobs) text.add(logprobs.tokens.map((/** @type {string} */ token, /** @type {number} */ i) => ({ text: token, bits: logprobs.token_logprobs[i] == null ? null : -logprobs.token_logprobs[i] / Math.LN2, bigram_bits: null,
          top: Object.entries(logprobs.top_logprobs[i] ?? {}).map(([t, p]) => [t, Math.exp(/** @type {number} */ (p))]) })));
      }
    } finally {
      if (whole && writing === control) await judge({ run: model, text, bits }, whole, asked);
    }
  }

  /** What every token cost, beside the bigram. @param {{run: string, text: ReturnType<typeof coloured>, bits: HTMLElement}} one @param {string} whole @param {string} asked */
  async function judge({ run: model, text, bits }, whole, asked) {
    /** @type {{tokens: Scored[]}} */ const { tokens } = await api.post(api.path("runs", model, "score"), { text: whole });
    let read = 0, given = 0;
    for (; given < tokens.length && read < asked.length; given++) read += tokens[given].text.length;
    text.set(tokens, given);
    text.colour(mode);
    const own = tokens.slice(given).filter((token) => token.bits != null), sum = (/** @type {"bits" | "bigram_bits"} */ kind) => own.reduce((total, token) => total + (token[kind] ?? NaN), 0) / own.length;
    fill(bits, own.length > 0 && `${fixed(sum("bits"), 2)} bits a token; to the bigram ${fixed(sum("bigram_bits"), 2)}`);
  }

  key();
  lay();
  await typed();
  if (prompt.value) for (const one of shown) await judge(one, prompt.value, prompt.value).catch(() => {});
  return { close() { writing?.abort(); shown.forEach(({ text }) => text.close()); } };
}
