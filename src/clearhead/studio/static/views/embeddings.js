// @ts-check
/** The table of vectors as rows and as a picture: one hover, one slider through training; neighbours, analogies, dimensions. */

import { lists, packed } from "../lib/arrays.js";
import { picture, pixels, ramp, reach } from "../lib/canvas.js";
import { latest, steps } from "../lib/controls.js";
import { fill, h, segments } from "../lib/dom.js";
import { colour, draw } from "../lib/figure.js";
import { percent, whole } from "../lib/format.js";

export const view = {
  name: "embeddings",
  title: "Embeddings",
  about: ["Every token of the vocabulary has a vector: on the left each is a row of numbers, on the right the same vectors are drawn as a map, and what you point at is lit in both.",
    "A map of two dimensions loses most of what is near to what, so how much it keeps stands on it, and neighbours are always found in the original space.",
    "A dimension seems to mean something for many reasons; beside each stands how often a random direction would seem to mean as much."],
  docs: "understanding.md#is-an-embedding-a-look-up-table-or-a-space-of-meaning",
};

const ROWS = 256, CARDS = 6, GUTTER = 34, MAP = 620;
/** @type {[string, string, RegExp][]} */
const KINDS = [["upper case", "#cc79a7", /^\p{Lu}$/u], ["vowel", "#e69f00", /^[aeiou]$/], ["digit", "#009e73", /^\p{N}+$/u], ["letter", "", /^\p{L}$/u], ["mark or white space", "#d55e00", /^[^\p{L}\p{N}]$/u]];
const kind = (/** @type {string} */ token) => KINDS.find(([, , is]) => is.test(token));

