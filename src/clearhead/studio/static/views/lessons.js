// @ts-check
/** The course of `clearhead learn`: each lesson asks, waits, measures on the student's text, and says what follows. */

import { field, fill, h, problem, select } from "../lib/dom.js";
import { draw } from "../lib/figure.js";
import { visible } from "../lib/glyphs.js";

export const view = {
  name: "lessons",
  title: "Lessons",
  about: ["Each lesson is a question; you predict, then it is measured on a text of yours, and only then told.",
    "What stands after a question is computed when you have answered: nobody knows the number before.",
    "The commands that gave the numbers stand beside them, and the views that show the same of any run are linked."],
  docs: "lessons.md",
};

/** @type {Record<string, [string, any]>} */
const OPENS = { attention: ["attention", {}], embeddings: ["embeddings", {}], next: ["play", {}], loss: ["ladder", {}],
  ...Object.fromEntries(["lens", "step", "trick", "bigram", "init"].map((sub) => [sub, ["inside", { sub }]])) };

/** @param {HTMLElement} root @param {import("../types.js").Address} address @param {import("../types.js").Shell} shell */
export async function show(root, address, shell) {
  const { params } = address, { api } = shell, { lessons } = await api.get("/api/lessons");
  const number = Number(params.get("lesson")) || null, lesson = lessons.find((/** @type {any} */ l) => l.number === number);
  const list = h("nav", { class: "card course", "aria-label": "Lessons" }, h("ol", null, lessons.map((/** @type {any} */ l) => h("li", { class: l.done && "done" }, h("a", { href: shell.link({ lesson: l.number }), "aria-current": l.number === number && "page" },
    h("b", null, `${l.number}. ${l.title}`), l.done && h("span", { class: "tick", "aria-label": "done" }, " ✓"), h("span", null, l.question))))));
  if (!lesson) { root.append(list); return {}; }
  const told = h("article", { class: "stack lesson", "aria-live": "polite" }), going = h("p", { class: "muted", role: "status" });
  root.append(h("div", { class: "taught" }, list, h("div", { class: "stack" }, h("div", { class: "card stack" }, h("h2", null, `${lesson.number}. ${lesson.title}`), h("p", { class: "asked" }, lesson.question), starter(), seen()), told, going)));
  root.dataset.lesson = `${number}`;
  let closed = false, cursor = 0, ended = false;
  const post = (/** @type {string} */ what, body = {}) => api.post(api.path("lessons", lesson.number, what), body);

  function starter() {
    const texts = shell.state.texts.filter((text) => !text.problem);
    let text = params.get("text") ?? texts[0]?.id ?? "";
    const begin = async () => {
      button.disabled = true;
      shell.go({ text }, { quiet: true });
      try {
        fill(told);
        await post("start", { text });
        cursor = 0; ended = false;
        follow();
      } catch (error) { fill(told, problem(error)); }
      button.disabled = false;
    };
    const button = h("button", { type: "button", class: "primary", onclick: begin }, "Begin");
    return h("div", { class: "row begin" }, texts.length > 0 && field("On the text", select(texts.map((t) => [t.id, t.name]), text, (chosen) => { text = chosen; })), button);
  }

  function seen() {
    const known = lesson.views.filter((/** @type {string} */ name) => OPENS[name]);
    const run = (/** @type {string} */ name) => [shell.run(), ...shell.runs].find((one) => one && (name === "bigram") === (one.model === "bigram"))?.name ?? shell.runs[0].name;
    return known.length > 0 && shell.runs.length > 0 && h("p", { class: "row" }, "The same of your own run: ", known.map((/** @type {string} */ name) => h("a", { href: shell.link({ run: run(name), view: OPENS[name][0], ...OPENS[name][1], lesson: "", text: "" }) }, name)));
  }

  const shown = (/** @type {string} */ cell) => (cell.trim() ? cell : visible(cell));
  const lines = (/** @type {any} */ part) => h("div", { class: "bars" }, h("h3", null, part.title), part.values.map((/** @type {[string, number]} */ [name, value]) => h("div", { class: "corr wide" }, h("span", null, name), h("span", { class: "bar", style: { "--share": `${value / Math.max(...part.values.map((/** @type {any} */ v) => v[1]), 1e-300)}` } }), h("span", { class: "mono" }, value.toPrecision(4)))));

  function question(/** @type {any} */ part) {
    const said = h("div"), typed = h("input", { class: "mono", inputmode: "decimal", "aria-label": "Your prediction", autocomplete: "off", required: true, pattern: String.raw`(?=.*\d)[+\-]?[\d,_]*\.?\d*(e[+\-]?\d+)?%?`, title: "a number" });
    const answer = async (/** @type {string} */ words) => {
      try { await post("answer", { answer: words }); fill(said); made.classList.add("answered"); made.querySelectorAll("button, input").forEach((/** @type {any} */ b) => { b.disabled = true; }); } catch (error) { fill(said, problem(error)); }
    };
    const made = h("form", { class: "card stack question", data: { question: "waiting" }, onsubmit: (/** @type {Event} */ e) => { e.preventDefault(); answer(typed.value); } }, h("h3", null, "Predict"), h("p", null, part.question),
      part.choices.length ? h("div", { class: "stack choices" }, part.choices.map((/** @type {[string, string]} */ [letter, words]) => h("button", { type: "button", onclick: () => answer(letter) }, `${letter}) ${words}`))) : h("div", { class: "row" }, typed, h("button", { class: "primary" }, "Predict")),
      h("button", { type: "button", class: "quiet", onclick: () => answer("") }, "Go on without a prediction"), said);
    return made;
  }

  /** @type {Record<string, (part: any) => any>} */
  const parts = {
    say: (part) => h("p", null, part.text),
    quote: (part) => h("pre", { class: "card" }, part.text),
    ask: question,
    answer: (part) => h("p", { class: "measured", data: { answer: part.value } }, h("b", null, part.said), " ", part.words),
    ran: (part) => h("pre", { class: "ran" }, `$ ${part.command}${part.reused ? "    (there from before)" : ""}`),
    table: (part) => h("div", { class: "card" }, h("div", { class: "scroll" }, h("table", null, h("thead", null, h("tr", null, part.head.map((/** @type {string} */ name) => h("th", { scope: "col" }, shown(name))))), h("tbody", null, part.rows.map((/** @type {string[]} */ row) => h("tr", null, row.map((cell) => h("td", { class: "mono" }, shown(cell)))))))), part.caption && h("p", { class: "muted" }, part.caption)),
    bars: lines,
    picture: (part) => { const place = h("div"); if (part.figure) draw(place, part.figure, { name: `lesson-${number}-${part.name}`, label: part.title }); return place; },
    claim: (part) => h("div", { class: "claim", data: { holds: part.holds } }, part.note && h("small", null, `Often noted: “${part.note}”${part.holds ? " Not so here." : ""}`), h("p", null, part.text)),
    code: (part) => h("details", { class: "more", open: true }, h("summary", null, "The same in the lecture's words"), h("pre", { class: "card" }, part.text.trim())),
  };
  const end = (/** @type {any} */ part) => h("p", null, part.next ? h("a", { href: shell.link({ lesson: part.next, text: "" }) }, "The next lesson →") : "That was the last lesson.");

  async function follow() {
    for (let waiting = false; !closed && !ended;) {
      const heard = await api.get(api.path("lessons", lesson.number, "parts"), { cursor });
      if (closed) return;
      cursor = heard.cursor;
      for (const part of heard.parts) {
        if (part.kind === "answer") told.querySelectorAll(".question").forEach((/** @type {any} */ q) => { q.dataset.question = "answered"; q.querySelectorAll("button, input").forEach((/** @type {any} */ b) => { b.disabled = true; }); });
        if (part.part === "claim" && !told.querySelector(".claim")) told.append(h("h3", null, "What follows"));
        told.append(part.kind === "end" ? end(part) : parts[part.part]?.(part) ?? "");
        waiting = part.part === "ask";
      }
      if (heard.problem) told.append(problem(heard.problem));
      if (!heard.parts.length && !cursor && !heard.progress && !told.children.length && heard.done !== false) return;
      ended = heard.done || !!heard.problem;
      root.dataset.told = ended ? "done" : waiting ? "asking" : "telling";
      going.textContent = ended ? "" : heard.progress || (waiting ? "The lesson waits for your prediction." : "Measuring …");
      if (!ended) await new Promise((wait) => setTimeout(wait, 400));
    }
  }

  const begun = await api.get(api.path("lessons", lesson.number, "parts"), { cursor: 0 });
  if (begun.parts.length) follow();
  return { close: () => { closed = true; } };
}
