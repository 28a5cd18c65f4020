/** The live news of a namespace, for as long as the controller tells them. */

/** Milliseconds: the controller says something each 10 s, so this long a silence is a broken line. */
const SILENCE = 25000;
const FIRST_DELAY = 1000;
const LONGEST_DELAY = 15000;

/**
 * One connection that comes back by itself.
 *
 * Tells `listener(kind, data)`, with kind "config", "agents" or "convergence", and `state(name)`, with "connecting",
 * "live" or "lost".
 */
export class Events {
  constructor(listener, state) {
    Object.assign(this, { listener, state, source: null, delay: FIRST_DELAY, retry: 0, watchdog: 0 });
  }

  /** Follow an address, and nothing else any more. */
  follow(url) {
    this.url = url;
    this.state("connecting");
    this.delay = FIRST_DELAY;
    this.connect();
  }

  connect() {
    this.leave();
    const source = new EventSource(this.url);
    this.source = source;
    source.addEventListener("open", () => {
      this.delay = FIRST_DELAY;
      this.state("live");
    });
    // The browser's own repetition gives up on an answer such as 503, so it is not relied on.
    source.addEventListener("error", () => this.lose());
    source.addEventListener("heartbeat", () => this.heard());
    for (const kind of ["config", "agents", "convergence"]) {
      source.addEventListener(kind, (event) => {
        this.heard();
        this.listener(kind, JSON.parse(event.data));
      });
    }
    this.heard();
  }

  heard() {
    clearTimeout(this.watchdog);
    this.watchdog = setTimeout(() => this.lose(), SILENCE);
  }

  lose() {
    this.leave();
    this.state("lost");
    this.retry = setTimeout(() => this.connect(), this.delay * (0.5 + Math.random() / 2));
    this.delay = Math.min(2 * this.delay, LONGEST_DELAY);
  }

  leave() {
    this.source?.close();
    clearTimeout(this.retry);
    clearTimeout(this.watchdog);
  }
}
