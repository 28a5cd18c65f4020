/** The live events of a namespace. */

/** Milliseconds of silence after which the connection is lost: the controller sends a heartbeat every 10 s. */
const SILENCE_MS = 25000;
const FIRST_DELAY_MS = 1000;
const LONGEST_DELAY_MS = 15000;

const KINDS = ["config", "agents", "convergence", "rollout", "changes"];

/**
 * One connection that reconnects by itself.
 *
 * Calls `listener(kind, data)` with a kind of KINDS, and `state(name, trouble)`: "connecting", "live", or "lost" with the
 * time of the next attempt in `trouble.at`, by the clock of `performance`, and the Refusal that names the cause in
 * `trouble.error`; null until it is known.
 */
export class Events {
  constructor(listener, state) {
    Object.assign(this, { listener, state, source: null, delay: FIRST_DELAY_MS, retry: 0, watchdog: 0, error: null });
  }

  /** Follow the events of a namespace instead of the ones before. */
  follow(api) {
    Object.assign(this, { api, error: null, delay: FIRST_DELAY_MS });
    this.state("connecting");
    this.connect();
  }

  connect() {
    this.leave();
    const source = new EventSource(this.api.eventsUrl());
    this.source = source;
    source.addEventListener("open", () => {
      Object.assign(this, { delay: FIRST_DELAY_MS, error: null });
      this.state("live");
    });
    // The browser would stop reconnecting after an answer such as 503.
    source.addEventListener("error", () => this.lose());
    source.addEventListener("heartbeat", () => this.heard());
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        this.heard();
        this.listener(kind, JSON.parse(event.data));
      });
    }
    this.heard();
  }

  heard() {
    clearTimeout(this.watchdog);
    this.watchdog = setTimeout(() => this.lose(), SILENCE_MS);
  }

  lose() {
    this.leave();
    const wait = this.delay * (0.5 + Math.random() / 2);
    this.retry = setTimeout(() => this.connect(), wait);
    this.delay = Math.min(2 * this.delay, LONGEST_DELAY_MS);
    this.at = performance.now() + wait;
    this.state("lost", this);
    this.ask();
  }

  /** Ask for the cause: a browser tells none to an event source. */
  async ask() {
    const { api } = this;
    const error = await api.troubleOfEvents();
    if (api !== this.api || this.source !== null || error === null) return;
    this.error = error;
    this.state("lost", this);
  }

  leave() {
    this.source?.close();
    this.source = null;
    clearTimeout(this.retry);
    clearTimeout(this.watchdog);
  }
}
