// @ts-check
/** A page of the documentation, for those who want to read more. */

import { h } from "../lib/dom.js";

export const view = { name: "docs", title: "Read more", about: [], docs: "" };

/** Links and code inside a paragraph. @param {string} text */
const inline = (text) => text.split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\([^)]+\))/).map((part) => {
  const link = part.match(/^\[([^\]]+)\]\(([^)]+)\)$/);
  if (link) return /^(\w+\.md)?(#|$)/.test(link[2]) ? h("a", { href: `#/docs?at=${encodeURIComponent(link[2])}` }, link[1]) : link[1];
  if (part.startsWith("`")) return h("code", null, part.slice(1, -1));
  return part.startsWith("**") ? h("b", null, part.slice(2, -2)) : part;
});

/** The anchor of a heading, as everybody makes it. @param {string} title */
const anchor = (title) => title.toLowerCase().replace(/[^\p{L}\p{N} -]/gu, "").replaceAll(" ", "-");

/** @param {Element} root @param {import("../types.js").Address} address */
export async function show(root, address) {
  const [page, at] = (address.params.get("at") ?? "index.md").split("#");
  const answer = await fetch(`/docs/${encodeURIComponent(page)}`);
  if (!answer.ok) throw new Error(`docs/${page} is not at hand here; it lies in the project's folder docs.`);
  const made = h("article", { class: "card docs" }), blocks = (await answer.text()).split(/(^```[^\n]*\n[\s\S]*?^```$)/m);
  for (const block of blocks) {
    if (block.startsWith("```")) { made.append(h("pre", { tabindex: 0 }, block.replace(/^```[^\n]*\n|```$/g, ""))); continue; }
    for (const part of block.split(/\n{2,}/).map((text) => text.trim()).filter(Boolean)) {
      const head = part.match(/^(#+) (.*)$/);
      if (head) made.append(h(`h${Math.min(3, head[1].length + 1)}`, { id: anchor(head[2]), tabindex: -1 }, inline(head[2])));
      else if (/^\|/.test(part) || /^ {4}/.test(part)) made.append(h("pre", { tabindex: 0 }, part));
      else if (/^[-*] /.test(part)) made.append(h("ul", null, part.split(/\n(?=[-*] )/).map((item) => h("li", null, inline(item.slice(2))))));
      else if (!/^!?\[.*\]\(.*\.(svg|png)\)$/.test(part)) made.append(h("p", null, inline(part)));
    }
  }
  root.append(made);
  if (at) requestAnimationFrame(() => { const there = /** @type {any} */ (made.querySelector(`#${CSS.escape(at)}`)); there?.scrollIntoView(); there?.focus({ preventScroll: true }); });
}