/** @param {HTMLElement} root @param {import("../types.js").Address} address @param {import("../types.js").Shell} shell */
export async function show(root, address, shell) {
  const { params } = address, run = shell.run(), at = (/** @type {string[]} */ ...parts) => shell.api.path("runs", run?.name ?? "", ...parts);
  const note = (/** @type {any} */ changes) => { shell.go(changes, { quiet: true }); for (const [k, v] of Object.entries(changes)) v == null ? params.delete(k) : params.set(k, `${v}`); };
  const asked = (params.get("analogy") ?? "").split(" ").filter(Boolean);
  const look = (/** @type {string[]} */ words) => shell.api.get(`${at("look", "embeddings")}${words.length === 3 ? `?${new URLSearchParams(words.map((word) => ["analogy", word]))}` : ""}`);
  const [{ numbers: all, figures }, first] = await Promise.all([look(asked), packed(at("vectors"), { step: params.get("step") })]);
  let vectors = first, table = all.tables.find((/** @type {any} */ t) => t.table.name === params.get("table")) ?? all.tables[0];
  const tokens = /** @type {string[]} */ (all.tokens), V = tokens.length, byCount = tokens.map((_, i) => i).sort((a, b) => all.counts[b] - all.counts[a]);
  const rows = V > ROWS ? byCount.slice(0, ROWS) : tokens.map((_, i) => i), place = new Map(rows.map((id, i) => [id, i]));
  const quoted = (/** @type {number} */ id) => `“${tokens[id]}”${all.counts[id] < all.too_few ? "*" : ""}`;
  const locked = () => (params.has("token") ? tokens.indexOf(params.get("token") ?? "") : -1);

  const heat = h("div"), map = h("div"), near = h("div"), cards = h("div", { class: "stack" }), answers = h("div"), more = h("div", { class: "card stack" }), said = h("p", { class: "muted" });
  const word = (/** @type {string} */ label, /** @type {number} */ i) => h("input", { class: "mono word", "aria-label": label, placeholder: "abc"[i], value: asked[i] ?? "" });
  const words = [word("a", 0), word("b", 1), word("c", 2)], answered = latest(answers);
  root.append(h("div", { class: "card stack" }, h("div", { class: "row apart" }, all.tables.length > 1 && segments("Table", all.tables.map((/** @type {any} */ t) => [t.table.name, t.table.name]), table.table.name, (name) => {
    note({ table: name });
    table = all.tables.find((/** @type {any} */ t) => t.table.name === name);
    paint();
  }), steps(run, params.get("step"), async (step) => { note({ step }); vectors = await packed(at("vectors"), { step }); root.dataset.step = `${step}`; redraw(); })), said),
  h("div", { class: "card pair even" }, h("div", { class: "stack" }, h("h2", null, "Each token a row"), heat), h("div", { class: "stack" }, h("h2", null, "The same as a map"), map)),
  h("div", { class: "halves" }, h("div", { class: "card stack" }, h("h2", null, "Nearest in the original space"), near),
    h("form", { class: "card stack", onsubmit: (/** @type {Event} */ e) => { e.preventDefault(); question(); } }, h("h2", null, "Analogies, nothing left out"),
      h("div", { class: "row" }, words[0], "is to", words[1], "as", words[2], "is to …", h("button", null, "Ask")), answers)), cards, more);

  const V2 = () => vectors[table.table.name];
  const moment = () => table.through.find((/** @type {any} */ m) => m.step === vectors.step);
  /** @type {any} */ let rowsDrawn, /** @type {any} */ mapDrawn;
  const hover = (/** @type {any} */ hit) => {
    const id = hit?.id ?? locked(), lit = id < 0 ? null : { id };
    if (hit?.d === undefined) rowsDrawn.show(lit && place.has(id) ? lit : null, false);
    if (hit?.d !== undefined || hit === null) mapDrawn.show(lit, false);
    neighbours(id);
  };
  const pick = (/** @type {any} */ { id, d }) => { note({ token: tokens[id], ...(d === undefined ? {} : { dimension: d }) }); meanings(); hover({ id }); };

  function drawRows() {
    const C = V2().shape[1], tall = Math.max(3, Math.min(16, MAP / rows.length));
    rowsDrawn = picture((fill(heat), heat), {
      name: `embeddings-${run?.name}-${table.table.name}`, label: `${rows.length} tokens by ${C} numbers`, height: () => rows.length * tall + 1,
      draw: (pen, w) => {
        const far = reach(V2()), values = new Float32Array(rows.length * C);
        rows.forEach((id, i) => values.set(V2().subarray(id * C, id * C + C), i * C));
        pen.image(pixels(values, rows.length, C, ramp("signed"), -far, far), GUTTER, 0, w - GUTTER - 1, rows.length * tall);
        if (tall > 7) rows.forEach((id, i) => pen.text(tokens[id].slice(0, 4), GUTTER - 6, (i + 0.5) * tall, { size: 10, align: "right", fill: colour("muted") }));
      },
      find: (x, y, w) => { const i = Math.floor(y / tall), d = Math.floor(((x - GUTTER) * C) / (w - GUTTER - 1)); return i >= 0 && i < rows.length && d < C ? { id: rows[i], d: Math.max(0, d) } : null; },
      light: (pen, { id, d }, w) => {
        const y = (place.get(id) ?? 0) * tall, cell = (w - GUTTER - 1) / C;
        pen.rect(GUTTER, y, w - GUTTER - 1, tall, "", colour("ink"));
        pen.text(tokens[id].slice(0, 4), GUTTER - 6, y + tall / 2, { size: 12, align: "right", bold: true, fill: colour("accent") });
        if (d !== undefined) pen.rect(GUTTER + d * cell, 0, cell, rows.length * tall, "", colour("bad"));
      },
      tell: ({ id, d }) => `${quoted(id)}, ${whole(all.counts[id])} times in the training text${d === undefined ? "" : `; dimension ${d}: ${V2()[id * C + d].toFixed(4)}`}`,
      move: (hit, dx, dy) => ({ id: rows[Math.max(0, Math.min(rows.length - 1, (place.get(hit?.id ?? -1) ?? 0) + dy))], d: Math.max(0, Math.min(C - 1, (hit?.d ?? 0) + dx)) }),
      hover, pick, data: () => ({ step: vectors.step, table: table.table.name, tokens, counts: all.counts, vectors: lists(V2()) }),
    });
  }

  function drawMap() {
    const high = (/** @type {number} */ w) => Math.min(MAP, w + 130), now = () => moment() ?? { points: table.flat.points, kept: table.flat.kept };
    const every = [table.flat.points, ...table.through.map((/** @type {any} */ m) => m.points)].flat(), [x0, x1, y0, y1] = [0, 1].flatMap((c) => [Math.min(...every.map((p) => p[c])), Math.max(...every.map((p) => p[c]))]);
    const told = () => {
      const { flat } = table, m = moment(), axes = flat.explained.length ? `, axes hold ${percent(flat.explained[0] + flat.explained[1])} of the variance` : "";
      return [`${flat.method === "pca" ? "PCA" : flat.method}${axes}`, `${percent(now().kept)} of the 5 nearest kept (chance ${percent(flat.chance)})`, m ? `${percent(m.same)} of the nearest are those of today` : ""].filter(Boolean);
    };
    const spot = (/** @type {number} */ id, /** @type {number} */ w) => {
      const scale = Math.min((w - 40) / (x1 - x0 || 1), (high(w) - 130) / (y1 - y0 || 1)), [x, y] = now().points[id];
      return [w / 2 + (x - (x0 + x1) / 2) * scale, high(w) / 2 + 16 - (y - (y0 + y1) / 2) * scale];
    };
    const tint = (/** @type {number} */ id) => kind(tokens[id])?.[1] || colour("accent");
    const label = (/** @type {any} */ pen, /** @type {number} */ id, /** @type {number} */ w, big = false) => { const [x, y] = spot(id, w); pen.dot(x, y, big ? 5 : 3, tint(id)); pen.text(tokens[id], x + 7, y, { size: big ? 15 : 12, bold: big }); };
    mapDrawn = picture((fill(map), map), {
      name: `map-${run?.name}-${table.table.name}`, label: "Tokens as points of two dimensions", height: high,
      draw: (pen, w) => {
        told().forEach((line, i) => pen.text(line, 0, 10 + 18 * i, { mono: false, bold: i > 0, fill: colour(i ? "ink" : "muted") }));
        /** @type {[number, number, number][]} */ const taken = [];
        for (const id of byCount) {
          const [x, y] = spot(id, w), wide = 8 * tokens[id].length + 8, free = taken.every(([a, b, c]) => Math.abs(y - b) > 11 || x > a + c || x + wide < a);
          if (free && taken.length < 200) { label(pen, id, w); taken.push([x, y, wide]); } else pen.dot(x, y, 2.5, tint(id));
        }
        if (V < 200) KINDS.filter((k) => tokens.some((t) => kind(t) === k)).reduce(([x, y], [name, fillWith]) => {
          const wide = 24 + 6.2 * name.length, [a, b] = x + wide > w ? [0, y + 16] : [x, y];
          pen.dot(a + 5, b, 4, fillWith || colour("accent")); pen.text(name, a + 14, b, { mono: false, size: 11, fill: colour("muted") });
          return [a + wide, b];
        }, [0, high(w) - 26]);
      },
      find: (x, y, w) => {
        let best = -1, least = 400;
        for (let id = 0; id < V; id++) { const [a, b] = spot(id, w), far = (a - x) ** 2 + (b - y) ** 2; if (far < least) { least = far; best = id; } }
        return best < 0 ? null : { id: best };
      },
      light: (pen, { id }, w) => {
        const [x, y] = spot(id, w);
        for (const other of table.neighbours.euclidean[id]) { const [a, b] = spot(other, w); pen.line(x, y, a, b, colour("accent"), 1.5, 0.7); label(pen, other, w, true); }
        pen.dot(x, y, 8, colour("accent-soft"), colour("accent"));
        label(pen, id, w, true);
      },
      tell: ({ id }) => `${quoted(id)}: lines lead to its 5 nearest in the original space`,
      move: (hit, dx, dy) => ({ id: byCount[Math.max(0, Math.min(V - 1, byCount.indexOf(hit?.id ?? -1) + (dx || dy)))] }),
      hover, pick, data: () => ({ step: vectors.step, table: table.table.name, tokens, ...now(), chance: table.flat.chance }),
    });
  }

  function neighbours(/** @type {number} */ id) {
    near.dataset.token = tokens[id] ?? "";
    if (id < 0) return fill(near, h("p", { class: "muted" }, "Point at a row or at a point; click to keep it."));
    const { cosine, cosines, euclidean, distances } = table.neighbours;
    fill(near, h("p", null, h("b", { class: "mono" }, quoted(id)), ` · ${whole(all.counts[id])} times in the training text${all.counts[id] < all.too_few ? ", too few to tell" : ""}`),
      h("div", { class: "scroll" }, h("table", { class: "worth" }, h("thead", null, h("tr", null, h("th", { scope: "col", colspan: 2 }, "by cosine"), h("th", { scope: "col", colspan: 2 }, "by distance"))), h("tbody", null, cosine[id].map((/** @type {number} */ other, /** @type {number} */ k) =>
        h("tr", null, h("td", { class: "mono" }, quoted(other)), h("td", { class: "n" }, cosines[id][k].toFixed(3)), h("td", { class: "mono" }, quoted(euclidean[id][k])), h("td", { class: "n" }, (-distances[id][k]).toFixed(3))))))));
  }

  function answer(/** @type {any[]} */ analogies) {
    fill(answers, analogies.length ? analogies.flatMap(({ a, b, c, answers: given }) => given.map((/** @type {any} */ one) => h("div", { class: "answer" }, h("p", null, h("b", null, one.table), `: ${b} − ${a} + ${c} is nearest to `, h("b", { class: "mono", data: { answer: one.table } }, one.first), " of all that are no input; ", `nearest to ${b} alone ${one.near_b}, to ${c} alone ${one.near_c}.`),
      h("p", { class: "row mono" }, one.ranked.map((/** @type {any} */ r) => h("span", { class: r.is_input ? "chip given" : "chip" }, `${r.rank} ${r.token} ${r.cosine.toFixed(2)}`)))))) : h("p", { class: "muted" }, "Three tokens: a is to b as c is to …? Inputs keep the ranks they have, and beside stands what is nearest without any arithmetic."),
    table.cases && h("p", { class: "muted" }, `Case pairs, A − a + b = B for ${table.cases.letters} letters: ${percent(table.cases.correct)} of ${table.cases.questions} correct without the inputs, ${percent(table.cases.correct_with_inputs)} with them; nearest to b alone ${percent(table.cases.baseline)}, chance ${percent(table.cases.chance)}.`));
  }
  const question = () => { note({ analogy: words.map((w) => w.value).join(" ") }); answered(look(words.map((w) => w.value)), ({ numbers }) => answer(all.analogies = numbers.analogies)); };

  function meanings() {
    const { features, dimensions, trials, tokens: told } = table.meaning, own = params.get("dimension");
    const chosen = [...dimensions].sort((a, b) => Number(`${b.number}` === own) - Number(`${a.number}` === own) || b.share - a.share).slice(0, CARDS), p = (/** @type {number} */ v) => `p ${v < 0.001 ? v.toExponential(0) : v.toFixed(3)}`;
    fill(cards, h("h2", null, "What does a dimension mean?"), h("div", { class: "grid" }, chosen.map((d) => h("div", { class: "card stack dimension", data: { dimension: d.number, own: `${d.number}` === own } }, h("h3", null, `Dimension ${d.number}`, h("small", null, ` ${percent(d.share)} of the variance`)),
      h("p", { class: "mono" }, h("small", null, "most "), d.top.join(" "), h("small", null, "  least "), d.bottom.join(" ")),
      Object.entries(d.correlations).map(([name, r]) => h("div", { class: "corr" }, h("span", null, name), h("span", { class: "axis" }, h("i", { class: r < 0 ? "less" : "", style: { "--share": `${Math.abs(r)}` } })), h("span", { class: "mono" }, `${r < 0 ? "−" : "+"}${Math.abs(r).toFixed(2)}`), h("small", { class: d.p_rotation[name] <= 0.05 ? "found" : "" }, p(d.p_rotation[name]))))))),
    h("div", { class: "card stack" }, h("div", { class: "scroll" }, h("table", { class: "worth" }, h("thead", null, h("tr", null, h("th", { scope: "col" }, "Feature"), ["Tokens", "Best dimension", "r", "Best after a random turn", "p turned", "p dealt"].map((name) => h("th", { scope: "col", class: "n" }, name)))),
      h("tbody", null, features.map((/** @type {any} */ f) => h("tr", null, h("th", { scope: "row" }, f.name), [f.tokens, f.best_dimension, f.correlation.toFixed(2), f.rotated.toFixed(2), f.p_rotation.toFixed(3), f.p_permutation.toFixed(3)].map((v) => h("td", { class: "n" }, v))))))),
    h("p", { class: "muted" }, `Over ${told} tokens that occur often enough. p turned: how often one of ${trials} random rotations of the same space has a dimension that goes along as well; p dealt: the same with the vectors dealt out to other tokens; both times the features tested, those on cards times dimensions and features.`)));
  }

  function redraw() { rowsDrawn.redraw(); mapDrawn.redraw(); }
  function paint() {
    fill(said, `${table.table.name}: ${table.table.about}. Rank ${table.spectrum.rank} of at most ${table.spectrum.most}; as if ${table.spectrum.participation.toFixed(1)} dimensions were used evenly.`, V > ROWS ? ` Rows: the ${ROWS} most frequent of ${whole(V)} tokens.` : "");
    drawRows(); drawMap(); answer(all.analogies); meanings();
    hover(locked() < 0 ? null : { id: locked() });
    mapDrawn.show(locked() < 0 ? null : { id: locked() }, false);
    fill(more, Object.entries(figures).filter(([name]) => /^(solid|dimensions)-/.test(name) ? name.endsWith(`-${table.table.name}`) : /singular|direct/.test(name)).map(([name, figure]) =>
      h("details", { class: "more", data: { picture: name }, ontoggle: (/** @type {any} */ e) => { if (e.target.open && !e.target.children[1]) draw(e.target, figure, { name: `${run?.name}-${name}` }); } }, h("summary", null, figure.layout.title.text.split("<br>")[0]))));
  }
  paint();
  root.dataset.step = `${vectors.step}`;
}
