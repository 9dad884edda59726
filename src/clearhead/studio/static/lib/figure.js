// @ts-check
/** Plotly figures in the page's colours, with their downloads. */

import { download, h } from "./dom.js";

/** @import {Figure} from "../types.js" */

/** @type {Promise<any> | undefined} */ let loading;

/**
 * The page's policy forbids style attributes and style elements, and plotly makes both. An attribute becomes the same
 * style, set as an object; an element (of maps, which nobody draws here) becomes one that does nothing.
 */
const setAttribute = Element.prototype.setAttribute;
Element.prototype.setAttribute = function (name, value) {
  if (name === "style") /** @type {any} */ (this).style.cssText = value;
  else setAttribute.call(this, name, value);
};

document.createElement = (/** @type {string} */ name, /** @type {any} */ how) =>
  Document.prototype.createElement.call(document, name === "style" ? "template" : name, how);

/** plotly.js, loaded when the first picture is drawn. */
export function plotly() {
  return (loading ??= new Promise((resolve, reject) => {
    document.head.append(h("script", { src: "/plotly.js", onload: () => resolve(window.Plotly),
      onerror: () => { loading = undefined; reject(new Error("plotly.js could not be loaded")); } }));
  }));
}

/** A colour of the page. @param {string} name */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** A layout in the page's colours: only its template changes. @param {any} layout */
function themed(layout) {
  const light = layout?.template?.layout ?? {}, rule = colour("rule");
  const axis = { gridcolor: rule, zerolinecolor: colour("line"), linecolor: rule, automargin: true };
  const paper = colour("card");
  const page = { paper_bgcolor: paper, plot_bgcolor: paper, font: { family: "system-ui, sans-serif", size: 13, color: colour("ink") },
    xaxis: { ...light.xaxis, ...axis }, yaxis: { ...light.yaxis, ...axis },
    hoverlabel: { ...light.hoverlabel, bgcolor: paper, bordercolor: colour("line"), font: { ...light.hoverlabel?.font, color: colour("ink") } },
    scene: { xaxis: { ...axis, backgroundcolor: paper }, yaxis: { ...axis, backgroundcolor: paper }, zaxis: { ...axis, backgroundcolor: paper } } };
  return { ...layout, autosize: true, width: undefined, template: { ...layout?.template, layout: { ...light, ...page } } };
}

/** @type {Set<any>} */ const drawn = new Set();
addEventListener("themechange", () => drawn.forEach((div) => {
  if (div.isConnected) window.Plotly.relayout(div, { template: themed(div.asked).template });
  else drawn.delete(div);
}));

/** Draw, or draw again, into an element. @param {any} div @param {Figure} figure @returns {Promise<any>} */
export async function react(div, figure) {
  const library = await plotly();
  div.asked = figure.layout;
  drawn.add(div);
  const layout = themed(figure.layout);
  if (div.dataset.titled) Object.assign(layout, { title: undefined, margin: { ...layout.margin, t: 40 } });
  return library.react(div, figure.data, layout, { displayModeBar: false, responsive: true, displaylogo: false });
}

/** The title of a figure and the words below it, without tags. @param {any} layout @returns {string[]} */
export const titles = (layout) => `${layout?.title?.text ?? ""}`.split("<br>").map((line) => line.replace(/<[^>]*>/g, "")).filter(Boolean);

/** Give its memory back. @param {any} div */
export function purge(div) {
  drawn.delete(div);
  window.Plotly?.purge(div);
}

/**
 * A card with a picture and its downloads: PNG, SVG, and its data as JSON.
 * @param {Element} parent @param {Figure} figure
 * @param {{name: string, label?: string, numbers?: any}} about a name for files, words for those who cannot see it
 */
export async function draw(parent, figure, about) {
  const [title, ...words] = titles(figure.layout), label = about.label ?? title ?? about.name;
  const div = h("div", { class: "plot", role: "img", "aria-label": label, data: { figure: about.name, titled: title ?? "" } });
  parent.append(h("figure", { class: "card" }, title && h("h3", null, title), words.map((line) => h("p", { class: "muted" }, line)), div, exports(div, about)));
  await react(div, figure);
  return div;
}

/** Buttons that download a drawn picture. @param {any} div @param {{name: string, numbers?: any}} about */
export function exports(div, { name, numbers }) {
  const image = (/** @type {string} */ format) => async () => {
    const url = await window.Plotly.toImage({ data: div.data, layout: themed(div.asked) }, { format, width: div.offsetWidth, height: div.offsetHeight, scale: format === "png" ? 2 : 1 });
    const text = decodeURIComponent(url.slice(url.indexOf(",") + 1));
    download(`${name}.${format}`, format === "svg" ? new Blob([text], { type: "image/svg+xml" })
      : new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], { type: "image/png" }));
  };
  const data = () => download(`${name}.json`, JSON.stringify((typeof numbers === "function" ? numbers() : numbers) ?? { data: div.data, layout: div.asked }, null, 1));
  return buttons(name, { PNG: image("png"), SVG: image("svg"), Data: data });
}

/** @param {string} name of the picture @param {Record<string, () => void>} save by the kind of file */
export const buttons = (name, save) => h("figcaption", { class: "exports" }, Object.entries(save).map(([words, onclick]) =>
  h("button", { type: "button", class: "quiet", onclick, "aria-label": `${words} of ${name}` }, words)));
