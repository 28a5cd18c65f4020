/** The live events of a namespace. */

/** Milliseconds of silence after which the connection is lost: the controller sends a heartbeat every 10 s. */
const SILENCE_MS = 25000;
const FIRST_DELAY_MS = 1000;
const LONGEST_DELAY_MS = 15000;

/**
 * One connection that reconnects by itself.
 *
 * Calls `listener(kind, data)`, with kind "config", "agents", "convergence" or "rollout", and `state(name)`, with
 * "connecting", "live" or "lost".
 */
export class Events {
  constructor(listener, state) {
    Object.assign(this, { listener, state, source: null, delay: FIRST_DELAY_MS, retry: 0, watchdog: 0 });
  }

  /** Follow an address instead of the one before. */
  follow(url) {
    this.url = url;
    this.state("connecting");
    this.delay = FIRST_DELAY_MS;
    this.connect();
  }

  connect() {
    this.leave();
    const source = new EventSource(this.url);
    this.source = source;
    source.addEventListener("open", () => {
      this.delay = FIRST_DELAY_MS;
      this.state("live");
    });
    // The browser would stop reconnecting after an answer such as 503.
    source.addEventListener("error", () => this.lose());
    source.addEventListener("heartbeat", () => this.heard());
    for (const kind of ["config", "agents", "convergence", "rollout"]) {
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
    this.state("lost");
    this.retry = setTimeout(() => this.connect(), this.delay * (0.5 + Math.random() / 2));
    this.delay = Math.min(2 * this.delay, LONGEST_DELAY_MS);
  }

  leave() {
    this.source?.close();
    clearTimeout(this.retry);
    clearTimeout(this.watchdog);
  }
}
