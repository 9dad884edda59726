// @ts-check
/** Elements from words: text is always text, never markup. */

/** @import {Attributes} from "../types.js" */

/**
 * An element. Attributes: `class`, `on...` handlers, `style` as an object, `data` as an object; true stands for a bare
 * attribute; null, undefined and false leave one out. Children: elements, texts, lists of them.
 * @param {string} tag @param {Attributes | null} [attributes] @param {...any} children @returns {any}
 */
export function h(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(/** @type {any} */ (attributes ?? {}))) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, v] of Object.entries(value)) made.style.setProperty(key, v);
    else if (name === "data") Object.assign(made.dataset, value);
    else if (name === "value" || name === "checked") /** @type {any} */ (made)[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  if (children.length) fill(made, children);
  return made;
}

/** Other children. @param {Element} parent @param {...any} children */
export const fill = (parent, ...children) => parent.replaceChildren(...children.flat(9).filter((c) => c != null && c !== false));

/** A labelled field. @param {string} label @param {any} input */
export const field = (label, input) => h("label", { class: "field" }, h("span", null, label), input);

/**
 * A choice of one. @param {[string, string][]} options value and words @param {string} value
 * @param {(value: string) => void} change @param {any} [attributes]
 */
export function select(options, value, change, attributes) {
  const made = h("select", { ...attributes, onchange: () => change(made.value) },
    options.map(([v, words]) => h("option", { value: v }, words)));
  made.value = value;
  return made;
}

/**
 * Buttons of which one is pressed. @param {string} label @param {[string, string][]} options @param {string} value
 * @param {(value: string) => void} change
 */
export function segments(label, options, value, change) {
  const buttons = options.map(([v, words]) => h("button", { type: "button", "aria-pressed": `${v === value}`, data: { value: v }, onclick: () => {
    buttons.forEach((b) => b.setAttribute("aria-pressed", `${b.dataset.value === v}`));
    change(v);
  } }, words));
  return h("div", { class: "segments", role: "group", "aria-label": label }, buttons);
}

/** What went wrong, read out. @param {unknown} error */
export const problem = (error) => h("p", { class: "problem", role: "alert" }, error instanceof Error ? error.message : String(error));

/**
 * A question in a dialog; true when it is answered with yes.
 * @param {string} title @param {any} body @param {string} yes @returns {Promise<boolean>}
 */
export function ask(title, body, yes) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-label": title, onclose: () => { resolve(dialog.returnValue === "yes"); dialog.remove(); } },
      h("form", { method: "dialog", onsubmit: (e) => { e.preventDefault(); dialog.close("yes"); } },
        h("h2", null, title), body, h("p", { class: "row end" },
          h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Cancel"), h("button", { class: "primary" }, yes))));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** At most one call per frame and per `wait` ms, with what was last given. @template T @param {(value: T) => void} f */
export function coalesce(f, wait = 100) {
  let waiting = false, last = -Infinity;
  /** @type {T} */ let newest;
  return (/** @type {T} */ value) => {
    newest = value;
    if (waiting) return;
    waiting = true;
    setTimeout(() => requestAnimationFrame((now) => { waiting = false; last = now; f(newest); }), Math.max(0, last + wait - performance.now()));
  };
}

/** Give a file to the person. @param {string} name @param {Blob | string} content */
export function download(name, content, type = "application/json") {
  const url = URL.createObjectURL(typeof content === "string" ? new Blob([content], { type }) : content);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
