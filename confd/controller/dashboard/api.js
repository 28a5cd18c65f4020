/** A client of the controller's API; the browser adds the credentials. */

/** An error of the controller or of the network: one sentence, a stable code, the fields to blame. */
export class Refusal extends Error {
  constructor(status, code, message, details = []) {
    super(message);
    Object.assign(this, { status, code, details });
  }
}

/** Milliseconds of the longest pause after an answer with Retry-After. */
const LONGEST_PAUSE_MS = 300000;

/** The largest random share that lengthens a pause, so that open pages do not return together. */
const JITTER = 0.25;

/** The end of each pause: a 503 concerns its path, a 429 all paths. */
const pauses = new Map();
const EVERYTHING = "";

/** One namespace of one controller. */
export class Api {
  constructor(namespace = "default") {
    this.namespace = namespace;
  }

  /** Return the current configuration as text, since JavaScript rounds numbers, and its entity tag. */
  async current() {
    const answer = await this.ask("GET", "/api/v1/config");
    return { text: await answer.text(), etag: answer.headers.get("ETag") };
  }

  /** Publish a document; with dryRun, only preview the publish. */
  publish(text, options) {
    const { comment = "", interval } = options;
    return this.change("/api/v1/config", text, options, { comment, ...(interval && { poll_interval: interval }) });
  }

  /** Return what the schema says against a document, with JSON pointers. */
  async violations(text) {
    const headers = { "Content-Type": "application/json" };
    try {
      await this.ask("POST", "/api/v1/config", { query: { dry_run: "true" }, headers, body: text });
    } catch (error) {
      return error.status === 422 ? error.details : [];
    }
    return [];
  }

  /** Publish the document of an earlier version again. */
  rollback(version, options) {
    return this.change("/api/v1/config/rollback", JSON.stringify({ version, comment: options.comment ?? "" }), options);
  }

  /**
   * Publish if the current version is still the version that the person saw, and differs.
   * @param {{etag: string, key: string, dryRun?: boolean, rollout?: string}} options key: the same for all attempts of
   *   one publish; rollout: the name of a plan
   */
  async change(path, body, { etag, key, dryRun = false, rollout = "" }, query = {}) {
    const headers = { "Content-Type": "application/json", "If-Match": etag };
    query = { ...query, if_changed: "true", ...(rollout && { rollout }) };
    if (dryRun) query = { ...query, dry_run: "true" };
    else headers["Idempotency-Key"] = key;
    return (await this.ask("POST", path, { query, headers, body })).json();
  }

  /** Pause, resume, promote or abort a rollout if it is still at the step that the person saw. */
  async steer({ id, step }, verb, body) {
    const headers = { "Content-Type": "application/json", "If-Match": `"r${id}.${step}"` };
    const options = { method: "POST", headers, body: JSON.stringify(body) };
    return (await this.send(`/api/v1/rollouts/${id}/${verb}`, options)).json();
  }

  /** Return the address of the live events. */
  eventsUrl() {
    return below(this.url("/api/v1/events"));
  }

  /** Return why the live events cannot be read; null if they can. */
  async troubleOfEvents() {
    const reading = new AbortController();
    try {
      await this.send(this.url("/api/v1/events"), { signal: reading.signal });
      return null;
    } catch (error) {
      return error;
    } finally {
      reading.abort();
    }
  }

  /** Return the JSON of a path for this namespace. */
  async read(path, query = {}) {
    return (await this.ask("GET", path, { query })).json();
  }

  /** Return the JSON of a path for the whole controller. */
  async get(path) {
    return (await this.send(path)).json();
  }

  /** Yield all agents that match a selector, a page at a time; an empty selector matches all. */
  async *agents(signal, select) {
    let next = this.url("/api/v1/agents", { limit: 500, ...(select && { select }) });
    while (next) {
      const answer = await this.send(next, { signal });
      yield await answer.json();
      const rest = /<([^>]+)>;\s*rel="next"/.exec(answer.headers.get("Link") ?? "")?.[1];
      next = rest && new URL(rest, answer.url).href;
    }
  }

  /** Return the address of a path for this namespace. */
  url(path, query = {}) {
    return `${path}?${new URLSearchParams({ namespace: this.namespace, ...query })}`;
  }

  /** Send a request for this namespace. @throws {Refusal} */
  ask(method, path, { query = {}, headers = {}, body } = {}) {
    return this.send(this.url(path, query), { method, headers, body });
  }

  /** Send a request after the pause of its path. @throws {Refusal} */
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
        "The controller cannot be reached. Your text is kept; try again in a moment.",
      );
    }
    if (answer.ok) return answer;
    heed(url, answer);
    throw await refusal(answer);
  }
}

const pathOf = (url) => url.split("?")[0];

/** Remember the pause that an answer requests (Retry-After: seconds, or a date by the controller's clock). */
function heed(url, { status, headers }) {
  const asked = headers.get("Retry-After")?.trim() ?? "";
  if (![429, 503].includes(status) || !asked) return;
  const seconds = /^\d+$/.test(asked) ? Number(asked) : (Date.parse(asked) - Date.parse(headers.get("Date"))) / 1000;
  if (!(seconds > 0)) return;
  const now = performance.now();
  for (const [path, until] of pauses) if (until <= now) pauses.delete(path);
  const length = Math.min(seconds * 1000, LONGEST_PAUSE_MS) * (1 + JITTER * Math.random());
  pauses.set(status === 429 ? EVERYTHING : pathOf(url), now + length);
}

/** Wait until the pause of a path ends. @throws {Refusal} at once for a change: the person can decide. */
async function pause(url, { method = "GET", signal }) {
  const left = Math.max(pauses.get(EVERYTHING) ?? 0, pauses.get(pathOf(url)) ?? 0) - performance.now();
  if (left <= 0) return;
  if (method !== "GET") {
    const seconds = Math.ceil(left / 1000);
    throw new Refusal(429, "paused", `The controller requests a pause; try again in ${seconds} s.`);
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

/** Return an absolute path relative to this page: a proxy may serve the page below a prefix. */
export function below(url) {
  return url.startsWith("/") ? `.${url}` : url;
}

/** Return an idempotency key: two attempts with one key publish once. */
export function idempotencyKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (each) => each.toString(16).padStart(2, "0")).join("");
}
