// @ts-check
/** The server: JSON both ways, one stream of news, streams of text. */

export class ApiError extends Error {
  /** @param {{message?: string, code?: string}} error @param {number} status */
  constructor(error, status) {
    super(error.message ?? `The server answered ${status}.`);
    this.code = error.code;
    this.status = status;
  }
}

/** A path of parts, each encoded. @param {...(string | number)} parts */
export const path = (...parts) => `/api/${parts.map((part) => encodeURIComponent(part)).join("/")}`;

/** @param {string} url @param {RequestInit} [how] @returns {Promise<Response>} */
async function ask(url, how) {
  let answer;
  try {
    answer = await fetch(url, how);
  } catch (error) {
    if (/** @type {Error} */ (error).name === "AbortError") throw error;
    throw new ApiError({ message: "The studio does not answer. Is it still running in its terminal?", code: "gone" }, 0);
  }
  if (answer.ok) return answer;
  throw new ApiError((await answer.json().catch(() => ({}))).error ?? {}, answer.status);
}

/** @param {string} url @param {Record<string, any>} [params] what is null or "" is left out */
function query(url, params) {
  const known = Object.entries(params ?? {}).filter(([, value]) => value != null && value !== "");
  return known.length ? `${url}?${new URLSearchParams(known.map(([k, v]) => [k, `${v}`]))}` : url;
}

/** @param {string} url @param {Record<string, any>} [params] @param {AbortSignal} [signal] @returns {Promise<any>} */
export const get = async (url, params, signal) => (await ask(query(url, params), { signal })).json();

/** @param {string} url @param {Record<string, any>} [params] @param {AbortSignal} [signal] */
export const bytes = async (url, params, signal) => (await ask(query(url, params), { signal })).arrayBuffer();

/** @param {any} body @param {AbortSignal} [signal] */
const posted = (body, signal) => ({ method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal });

/** @param {string} url @param {any} [body] @param {AbortSignal} [signal] @returns {Promise<any>} */
export const post = async (url, body = {}, signal) => (await ask(url, posted(body, signal))).json();

/** The chunks of /v1/completions as they come. @param {any} body @param {AbortSignal} signal */
export async function* completion(body, signal) {
  const reader = /** @type {ReadableStream} */ ((await ask("/v1/completions", posted({ ...body, stream: true }, signal))).body)
    .pipeThrough(new TextDecoderStream()).getReader();
  for (let held = "", next; !(next = await reader.read()).done;) {
    const events = (held + next.value).split("\n\n");
    held = events.pop() ?? "";
    for (const event of events) {
      const data = event.replace(/^data: /, "");
      if (data === "[DONE]") continue;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ApiError(chunk.error, 500);
      yield chunk.choices[0];
    }
  }
}

const PIECE = 3 << 18;

/** A file sent in pieces; its id. @param {File} file @param {(share: number) => void} progress @returns {Promise<string>} */
export async function upload(file, progress) {
  const { upload: id } = await post("/api/texts", { name: file.name, size: file.size });
  for (let offset = 0; offset < file.size; offset += PIECE) {
    const bytes = new Uint8Array(await file.slice(offset, offset + PIECE).arrayBuffer());
    let binary = "";
    for (let i = 0; i < bytes.length; i += 8192) binary += String.fromCharCode(...bytes.subarray(i, i + 8192));
    await post(path("texts", id), { offset, data: btoa(binary) });
    progress(Math.min(1, (offset + PIECE) / file.size));
  }
  return id;
}

/** Large numbers as studio/packed.py packs them: a head of JSON, and its float32 arrays under their names. @param {string} url @param {Record<string, any>} [params] @param {AbortSignal} [signal] @returns {Promise<any>} */
export async function packed(url, params, signal) {
  const buffer = await bytes(url, params, signal), length = new DataView(buffer).getUint32(0, true);
  const { arrays, ...head } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  for (const [name, { at, shape }] of Object.entries(arrays)) {
    const size = shape.reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1);
    head[name] = Object.assign(new Float32Array(buffer, 4 + length + 4 * at, size), { shape });
  }
  return head;
}
