/** The state of the connection: a word in the bar, and a notice that names the cause of a trouble. */

import { fill, h } from "./dom.js";
import { moment } from "./format.js";

/** Milliseconds between two updates of the countdown. */
const TICK_MS = 1000;

/** Words for the bar, by the status of the answer; 0 for no answer. */
const WORDS = { 0: "Unreachable", 401: "Signed out", 403: "No access", 404: "No such namespace", 429: "Too many" };

/** Shows how the connection is, and greys out what may be old. */
export class Connection {
  constructor(pill, notice, stale) {
    Object.assign(this, { pill, notice, stale, trouble: null, said: "", heard: null, names: [], namespace: "", view: "" });
    setInterval(() => this.trouble && this.word(), TICK_MS);
  }

  /** Note the namespaces to choose from, the namespace that is shown, and the view. */
  choices(names, namespace, view) {
    Object.assign(this, { names, namespace, view });
    this.said = "";
    if (this.trouble) this.say();
  }

  connecting() {
    this.trouble = null;
    this.said = "";
    this.pill.dataset.state = "connecting";
    this.pill.textContent = "Connecting…";
    fill(this.notice);
    this.notice.hidden = true;
    delete this.stale.dataset.stale;
  }

  live() {
    this.connecting();
    this.pill.dataset.state = "live";
    this.pill.textContent = "Live";
  }

  /** Show a trouble: see the class Events. */
  lost(trouble) {
    if (!this.trouble) this.heard = new Date().toISOString();
    this.trouble = trouble;
    this.pill.dataset.state = "lost";
    this.stale.dataset.stale = "";
    this.word();
    this.say();
  }

  word() {
    const { error, at } = this.trouble;
    const seconds = Math.max(0, Math.ceil((at - performance.now()) / 1000));
    const word = error ? (WORDS[error.status] ?? "Unavailable") : "Disconnected";
    this.pill.textContent = seconds ? `${word}, next attempt in ${seconds} s` : `${word}, trying again`;
  }

  say() {
    const { error } = this.trouble;
    if (!error) return;
    const text = this.cause(error);
    if (this.said === text) return;
    this.said = text;
    const more = { 401: [h("a", { href: `signin${location.hash}` }, "Sign in again")], 404: this.links() };
    fill(this.notice, text, ...(more[error.status] ?? []));
    this.notice.hidden = false;
  }

  cause({ status, message }) {
    const old = ` The page is as of ${moment(this.heard)}.`;
    if (status === 401) return `You are signed out: the session has ended, or the password has changed.${old} `;
    if (status === 404) return `Namespace ${this.namespace} does not exist; choose another one: `;
    if (status === 0) return `The controller cannot be reached.${old}`;
    return `${message}${old}`;
  }

  links() {
    return this.names.flatMap((name, place) => [place ? ", " : "", h("a", { href: `#${this.view}/${name}` }, name)]);
  }
}
