// @ts-check
/** Text that can be seen: white space as glyphs, what cannot be printed as its code point. */

/** @type {Record<string, string>} */
const WHITE_SPACE = { " ": "·", "\n": "↵", "\t": "→", "\r": "␍" };

/** @param {string} text */
export const visible = (text) => [...text].map((c) => WHITE_SPACE[c]
  ?? (/[\p{C}\p{Z}]/u.test(c) ? `U+${(c.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}` : c)).join("");
