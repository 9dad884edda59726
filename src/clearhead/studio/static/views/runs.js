// @ts-check
/** All runs, a new one, and the curves of those that are chosen. */

import { ask, fill, h, problem } from "../lib/dom.js";
import { bytes, duration, fixed, short, when } from "../lib/format.js";
import { along, comparison } from "../lib/curves.js";
import { starter } from "../lib/starter.js";

/** @import {Run, Show} from "../types.js" */

export const view = {
  name: "runs",
  title: "Runs",
  about: ["Each row is one model that was trained on one text.",
    "Its loss is measured on validation text that it has never seen: bits per character, so the lower the better, whatever the tokenizer.",
    "Choose rows to lay their curves over each other."],
  docs: "training.md",
};

const BUSY = ["starting", "training"];
/** @type {Record<string, string>} */
const WORDS = { patience: "done (patience)" };

/** @type {Show} */
export async function show(root, address, shell) {
  const chosen = new Set((address.params.get("compare") ?? "").split(",").filter(Boolean));
  const told = h("div", { "aria-live": "polite" }), rows = h("tbody"), empty = h("p", { class: "muted" }, "Nothing is here yet. Choose a text above and train: a minute is enough for a first model.");
  const table = h("div", { class: "scroll" }, h("table", null, h("thead", null, h("tr", null,
    ["", "Run", "Model", "Text", "State"].map((name) => h("th", { scope: "col" }, name || h("span", { class: "hidden" }, "Compare"))),
    ["Bits / char", "Nats / token", "Parameters", "Size", "Time"].map((name) => h("th", { scope: "col", class: "n" }, name)),
    h("th", { scope: "col" }, "Made"), h("th", { scope: "col" }, h("span", { class: "hidden" }, "Actions")))), rows));
  const curves = h("div", { hidden: true });
  root.append(starter(shell), told, h("div", { class: "card" }, empty, table), curves);

  /** @param {string} run @param {string} verb @param {any} [body] */
  async function act(run, verb, body) {
    fill(told);
    try {
      await shell.api.post(shell.api.path("runs", run, verb), body);
      await shell.refresh();
    } catch (error) { fill(told, problem(error)); }
  }

  /** @param {Run} run */
  async function rename(run) {
    const input = h("input", { value: run.name, required: true, "aria-label": "New name" });
    if (await ask(`Rename ${run.name}`, input, "Rename") && input.value !== run.name) await act(run.name, "rename", { name: input.value });
  }

  /** @param {Run} run */
  async function remove(run) {
    const words = h("p", null, `The folder ${run.name} goes with its ${run.steps.length} checkpoints (${bytes(run.bytes)}). This cannot be undone.`);
    if (await ask(`Delete ${run.name}?`, words, "Delete")) { chosen.delete(run.name); await act(run.name, "delete", { confirm: run.name }); }
  }

  /** @param {Run} run */
  function row(run) {
    const button = (/** @type {string} */ words, /** @type {() => any} */ onclick, kind = "") =>
      h("button", { type: "button", class: `quiet ${kind}`, onclick, "aria-label": `${words} ${run.name}` }, words);
    return h("tr", { data: { run: run.name, runState: run.state, step: run.step } },
      h("td", null, h("input", { type: "checkbox", checked: chosen.has(run.name), "aria-label": `Compare ${run.name}`,
        onchange: (e) => { e.target.checked ? chosen.add(run.name) : chosen.delete(run.name); shell.go({ compare: [...chosen].join(",") }, { quiet: true }); compare(); } })),
      h("th", { scope: "row" }, h("a", { href: shell.link({ run: run.name, view: BUSY.includes(run.state) ? "train" : "play" }) }, run.name)),
      h("td", null, run.model), h("td", null, run.corpus ?? "–"),
      h("td", null, h("span", { class: "state", data: { is: run.state } }, WORDS[run.state] ?? run.state,
        run.state === "training" && run.max_iters ? ` ${Math.floor(100 * run.step / run.max_iters)} %` : ""), run.problem && h("small", { class: "fault", title: run.problem }, run.problem)),
      [fixed(run.bits), fixed(run.val), short(run.parameters), bytes(run.bytes), duration(run.seconds)].map((words) => h("td", { class: "n" }, words)),
      h("td", null, when(run.created)),
      h("td", null, h("span", { class: "row tools" },
        run.state === "training" && [button("Pause", () => act(run.name, "pause")), button("Stop", () => act(run.name, "stop"))],
        ["paused", "stopped"].includes(run.state) && button("Resume", () => act(run.name, "resume")),
        !BUSY.includes(run.state) && [button("Rename", () => rename(run)), button("Delete", () => remove(run), "danger")])));
  }

  let drawn = "";
  function list() {
    const now = JSON.stringify(shell.runs);
    if (now === drawn) return;
    drawn = now;
    const focused = /** @type {any} */ (document.activeElement)?.getAttribute?.("aria-label");
    fill(rows, shell.runs.map(row));
    if (focused) [...rows.querySelectorAll("[aria-label]")].find((made) => made.getAttribute("aria-label") === focused)?.focus();
    empty.hidden = shell.runs.length > 0;
    table.hidden = !empty.hidden;
  }

  /** @type {ReturnType<typeof comparison> | undefined} */ let picture;
  async function compare() {
    curves.hidden = !chosen.size;
    if (!chosen.size) return;
    if (!picture) {
      const by = address.params.get("by") ?? "steps";
      picture = comparison(by, along(by, (other) => {
        shell.go({ by: other }, { quiet: true });
        picture?.along(other);
      }));
      curves.append(picture.element);
    }
    try {
      const { runs } = await shell.api.get("/api/compare", { runs: [...chosen].join(",") });
      await picture.show(runs);
    } catch (error) { fill(told, problem(error)); }
  }

  list();
  await compare();
  return { update: (kind) => { if (kind === "runs") list(); }, close: () => picture?.close() };
}
