// @ts-check
/** Own pictures: one drawing, on a canvas for the screen and as SVG for a file; what is pointed at is lit on a second canvas. */

import { download, h } from "./dom.js";
import { buttons, colour } from "./figure.js";

const MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace", SANS = "system-ui, sans-serif";

/** @typedef {import("../types.js").Pen} Pen */

/** Draws on a canvas. @type {(c: CanvasRenderingContext2D) => Pen} */
const ink = (c) => ({
  rect(x, y, w, h, fill, stroke) {
    if (fill) { c.fillStyle = fill; c.fillRect(x, y, w, h); }
    if (stroke) { c.strokeStyle = stroke; c.lineWidth = 1.5; c.strokeRect(x, y, w, h); }
  },
  line(x1, y1, x2, y2, stroke, width = 1, alpha = 1) {
    Object.assign(c, { strokeStyle: stroke, lineWidth: width, globalAlpha: alpha });
    c.beginPath(); c.moveTo(x1, y1); c.lineTo(x2, y2); c.stroke();
    c.globalAlpha = 1;
  },
  dot(x, y, r, fill, stroke) {
    c.beginPath(); c.arc(x, y, r, 0, 7); c.fillStyle = fill; c.fill();
    if (stroke) { c.strokeStyle = stroke; c.lineWidth = 1.5; c.stroke(); }
  },
  text(words, x, y, { fill = colour("ink"), size = 12, align = "left", mono = true, bold = false, turn = false } = {}) {
    Object.assign(c, { fillStyle: fill, font: `${bold ? 600 : 400} ${size}px ${mono ? MONO : SANS}`, textAlign: align, textBaseline: "middle" });
    c.save(); c.translate(x, y);
    if (turn) c.rotate(-Math.PI / 2);
    c.fillText(words, 0, 0); c.restore();
  },
  image(image, x, y, w, h) {
    c.imageSmoothingEnabled = w < image.width;
    c.drawImage(image, x, y, w, h);
  },
});

const escaped = (/** @type {string} */ s) => s.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/** Writes SVG. @type {(parts: string[]) => Pen} */
const svg = (parts) => ({
  rect(x, y, w, h, fill, stroke) { parts.push(`<rect x="${x}" y="${y}" width="${w}" height="${h}" fill="${fill || "none"}" stroke="${stroke ?? "none"}"/>`); },
  line(x1, y1, x2, y2, stroke, width = 1, alpha = 1) { parts.push(`<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="${stroke}" stroke-width="${width}" opacity="${alpha}"/>`); },
  dot(x, y, r, fill, stroke) { parts.push(`<circle cx="${x}" cy="${y}" r="${r}" fill="${fill}" stroke="${stroke ?? "none"}"/>`); },
  text(words, x, y, { fill = colour("ink"), size = 12, align = "left", mono = true, bold = false, turn = false } = {}) {
    const anchor = { left: "start", center: "middle", right: "end" }[align], turned = turn ? ` transform="rotate(-90 ${x} ${y})"` : "";
    parts.push(`<text x="${x}" y="${y}" font-size="${size}" font-weight="${bold ? 600 : 400}" font-family="${mono ? MONO : SANS}" text-anchor="${anchor}" dominant-baseline="central" fill="${fill}"${turned}>${escaped(words)}</text>`);
  },
  image(image, x, y, w, h) { parts.push(`<image href="${image.toDataURL()}" x="${x}" y="${y}" width="${w}" height="${h}" preserveAspectRatio="none" style="image-rendering:pixelated"/>`); },
});

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

/** Scales a canvas for its screen. @param {HTMLCanvasElement} canvas @param {number} w @param {number} h @param {number} [by] */
function prepared(canvas, w, h, by = devicePixelRatio) {
  canvas.width = Math.max(1, Math.round(w * by)); canvas.height = Math.max(1, Math.round(h * by));
  canvas.style.setProperty("height", `${h}px`); canvas.style.setProperty("width", `${w}px`);
  const c = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  c.scale(by, by);
  return { pen: ink(c), clear: () => c.clearRect(0, 0, w, h) };
}

