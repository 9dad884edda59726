// @ts-check
/** A new run: a text, a time, and for those who want them all the settings. */

import { field, fill, h, problem, segments, select } from "./dom.js";
import { bytes, whole } from "./format.js";

/** @import {Shell, Text} from "../types.js" */

const TIMES = /** @type {[string, string][]} */ ([["30", "30 s"], ["60", "1 min"], ["180", "3 min"], ["600", "10 min"]]);
/** @type {Record<string, string>} */
const MODELS = { gpt: "GPT", mixture: "GPT mixed with the n-gram", bigram: "Bigram table", ngram: "n-gram (counts, no training)" };
const NUMBERS = [["n_layer", "Layers"], ["n_head", "Heads"], ["n_embd", "Width"], ["block_size", "Context"], ["batch_size", "Batch"], ["max_iters", "Steps"], ["learning_rate", "Learning rate"], ["dropout", "Dropout"], ["seed", "Seed"]];

/** @param {Shell} shell */
export function starter(shell) {
  const { api } = shell, chosen = { text: "", time: `${shell.state.defaults.time}`, model: "gpt", preset: "" };
  const told = h("div", { "aria-live": "polite" }), texts = h("div", { class: "texts", role: "group", "aria-label": "Texts" }), looked = h("div");
  const start = h("button", { class: "primary", disabled: true }, "Train");
  const file = h("input", { type: "file", hidden: true, "aria-label": "Text file", onchange: () => send(file.files[0]) });
  const drop = h("div", { class: "drop",
    ondragover: (e) => { e.preventDefault(); drop.classList.add("over"); },
    ondragleave: () => drop.classList.remove("over"),
    ondrop: (e) => {
      e.preventDefault();
      drop.classList.remove("over");
      const dropped = e.dataTransfer?.files[0], words = e.dataTransfer?.getData("text");
      send(dropped ?? (words ? new File([words], "dropped.txt") : undefined));
    } }, "Drop a text here, or ", h("button", { type: "button", onclick: () => file.click() }, "Choose a file"), " ",
    h("button", { type: "button", class: "quiet", onclick: paste }, "Paste"), h("button", { type: "button", class: "quiet", onclick: type }, "Path"), file);
  const extra = h("div", { class: "row" });

  function paste() {
    const area = h("textarea", { rows: 5, "aria-label": "Text to train on", placeholder: "Paste the text here" });
    fill(extra, area, h("button", { type: "button", onclick: () => send(new File([area.value], "pasted.txt")) }, "Use this text"));
    area.focus();
  }

  function type() {
    const input = h("input", { "aria-label": "Path of a file on this machine", placeholder: "/path/of/a/text.txt", class: "mono", size: 40 });
    const use = async () => { try { await take(await api.post("/api/texts/path", { path: input.value })); } catch (error) { fill(told, problem(error)); } };
    fill(extra, input, h("button", { type: "button", onclick: use }, "Use this file"));
    input.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => { if (e.key === "Enter") { e.preventDefault(); use(); } });
    input.focus();
  }

  /** @param {File | undefined} sent */
  async function send(sent) {
    if (!sent) return;
    const bar = h("progress", { max: 1, "aria-label": `Reading ${sent.name}` });
    fill(told, h("small", null, `Reading ${sent.name} (${bytes(sent.size)})`), bar);
    try {
      await finish(await api.upload(sent, (share) => { bar.value = share; }), null);
    } catch (error) { fill(told, problem(error)); }
    file.value = "";
  }

  /** The end of an upload, in an encoding; where the bytes are no UTF-8 the person is asked. @param {string} id @param {string | null} encoding */
  async function finish(id, encoding) {
    try {
      await take(await api.post(api.path("texts", id, "done"), { encoding }));
    } catch (error) {
      if (/** @type {any} */ (error).code !== "not_utf8") throw error;
      const how = select(shell.state.encodings.map((e) => [e, e]), encoding ?? "cp1252", () => {}, { "aria-label": "Encoding" });
      fill(told, problem(error), h("p", { class: "row" }, "Read it as", how,
        h("button", { type: "button", onclick: () => finish(id, how.value).catch((e) => fill(told, problem(e))) }, "Try")));
    }
  }

  /** @param {Text} text */
  async function take(text) {
    fill(told);
    fill(extra);
    if (!shell.state.texts.some((known) => known.id === text.id)) shell.state.texts.unshift(text);
    await look(text.id);
  }

  /** What is in a text, and it is the one that is trained on. @param {string} id */
  async function look(id) {
    chosen.text = id;
    list();
    start.disabled = true;
    fill(looked, h("small", null, "Reading the text ..."));
    try {
      const found = await api.get(api.path("texts", id, "look"));
      if (chosen.text !== id) return;
      fill(looked, h("p", null, `${whole(found.characters)} characters, ${whole(found.vocab_size)} different${found.tokenizer === "char" ? "" : ` ${found.tokenizer}s`}`),
        h("pre", { class: "begins", tabindex: 0, "aria-label": "Where the text begins" }, found.begins),
        shell.state.texts.some((text) => text.id === id && text.kind === "uploaded") && h("button", { type: "button", class: "quiet", onclick: () => forget(id) }, "Forget this text"));
      start.disabled = false;
    } catch (error) { if (chosen.text === id) fill(looked, problem(error)); }
  }

  /** @param {string} id */
  async function forget(id) {
    try {
      await api.post(api.path("texts", id, "delete"));
      shell.state.texts = shell.state.texts.filter((text) => text.id !== id);
      chosen.text = "";
      start.disabled = true;
      fill(looked);
      list();
    } catch (error) { fill(told, problem(error)); }
  }

  function list() {
    fill(texts, shell.state.texts.map((text) => h("button", { type: "button", "aria-pressed": `${text.id === chosen.text}`, class: "text", title: text.problem, onclick: () => look(text.id) }, text.name,
      text.characters ? h("small", null, ` ${whole(text.characters)}`) : null)));
  }

  const name = h("input", { placeholder: "from the text and the model" });
  const numbers = NUMBERS.map(([flag, words]) => ({ flag, words, input: h("input", { type: "number", step: "any", min: 0, placeholder: "planned" }) }));
  const tokenizer = select([["char", "Characters"], ["word", "Words"], ["byte", "Bytes"]], "char", () => {});

  async function train() {
    start.disabled = true;
    /** @type {Record<string, any>} */ const settings = tokenizer.value === "char" ? {} : { tokenizer: tokenizer.value };
    for (const { flag, input } of numbers) if (input.value !== "") settings[flag] = Number(input.value);
    try {
      const run = await api.post("/api/runs", { text: chosen.text, time: chosen.time ? Number(chosen.time) : undefined, model: chosen.model,
        preset: chosen.preset || undefined, name: name.value || undefined, settings });
      await shell.refresh();
      shell.go({ run: run.name, view: "train" });
    } catch (error) {
      fill(told, problem(error));
      start.disabled = false;
    }
  }

  list();
  const times = TIMES.some(([value]) => value === chosen.time) ? TIMES : [...TIMES, /** @type {[string, string]} */ ([chosen.time, `${chosen.time} s`])];
  return h("form", { class: "card starter", onsubmit: (e) => { e.preventDefault(); train(); } },
    h("div", { class: "stack" }, h("h2", null, "A new run"), drop, extra, texts, told),
    h("div", { class: "stack" }, looked,
      h("div", { class: "row" }, h("span", { class: "muted" }, "Time"), segments("Time for training", times, chosen.time, (time) => { chosen.time = time; })),
      h("details", null, h("summary", null, "Details"), h("div", { class: "details" },
        field("Model", select(shell.state.models.map((m) => [m, MODELS[m] ?? m]), chosen.model, (model) => { chosen.model = model; })),
        field("Recipe", select([["", "as planned"], .../** @type {[string, string][]} */ (shell.state.presets.map((p) => [p, p]))], "", (preset) => { chosen.preset = preset; })),
        field("Tokens", tokenizer), field("Name", name), numbers.map(({ words, input }) => field(words, input)))),
      h("div", null, start)));
}
