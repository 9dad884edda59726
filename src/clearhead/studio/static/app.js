// @ts-check
/** The shell: the address, the header, one stream of news; views are modules that it loads when they are asked for. */

import * as api from "./lib/api.js";
import { fill, h, problem } from "./lib/dom.js";

/** @import {Address, Changes, Run, Shell, Shown, View} from "./types.js" */

const VIEWS = { runs: "Runs", train: "Train", play: "Play", ladder: "Ladder", attention: "Attention", embeddings: "Embeddings", inside: "Inside", lessons: "Lessons" };
const ALONE = ["runs", "lessons", "docs"];
const one = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
const root = document.documentElement;

/** @type {Address} */ let address;
/** @type {Shown} */ let shown = {};
/** @type {EventSource | undefined} */ let news;
/** @type {{run: string | null, cursor: number}} */ let listening = { run: null, cursor: 0 };
let turn = 0, waited = 0;

/** @type {Shell} */
const shell = {
  state: /** @type {any} */ (null),
  runs: [],
  api,
  run: (name) => shell.runs.find((run) => run.name === (name ?? address.run)),
  link(changes) { return hash(changed(changes, false)); },
  go(changes, { quiet = false, fresh = false } = {}) {
    const next = changed(changes, fresh || ("view" in changes && changes.view !== address.view));
    if (hash(next) === location.hash) return;
    if (!quiet) { location.hash = hash(next); return; }
    history.replaceState(null, "", hash(next));
    address.params = next.params;
  },
  subscribe(run, cursor = 0) {
    listening = { run, cursor };
    listen();
  },
  async refresh() {
    const [state, { runs }] = await Promise.all([api.get("/api/state"), api.get("/api/runs")]);
    shell.state = state;
    know(runs);
  },
};

/** @returns {Address} */
function read() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const parts = path.split("/").filter(Boolean).map((part) => decodeURIComponent(part));
  const [run, view] = parts.length > 1 ? parts : [null, parts[0] ?? "runs"];
  return { run, view: view in VIEWS || view === "docs" ? view : "runs", params: new URLSearchParams(query) };
}

/** @param {Address} to */
function hash({ run, view, params }) {
  const query = params.toString();
  return `#/${run && !ALONE.includes(view) ? `${encodeURIComponent(run)}/` : ""}${view}${query && `?${query}`}`;
}

/** @param {Changes} changes @param {boolean} fresh */
function changed({ run = address.run, view = address.view, ...rest }, fresh) {
  const params = new URLSearchParams(fresh ? "" : address.params);
  for (const [name, value] of Object.entries(rest)) value == null || value === "" ? params.delete(name) : params.set(name, `${value}`);
  return { run, view, params };
}

/** Show the view of the address; what an older one still loads is forgotten. */
async function show() {
  if (!shell.state) return; // the address changed before the runs were known: they come, and then it is read
  const mine = ++turn;
  const before = address?.run;
  address = read();
  address.run ??= before && shell.run(before) ? before : shell.runs[0]?.name ?? null;
  shown.close?.();
  shown = {};
  if (listening.run) shell.subscribe(null);
  header();
  const section = h("section", { data: { view: address.view, state: "loading" }, "aria-busy": "true" });
  fill(one("main"), section);
  try {
    const { view, show: open } = await import(`./views/${address.view}.js`);
    if (mine !== turn) return;
    document.title = `${view.title}${address.run && !ALONE.includes(address.view) ? ` · ${address.run}` : ""} · Clearhead`;
    section.append(h("div", { class: "head" }, h("h1", null, view.title), about(view)));
    if (!ALONE.includes(address.view) && !shell.run()) throw new Error(address.run
      ? `There is no run '${address.run}' here. Choose one above, or train one under Runs.` : "There is no run yet. Train one under Runs.");
    const opened = (await open(section, address, shell)) ?? {};
    if (mine !== turn) { opened.close?.(); return; }
    shown = opened;
    section.dataset.state = "ready";
  } catch (error) {
    if (mine !== turn) return;
    section.append(problem(error));
    section.dataset.state = "error";
  }
  section.removeAttribute("aria-busy");
}

/** @param {View} view */
const about = (view) => view.about.length > 0 && h("details", { class: "about" }, h("summary", null, "What am I looking at?"),
  h("p", null, view.about.join(" "), " ", h("a", { href: `#/docs?at=${encodeURIComponent(view.docs)}` }, "Read more")));

function header() {
  fill(one("tabs"), Object.entries(VIEWS).map(([view, title]) => h("a", { href: shell.link({ view }).split("?")[0],
    "aria-current": view === address.view && "page", class: !ALONE.includes(view) && !address.run && "off" }, title)));
  one("tabs").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  pick();
}

function pick() {
  const select = one("run"), names = shell.runs.map((run) => `${run.name}\n${run.state}`).join("\n");
  if (select.dataset.names !== names) {
    fill(select, shell.runs.map(({ name, state }) => h("option", { value: name }, state === "training" ? `${name} (training)` : name)));
    select.dataset.names = names;
  }
  select.parentElement.hidden = !shell.runs.length;
  select.value = address.run ?? "";
}

/** @param {Run[]} runs */
function know(runs) {
  shell.runs = runs.sort((a, b) => (b.created ?? Infinity) - (a.created ?? Infinity) || 0);
  if (!address) return;
  address.run ??= runs[0]?.name ?? null;
  pick();
  shown.update?.("runs", shell.runs);
}

/** One EventSource per tab; after a silence it goes on where it was. */
function listen() {
  news?.close();
  const { run, cursor } = listening;
  const source = news = new EventSource(`/api/stream?${new URLSearchParams(run ? { run, cursor: `${cursor}` } : {})}`);
  const heard = () => { waited = 0; one("connection").hidden = true; };
  source.onopen = heard;
  source.addEventListener("runs", (event) => know(JSON.parse(event.data).runs));
  source.addEventListener("curves", (event) => {
    const curves = JSON.parse(event.data);
    if (run === listening.run) { listening.cursor = curves.cursor; shown.update?.("curves", curves); }
  });
  source.onerror = () => {
    if (source !== news) return;
    source.close();
    if (waited > 1) { fill(one("connection"), "The studio does not answer. Training goes on without it; trying again."); one("connection").hidden = false; }
    setTimeout(() => source === news && listen(), Math.min(5_000, 500 * 2 ** waited++));
  };
}

/** Light, dark or as the system has it. @param {string | null} theme */
function paint(theme) {
  const dark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "dark" : "light";
  fill(one("theme"), "◐");
  for (const name of ["title", "aria-label"]) one("theme").setAttribute(name, `Change to ${dark ? "light" : "dark"} colours`);
  dispatchEvent(new Event("themechange"));
}

paint(localStorage.getItem("theme"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paint(localStorage.getItem("theme")));
one("theme").addEventListener("click", () => {
  const theme = root.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("theme", theme);
  paint(theme);
});
one("run").addEventListener("change", () => shell.go({ run: one("run").value, view: ALONE.includes(address.view) ? "train" : address.view }, { fresh: true }));
addEventListener("hashchange", show);
addEventListener("pagehide", () => news?.close());

try {
  await shell.refresh();
  await show();
  listen();
} catch (error) {
  fill(one("main"), problem(error));
}