/**
 * A picture with its line of words below and its downloads. `redraw` draws all of it, `show` lights a hit from outside.
 * @template Hit @param {Element} parent @param {import("../types.js").Sketch<Hit>} sketch
 */
export function picture(parent, sketch) {
  const base = h("canvas"), over = h("canvas", { class: "over" }), told = h("p", { class: "told", "aria-live": "polite" });
  const stage = h("div", { class: "stage", role: "img", tabindex: 0, "aria-label": sketch.label, data: { picture: sketch.name } }, base, over);
  const made = h("figure", { class: "own" }, stage, told, files());
  parent.append(made);
  let width = 0, frame = 0;
  /** @type {Hit | null} */ let hit = null;
  /** @type {ReturnType<typeof prepared>} */ let top;
  const redraw = () => {
    width = Math.floor(made.clientWidth);
    if (!width) return;
    sketch.draw(prepared(base, width, sketch.height(width)).pen, width);
    top = prepared(over, width, sketch.height(width));
    show(hit);
  };
  const show = (/** @type {Hit | null} */ found, words = true) => {
    hit = found;
    const began = performance.now();
    top?.clear();
    if (hit !== null && top) sketch.light(top.pen, hit, width);
    if (words) told.textContent = hit === null ? "" : sketch.tell(hit);
    stage.dataset.lit = (performance.now() - began).toFixed(2);
  };
  const enter = (/** @type {Hit | null} */ found) => {
    if (JSON.stringify(found) === JSON.stringify(hit)) return;
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => { show(found); sketch.hover?.(found); });
  };
  stage.addEventListener("pointermove", (/** @type {PointerEvent} */ e) => enter(sketch.find(e.offsetX, e.offsetY, width)));
  stage.addEventListener("pointerleave", () => enter(null));
  stage.addEventListener("click", (/** @type {PointerEvent} */ e) => { const found = sketch.find(e.offsetX, e.offsetY, width); if (found !== null) sketch.pick?.(found); });
  stage.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => {
    const by = /** @type {Record<string, number[]>} */ ({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] })[e.key];
    if (by) { e.preventDefault(); enter(sketch.move(hit, by[0], by[1])); }
    if (e.key === "Enter" && hit !== null) sketch.pick?.(hit);
  });
  const watch = new ResizeObserver(() => { if (Math.floor(made.clientWidth) !== width) redraw(); });
  watch.observe(made);
  const themed = () => (made.isConnected ? redraw() : (removeEventListener("themechange", themed), watch.disconnect()));
  addEventListener("themechange", themed);
  redraw();
  return { redraw, show, made };

  function files() {
    const whole = (/** @type {Pen} */ pen) => { pen.rect(0, 0, width, sketch.height(width), colour("card")); sketch.draw(pen, width); };
    return buttons(sketch.name, {
      PNG: () => { const canvas = h("canvas"); whole(prepared(canvas, width, sketch.height(width), 2).pen); canvas.toBlob((/** @type {Blob} */ blob) => download(`${sketch.name}.png`, blob)); },
      SVG: () => {
        const parts = /** @type {string[]} */ ([]), high = sketch.height(width);
        whole(svg(parts));
        download(`${sketch.name}.svg`, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${high}" width="${width}" height="${high}">${parts.join("")}</svg>`, "image/svg+xml");
      },
      Data: () => download(`${sketch.name}.json`, JSON.stringify(sketch.data())),
    });
  }
}

/** One of the parts of an array along its first axis. @param {import("../types.js").Numbers} array @param {number} i @returns {import("../types.js").Numbers} */
export function part(array, i) {
  const [, ...shape] = array.shape, size = shape.reduce((a, b) => a * b, 1);
  return Object.assign(array.subarray(i * size, (i + 1) * size), { shape });
}

/** As lists of lists, for a file; what is no number as null. @param {import("../types.js").Numbers} array @returns {any} */
export const lists = (array) => (array.shape.length === 1 ? Array.from(array, (v) => (Number.isFinite(v) ? v : null))
  : Array.from({ length: array.shape[0] }, (_, i) => lists(part(array, i))));
