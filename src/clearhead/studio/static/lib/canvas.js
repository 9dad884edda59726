// @ts-check
/** Own pictures: one drawing, on a canvas for the screen and as SVG for a file; what is pointed at is lit on a second canvas. */

import { download, h } from "./dom.js";
import { colour } from "./figure.js";

export const MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace";

/** @typedef {{fill?: string, size?: number, align?: "left" | "center" | "right", mono?: boolean, bold?: boolean, turn?: boolean}} Lettering */

/** Draws on a canvas. */
class Ink {
  /** @param {CanvasRenderingContext2D} c */
  constructor(c) { this.c = c; }
  /** @param {number} x @param {number} y @param {number} w @param {number} h @param {string} fill @param {string} [stroke] */
  rect(x, y, w, h, fill, stroke) {
    if (fill) { this.c.fillStyle = fill; this.c.fillRect(x, y, w, h); }
    if (stroke) { this.c.strokeStyle = stroke; this.c.lineWidth = 1.5; this.c.strokeRect(x, y, w, h); }
  }
  /** @param {number} x1 @param {number} y1 @param {number} x2 @param {number} y2 @param {string} stroke @param {number} [width] @param {number} [alpha] */
  line(x1, y1, x2, y2, stroke, width = 1, alpha = 1) {
    Object.assign(this.c, { strokeStyle: stroke, lineWidth: width, globalAlpha: alpha });
    this.c.beginPath(); this.c.moveTo(x1, y1); this.c.lineTo(x2, y2); this.c.stroke();
    this.c.globalAlpha = 1;
  }
  /** @param {number} x @param {number} y @param {number} r @param {string} fill @param {string} [stroke] */
  dot(x, y, r, fill, stroke) {
    this.c.beginPath(); this.c.arc(x, y, r, 0, 7); this.c.fillStyle = fill; this.c.fill();
    if (stroke) { this.c.strokeStyle = stroke; this.c.lineWidth = 1.5; this.c.stroke(); }
  }
  /** @param {string} words @param {number} x @param {number} y of the middle @param {Lettering} [how] */
  text(words, x, y, { fill = colour("ink"), size = 12, align = "left", mono = true, bold = false, turn = false } = {}) {
    Object.assign(this.c, { fillStyle: fill, font: `${bold ? 600 : 400} ${size}px ${mono ? MONO : "system-ui, sans-serif"}`, textAlign: align, textBaseline: "middle" });
    if (!turn) return this.c.fillText(words, x, y);
    this.c.save(); this.c.translate(x, y); this.c.rotate(-Math.PI / 2); this.c.fillText(words, 0, 0); this.c.restore();
  }
  /** @param {HTMLCanvasElement} image @param {number} x @param {number} y @param {number} w @param {number} h */
  image(image, x, y, w, h) {
    this.c.imageSmoothingEnabled = w < image.width;
    this.c.drawImage(image, x, y, w, h);
  }
}

const escaped = (/** @type {string} */ s) => s.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/** Writes SVG. @implements {Pick<Ink, "rect" | "line" | "dot" | "text" | "image">} */
class Svg {
  /** @type {string[]} */ parts = [];
  /** @type {Ink["rect"]} */
  rect(x, y, w, h, fill, stroke) { this.parts.push(`<rect x="${x}" y="${y}" width="${w}" height="${h}" fill="${fill || "none"}" stroke="${stroke ?? "none"}"/>`); }
  /** @type {Ink["line"]} */
  line(x1, y1, x2, y2, stroke, width = 1, alpha = 1) { this.parts.push(`<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="${stroke}" stroke-width="${width}" opacity="${alpha}"/>`); }
  /** @type {Ink["dot"]} */
  dot(x, y, r, fill, stroke) { this.parts.push(`<circle cx="${x}" cy="${y}" r="${r}" fill="${fill}" stroke="${stroke ?? "none"}"/>`); }
  /** @type {Ink["text"]} */
  text(words, x, y, { fill = colour("ink"), size = 12, align = "left", mono = true, bold = false, turn = false } = {}) {
    const anchor = { left: "start", center: "middle", right: "end" }[align], turned = turn ? ` transform="rotate(-90 ${x} ${y})"` : "";
    this.parts.push(`<text x="${x}" y="${y}" font-size="${size}" font-weight="${bold ? 600 : 400}" font-family="${mono ? MONO : "system-ui, sans-serif"}" text-anchor="${anchor}" dominant-baseline="central" fill="${fill}"${turned}>${escaped(words)}</text>`);
  }
  /** @type {Ink["image"]} */
  image(image, x, y, w, h) { this.parts.push(`<image href="${image.toDataURL()}" x="${x}" y="${y}" width="${w}" height="${h}" preserveAspectRatio="none" style="image-rendering:pixelated"/>`); }
}

