/** The controller's API, spoken by a page of its own: the browser adds who we are. */

/** What the controller refused, or that it cannot be reached: one sentence, a stable code, the fields to blame. */
export class Refusal extends Error {
  constructor(status, code, message, details = []) {
    super(message);
    Object.assign(this, { status, code, details });
  }
}

/** Milliseconds that the controller is left alone at most, whatever it asks for. */
const LONGEST_PAUSE = 300000;

/** By how much a pause is lengthened at random at most: open pages must not come back together. */
const JITTER = 0.25;

/** When the controller may be asked again: a 503 is about its path, a 429 about all of them. */
const pauses = new Map();
const EVERYTHING = "";

/** One namespace of one controller. */
export class Api {
  constructor(namespace = "default") {
    this.namespace = namespace;
  }

  /** The configuration in force: its body as text, for numbers that JavaScript would round, and its entity tag. */
  async current() {
    const answer = await this.ask("GET", "/api/v1/config");
    return { text: await answer.text(), etag: answer.headers.get("ETag") };
  }

  /** Publish a document; with dryRun only tell what would come of it. */
  publish(text, options) {
    return this.change("/api/v1/config", text, options, { comment: options.comment ?? "" });
  }

  /** Publish the document of an earlier version anew. */
  rollback(version, options) {
    return this.change("/api/v1/config/rollback", JSON.stringify({ version, comment: options.comment ?? "" }), options);
  }

  /**
   * Change what is in force, if that still is what the person saw.
   * @param {{etag: string, key: string, dryRun?: boolean}} options key: the same for each try of one intention
   */
  async change(path, body, { etag, key, dryRun = false }, query = {}) {
    const headers = { "Content-Type": "application/json", "If-Match": etag };
    if (dryRun) query = { ...query, dry_run: "true" };
    else headers["Idempotency-Key"] = key;
    return (await this.ask("POST", path, { query, headers, body })).json();
  }

  /** What concerns this namespace, out of JSON. */
  async read(path, query = {}) {
    return (await this.ask("GET", path, { query })).json();
  }

  /** What concerns all of them, out of JSON. */
  async get(path) {
    return (await this.send(path)).json();
  }

  /** All agents, a page at a time: each page is handed over as it comes. */
  async *agents(signal) {
    let next = this.url("/api/v1/agents", { limit: 500 });
    while (next) {
      const answer = await this.send(next, { signal });
      yield await answer.json();
      const rest = /<([^>]+)>;\s*rel="next"/.exec(answer.headers.get("Link") ?? "")?.[1];
      next = rest && new URL(rest, answer.url).href;
    }
  }

  /** The address of a path with this namespace. */
  url(path, query = {}) {
    return `${path}?${new URLSearchParams({ namespace: this.namespace, ...query })}`;
  }

  /** One request that concerns this namespace. @throws {Refusal} */
  ask(method, path, { query = {}, headers = {}, body } = {}) {
    return this.send(this.url(path, query), { method, headers, body });
  }

  /** One request, once the controller may be asked again. @throws {Refusal} */
  async send(url, options = {}) {
    await pause(url, options);
    let answer;
    try {
      answer = await fetch(below(url), { cache: "no-store", ...options });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refusal(
        0,
        "unreachable",
        "The controller cannot be reached; nothing is lost here, try again in a moment.",
      );
    }
    if (answer.ok) return answer;
    heed(url, answer);
    throw await refusal(answer);
  }
}

const pathOf = (url) => url.split("?")[0];

/** Remember the pause that an answer asks for (Retry-After: seconds, or a date by the controller's clock). */
function heed(url, { status, headers }) {
  const asked = headers.get("Retry-After")?.trim() ?? "";
  if (![429, 503].includes(status) || !asked) return;
  const seconds = /^\d+$/.test(asked) ? Number(asked) : (Date.parse(asked) - Date.parse(headers.get("Date"))) / 1000;
  if (!(seconds > 0)) return;
  const now = performance.now();
  for (const [path, until] of pauses) if (until <= now) pauses.delete(path);
  const length = Math.min(seconds * 1000, LONGEST_PAUSE) * (1 + JITTER * Math.random());
  pauses.set(status === 429 ? EVERYTHING : pathOf(url), now + length);
}

/** Wait until a path may be asked again; whoever changes something is told at once. */
async function pause(url, { method = "GET", signal }) {
  const left = Math.max(pauses.get(EVERYTHING) ?? 0, pauses.get(pathOf(url)) ?? 0) - performance.now();
  if (left <= 0) return;
  if (method !== "GET") {
    const seconds = Math.ceil(left / 1000);
    throw new Refusal(429, "paused", `The controller asks for a pause; try again in ${seconds} s.`);
  }
  await new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, left);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

async function refusal(answer) {
  try {
    const { error, code, details } = await answer.json();
    return new Refusal(answer.status, code, error, details);
  } catch {
    return new Refusal(
      answer.status,
      "unknown",
      `The controller answered ${answer.status}; look at its log, then try again.`,
    );
  }
}

/** An absolute path, below the prefix that a proxy may serve this page at. */
export function below(url) {
  return url.startsWith("/") ? `.${url}` : url;
}

/** A key for one intention: tried twice, it is still done once. */
export function intention() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (each) => each.toString(16).padStart(2, "0")).join("");
}
