// @ts-check
/** What views of a run share: the text that is looked at, and the checkpoint. */

import { fill, h, problem } from "./dom.js";

/** The text to look at; empty for where the validation text begins. @param {string | null} text @param {(text: string) => void} change @param {string} [label] */
export function textForm(text, change, label = "Text to look at") {
  const area = h("textarea", { rows: 2, class: "mono", value: text ?? "", spellcheck: "false", placeholder: "empty: where the validation text begins", "aria-label": label,
    onkeydown: (/** @type {KeyboardEvent} */ e) => { if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) change(area.value); } });
  return h("form", { class: "looked", onsubmit: (/** @type {Event} */ e) => { e.preventDefault(); change(area.value); } }, area, h("button", null, "Look"));
}

/**
 * A slider over the checkpoints of a run, which a button lets run; nothing where there is one only.
 * @param {import("../types.js").Run | undefined} run @param {string | null} step @param {(step: number) => Promise<any>} change
 */
export function steps(run, step, change) {
  const known = run?.steps ?? [];
  if (known.length < 2) return null;
  const at = known.indexOf(Number(step)), said = h("output", { class: "mono" });
  const range = h("input", { type: "range", min: 0, max: known.length - 1, value: at < 0 ? known.length - 1 : at, "aria-label": "Checkpoint" });
  const say = () => { said.textContent = `step ${known[range.value].toLocaleString("en")}`; range.setAttribute("aria-valuetext", said.textContent); };
  range.addEventListener("input", () => { say(); change(known[range.value]); });
  if (at < 0) said.textContent = "the best step"; else say();
  const play = h("button", { type: "button", class: "quiet", onclick: async () => {
    play.disabled = true;
    for (let i = 0; i < known.length && play.isConnected; i++) {
      range.value = i; say();
      await Promise.all([change(known[i]), new Promise((wait) => setTimeout(wait, 700))]);
    }
    play.disabled = false;
  } }, "Play");
  return h("div", { class: "row checkpoints" }, h("span", { class: "muted" }, "Checkpoint"), range, said, play);
}

/**
 * What comes late into a place: only the newest answer is shown, and an error in its words.
 * @param {Element} place @returns {<T>(asked: Promise<T>, shown: (found: T) => any) => Promise<void>}
 */
export function latest(place) {
  let turn = 0;
  return async (asked, shown) => {
    const mine = ++turn;
    place.setAttribute("aria-busy", "true");
    try {
      const found = await asked;
      if (mine === turn) await shown(found);
    } catch (error) { if (mine === turn) fill(place, problem(error)); }
    if (mine === turn) place.removeAttribute("aria-busy");
  };
}
