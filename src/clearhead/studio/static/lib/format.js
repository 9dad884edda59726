// @ts-check
/** Numbers with their units; a dash for what is not known. */

const DASH = "–";

/** @param {number | null | undefined} value @param {(value: number) => string} write */
const known = (value, write) => (value == null || !Number.isFinite(value) ? DASH : write(value));

/** @param {number | null | undefined} v */
export const whole = (v) => known(v, (n) => Math.round(n).toLocaleString("en"));
/** @param {number | null | undefined} v */
export const fixed = (v, digits = 3) => known(v, (n) => n.toFixed(digits));
/** @param {number | null | undefined} v @param {string[]} units @param {number} base */
const scaled = (v, units, base) => known(v, (n) => {
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log(n || 1) / Math.log(base) + 1e-9)));
  const value = n / base ** power;
  return `${power && value < 100 ? value.toPrecision(3) : Math.round(value)}${units[power]}`;
});
/** @param {number | null | undefined} v */
export const bytes = (v) => scaled(v, [" B", " KiB", " MiB", " GiB", " TiB"], 1024);
/** @param {number | null | undefined} v */
export const short = (v) => scaled(v, ["", " k", " M", " G"], 1000);
/** @param {number | null | undefined} v */
export const percent = (v) => known(v, (n) => (n > 0 && n < 0.001 ? "<0.1 %" : `${(100 * n).toFixed(1)} %`));
/** @param {number | null | undefined} v */
export const duration = (v) => known(v, (n) => {
  const s = Math.max(0, Math.round(n));
  if (s < 60) return `${s} s`;
  return s < 3600 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
});
/** @param {number | null | undefined} v seconds since 1970 */
export const when = (v) => known(v, (n) => new Date(n * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }));