/** @typedef {Ink | Svg} Pen */

/** Whether the page is dark. */
export const dark = () => /^#?[0-3]/.test(colour("card"));

const RAMPS = {
  amount: [["#ffffff", "#d3e5f2", "#85b9dc", "#2f81b7", "#0a4a78", "#062c4a"], ["", "#17344a", "#1f5f8c", "#3f93cb", "#93cbf2", "#eef8ff"]],
  signed: [["#a13a1c", "#dd8a68", "#f5d5c6", "#ffffff", "#c5dcef", "#6aa7d6", "#0f5591"], ["#ffb59a", "#c9623f", "#5e3326", "", "#1f3f5c", "#3d82bd", "#a8d8ff"]],
};

/** 256 colours from little to much, or from minus to plus. @param {"amount" | "signed"} kind @returns {number[][]} */
export function ramp(kind) {
  const stops = RAMPS[kind][dark() ? 1 : 0].map((hex) => [1, 3, 5].map((at) => parseInt((hex || colour("card")).slice(at, at + 2), 16)));
  return Array.from({ length: 256 }, (_, i) => {
    const at = (i / 255) * (stops.length - 1), low = Math.min(stops.length - 2, Math.floor(at));
    return stops[low].map((v, c) => Math.round(v + (at - low) * (stops[low + 1][c] - v)));
  });
}

/** Where a value stands on a ramp; amounts go by their root, for most are small. @param {number} v @param {number} low @param {number} high */
const place = (v, low, high) => Math.round(255 * (low ? Math.max(0, Math.min(1, (v - low) / (high - low || 1))) : Math.sqrt(Math.max(0, Math.min(1, v / high)))));

/** The colour of a cell, and of writing on it. @param {number[][]} shades @param {number} v @param {number} low @param {number} high */
export function shade(shades, v, low, high) {
  const [r, g, b] = shades[place(v, low, high)];
  return { fill: `rgb(${r},${g},${b})`, ink: 0.21 * (r / 255) ** 2.2 + 0.72 * (g / 255) ** 2.2 + 0.07 * (b / 255) ** 2.2 > 0.179 ? "#000" : "#fff" };
}

/** A matrix as an image of a pixel a cell; what is no number stays clear. @param {ArrayLike<number>} values @param {number} rows @param {number} columns @param {number[][]} shades @param {number} low @param {number} high */
export function pixels(values, rows, columns, shades, low, high) {
  const image = new ImageData(columns, rows), out = image.data;
  for (let i = 0, at = 0; i < rows * columns; i++, at += 4) {
    if (values[i] !== values[i]) continue;
    const [r, g, b] = shades[place(values[i], low, high)];
    out[at] = r; out[at + 1] = g; out[at + 2] = b; out[at + 3] = 255;
  }
  const made = h("canvas", { width: columns, height: rows });
  made.getContext("2d").putImageData(image, 0, 0);
  return /** @type {HTMLCanvasElement} */ (made);
}

/** A weight that few cells of a pattern pass: colours end there, for most weights of a long text are small. @param {ArrayLike<number>} values @param {number} rows @param {number} columns */
export function darkest(values, rows, columns) {
  let most = 0;
  for (let i = (rows >> 1) * columns; i < rows * columns; i++) if (values[i] > most) most = values[i];
  return most || 1;
}

/** The largest absolute value, and 1 where there is none. @param {ArrayLike<number>} values */
export function reach(values) {
  let most = 0;
  for (let i = 0; i < values.length; i++) if (Math.abs(values[i]) > most) most = Math.abs(values[i]);
  return most || 1;
}

/**
 * @template Hit
 * @typedef {object} Sketch
 * @property {string} name of the picture's files
 * @property {string} label for those who cannot see it
 * @property {(width: number) => number} height
 * @property {(pen: Pen, width: number) => void} draw
 * @property {(x: number, y: number, width: number) => Hit | null} [find] what lies at a point
 * @property {(pen: Pen, hit: Hit, width: number) => void} [light]
 * @property {(hit: Hit) => string} [tell] in a line
 * @property {(hit: Hit) => void} [pick]
 * @property {(hit: Hit | null, dx: number, dy: number) => Hit} [move] by the arrow keys
 * @property {(hit: Hit | null) => void} [hover]
 * @property {() => any} data
 */

