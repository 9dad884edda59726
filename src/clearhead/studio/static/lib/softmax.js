// @ts-check
/** From logits to the token that is drawn, as clearhead.generation.sampling does it, over the whole vocabulary. */

/**
 * @typedef {object} Ladder
 * @property {Float64Array} scaled logit / T (at T = 0 the logit)
 * @property {Float64Array} before probability at T = 1, nothing cut
 * @property {Float64Array} heated probability at T, nothing cut
 * @property {Float64Array} probability what is drawn with
 * @property {("" | "top-k" | "top-p" | "T = 0")[]} cut what takes a token out
 */

/** @param {ArrayLike<number>} logits -Infinity: never @returns {Float64Array} */
export function softmax(logits, temperature = 1) {
  const out = new Float64Array(logits.length);
  let most = -Infinity, sum = 0;
  for (let i = 0; i < logits.length; i++) most = Math.max(most, logits[i]);
  for (let i = 0; i < logits.length; i++) sum += out[i] = Math.exp((logits[i] - most) / temperature);
  for (let i = 0; i < out.length; i++) out[i] /= sum;
  return out;
}

/** Ids by value, the largest first, equal ones by id. @param {ArrayLike<number>} values */
export const ranked = (values) => Uint32Array.from({ length: values.length }, (_, i) => i).sort((a, b) => values[b] - values[a] || a - b);

/**
 * @param {ArrayLike<number>} logits @param {{temperature?: number, top_k?: number | null, top_p?: number | null}} settings
 * @returns {Ladder}
 */
export function ladder(logits, { temperature = 1, top_k = null, top_p = null } = {}) {
  const order = ranked(logits), before = softmax(logits);
  const scaled = Float64Array.from(logits, (logit) => (temperature ? logit / temperature : logit));
  /** @type {Ladder["cut"]} */
  const cut = new Array(logits.length).fill("");
  if (temperature === 0) {
    const sure = new Float64Array(logits.length);
    sure[order[0]] = 1;
    return { scaled, before, heated: sure, probability: sure, cut: cut.map((_, i) => (i === order[0] ? "" : "T = 0")) };
  }
  const heated = softmax(logits, temperature);
  const left = Float64Array.from(logits);
  if (top_k != null) for (const id of order.subarray(top_k)) { left[id] = -Infinity; cut[id] = "top-k"; }
  let probability = softmax(left, temperature);
  if (top_p != null) {
    let held = 0, kept = 0;
    for (const id of order) {
      if (cut[id]) continue;
      if (held >= top_p) cut[id] = "top-p";
      else kept += probability[id];
      held += probability[id];
    }
    probability = probability.map((p, id) => (cut[id] ? 0 : p / kept));
  }
  return { scaled, before, heated, probability, cut };
}

/** Entropy in bits. @param {ArrayLike<number>} p */
export function entropy(p) {
  let bits = 0;
  for (let i = 0; i < p.length; i++) if (p[i] > 0) bits -= p[i] * Math.log2(p[i]);
  return bits;
}

/** The token at which the cumulative probability passes u, in the order of ids. @param {ArrayLike<number>} p @param {number} u */
export function draw(p, u) {
  let total = 0, reached = 0;
  for (let i = 0; i < p.length; i++) total += p[i];
  for (let i = 0, last = 0; ; i++) {
    if (i === p.length) return last;
    if (p[i] > 0) last = i;
    if ((reached += p[i]) > u * total) return i;
  }
}
