// @ts-check
/** Large numbers as the server packs them (studio/packed.py): a head of JSON, then float32. */

import { bytes } from "./api.js";

/** @typedef {Float32Array & {shape: number[]}} Numbers */

/** The head, and its arrays under their names. @param {string} url @param {Record<string, any>} [params] @param {AbortSignal} [signal] @returns {Promise<any>} */
export async function packed(url, params, signal) {
  const buffer = await bytes(url, params, signal), length = new DataView(buffer).getUint32(0, true);
  const { arrays, ...head } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  for (const [name, { at, shape }] of Object.entries(arrays)) {
    const size = shape.reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1);
    head[name] = Object.assign(new Float32Array(buffer, 4 + length + 4 * at, size), { shape });
  }
  return head;
}

/** One of the parts of an array along its first axis. @param {Numbers} array @param {number} i @returns {Numbers} */
export function part(array, i) {
  const [, ...shape] = array.shape, size = shape.reduce((a, b) => a * b, 1);
  return Object.assign(array.subarray(i * size, (i + 1) * size), { shape });
}

/** As lists of lists, for a file; what is no number as null. @param {Numbers} array @returns {any} */
export const lists = (array) => (array.shape.length === 1 ? Array.from(array, (v) => (Number.isFinite(v) ? v : null))
  : Array.from({ length: array.shape[0] }, (_, i) => lists(part(array, i))));