/** Scales a canvas for its screen. @param {HTMLCanvasElement} canvas @param {number} w @param {number} h @param {number} [by] */
function prepared(canvas, w, h, by = devicePixelRatio) {
  canvas.width = Math.max(1, Math.round(w * by)); canvas.height = Math.max(1, Math.round(h * by));
  canvas.style.setProperty("height", `${h}px`); canvas.style.setProperty("width", `${w}px`);
  const c = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  c.scale(by, by);
  return new Ink(c);
}

/**
 * A picture with its line of words below and its downloads. `redraw` draws all of it, `show` lights a hit from outside.
 * @template Hit @param {Element} parent @param {Sketch<Hit>} sketch
 */
export function picture(parent, sketch) {
  const base = h("canvas"), over = h("canvas", { class: "over" }), told = h("p", { class: "told", "aria-live": "polite" });
  const stage = h("div", { class: "stage", role: "img", tabindex: sketch.find ? 0 : null, "aria-label": sketch.label, data: { picture: sketch.name } }, base, over);
  const made = h("figure", { class: "own" }, stage, told, files(sketch, () => width));
  parent.append(made);
  let width = 0, frame = 0;
  /** @type {Hit | null} */ let hit = null;
  /** @type {Ink} */ let top;
  const redraw = () => {
    width = Math.floor(made.clientWidth);
    if (!width) return;
    sketch.draw(prepared(base, width, sketch.height(width)), width);
    top = prepared(over, width, sketch.height(width));
    show(hit);
  };
  const show = (/** @type {Hit | null} */ found, words = true) => {
    hit = found;
    const began = performance.now();
    top?.c.clearRect(0, 0, width, sketch.height(width));
    if (hit !== null && top) sketch.light?.(top, hit, width);
    if (words && sketch.tell) told.textContent = hit === null ? "" : sketch.tell(hit);
    stage.dataset.lit = (performance.now() - began).toFixed(2);
  };
  const point = (/** @type {PointerEvent} */ e) => sketch.find?.(e.offsetX, e.offsetY, width) ?? null;
  const enter = (/** @type {Hit | null} */ found) => {
    if (JSON.stringify(found) === JSON.stringify(hit)) return;
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => { show(found); sketch.hover?.(found); });
  };
  if (sketch.find) {
    stage.addEventListener("pointermove", (/** @type {PointerEvent} */ e) => enter(point(e)));
    stage.addEventListener("pointerleave", () => enter(null));
    stage.addEventListener("click", (/** @type {any} */ e) => { const found = point(e); if (found !== null) sketch.pick?.(found); });
    stage.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => {
      const by = /** @type {Record<string, number[]>} */ ({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] })[e.key];
      if (by && sketch.move) { e.preventDefault(); enter(sketch.move(hit, by[0], by[1])); }
      if (e.key === "Enter" && hit !== null) sketch.pick?.(hit);
    });
  }
  const watch = new ResizeObserver(() => { if (Math.floor(made.clientWidth) !== width) redraw(); });
  watch.observe(made);
  const themed = () => (made.isConnected ? redraw() : (removeEventListener("themechange", themed), watch.disconnect()));
  addEventListener("themechange", themed);
  redraw();
  return { redraw, show, made };
}

/** Buttons for the files of a sketch. @param {Sketch<any>} sketch @param {() => number} across */
export function files(sketch, across) {
  const png = () => {
    const canvas = h("canvas"), w = across(), pen = prepared(canvas, w, sketch.height(w), 2);
    pen.rect(0, 0, w, sketch.height(w), colour("card"));
    sketch.draw(pen, w);
    canvas.toBlob((/** @type {Blob} */ blob) => download(`${sketch.name}.png`, blob));
  };
  const svg = () => {
    const pen = new Svg(), w = across(), high = sketch.height(w);
    pen.rect(0, 0, w, high, colour("card"));
    sketch.draw(pen, w);
    download(`${sketch.name}.svg`, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${w} ${high}" width="${w}" height="${high}">${pen.parts.join("")}</svg>`, "image/svg+xml");
  };
  const data = () => download(`${sketch.name}.json`, JSON.stringify(sketch.data()));
  return h("figcaption", { class: "exports" }, /** @type {[string, () => void][]} */ ([["PNG", png], ["SVG", svg], ["Data", data]]).map(([words, onclick]) =>
    h("button", { type: "button", class: "quiet", onclick, "aria-label": `${words} of ${sketch.name}` }, words)));
}
