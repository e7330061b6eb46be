// Talks to the service. Errors come in one shape: {"error": {type, code, message, param, request_id}}.

const STORED_KEY = "mmsearch-key";

export const KINDS = { image: ["image"], video: ["video"], speech: ["speech", "sound"], text: ["text", "page"] };

export class ApiError extends Error {
  constructor(status, error, retryAfter) {
    super(error?.message || `The service answered ${status}.`);
    this.status = status;
    this.code = error?.code ?? "unknown";
    this.requestId = error?.request_id ?? null;
    this.retryAfter = retryAfter;
  }
}

let askForKey = async () => null;
let asking = null;

/** `ask(problem)` resolves to a key; it is called whenever the service refuses the present one. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

function storedKey() {
  return sessionStorage.getItem(STORED_KEY);
}

async function send(path, options) {
  const headers = new Headers(options.headers);
  const key = storedKey();
  if (key) headers.set("Authorization", `Bearer ${key}`);
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { message: "The service cannot be reached. Is it still running?" });
  }
  response.key = key;
  return response;
}

async function request(path, options = {}) {
  let response = await send(path, options);
  while (response.status === 401) {
    const refused = response.key;
    // Another request may have got a new key meanwhile; and nobody is asked twice at once.
    if (refused === storedKey()) {
      asking ??= askForKey(refused ? "That key is not valid." : "").finally(() => (asking = null));
      const key = await asking;
      if (!key) break;
      sessionStorage.setItem(STORED_KEY, key);
    }
    response = await send(path, options);
    if (response.status !== 401) await openSession();
  }
  if (response.ok && response.headers.get("Content-Type")?.startsWith("image/")) return response.blob();
  if (response.ok) return response.status === 204 ? null : response.json();
  const body = await response.json().catch(() => null);
  throw new ApiError(response.status, body?.error, response.headers.get("Retry-After"));
}

/** Pictures and players cannot send a key: a cookie lets them through. */
export async function openSession() {
  if (storedKey()) await send("/v1/session", { method: "POST" });
}

export function status() {
  return request("/v1/status");
}

/** A picture to lay over a segment's own: where in it the words match. */
export function heatMap(id, words) {
  return request(`/v1/segments/${id}/heatmap?${new URLSearchParams({ text: words })}`);
}

export function segment(id) {
  return request(`/v1/segments/${id}`);
}

/**
 * `words` (as typed, in the query language), and any of: `files` ([{kind: "image"|"audio", file}]),
 * `like` (a segment's id), `kind` ("all" or one of KINDS), `cursor` (of the page before).
 * One hit for each file with its best places; copies are one hit.
 */
export function search({ words, files, like, kind, limit, cursor }, signal) {
  const body = { limit, group: { by: "source", best: 4 }, fold: true };
  if (words) body.query = words;
  if (like !== null) body.terms = [{ segment: like }];
  if (KINDS[kind]) body.modalities = KINDS[kind];
  if (cursor) body.cursor = cursor;
  else if (!KINDS[kind]) body.facets = ["modality"];
  if (!files.length) {
    return request("/v1/search", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal,
    });
  }
  const form = new FormData();
  for (const [name, value] of Object.entries(body)) {
    form.set(name, typeof value === "string" ? value : JSON.stringify(value));
  }
  for (const { kind: name, file } of files) form.append(name, file, file.name || name);
  return request("/v1/search", { method: "POST", body: form, signal });
}
