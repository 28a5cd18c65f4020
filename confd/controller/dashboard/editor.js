/** The editor of the current document. */

import { confirmAndPublish, outcome } from "./publish_dialog.js";
import { mistakes, mistakesInSlices, violations } from "./check.js";
import { button, fill, h, problem } from "./dom.js";
import { keepDraft, loadDraft } from "./draft.js";
import { overtaken } from "./overtaken.js";
import { configurationOf, pretty } from "./json.js";
import { count, plural } from "./format.js";

/** Milliseconds without typing after which the page checks and keeps the text. */
const REST_MS = 300;

/** Characters up to which a rest keeps the text, and the controller checks it; the end of the page keeps any text. */
const MOST_CHECKED = 200000;

/** One document and the version it started from. A draft survives races, refusals and reloads. */
export class Editor {
  constructor(root, api) {
    Object.assign(this, { api, base: null, newer: null, timer: 0, area: null, may: false });
    this.title = h("h1", { id: "editor-title" }, "Configuration");
    this.code = h("div.code", {});
    this.interval = h("input", { type: "number", min: 1, max: 86400, required: true, oninput: () => this.typed() });
    this.status = h("p.check", { id: "editor-check", role: "status" });
    this.says = h("div", {});
    this.review = h("button.primary.for-publish", { type: "button", onclick: () => this.publish() }, "Review and publish…");
    this.discard = button("Discard changes", () => this.take(this.newer ?? this.base));
    fill(
      root,
      h("header", {}, this.title),
      this.says,
      this.code,
      this.status,
      h("div.tools", {}, this.review, button("Format", () => this.format()), button("Find", () => this.area?.find()), this.discard),
      h("label.tools", {}, "Poll interval of the agents, in seconds ", this.interval),
      h("p.quiet.for-readers", {}, "You may read this configuration; a publish needs a grant from an admin."),
      h("p.quiet", { id: "editor-keys" }, "Tab indents; Escape and then Tab leaves the field. Ctrl+Enter reviews, Ctrl+F finds."),
    );
  }

  /** Load the editor when its view becomes visible for the first time: it is the largest file of the page. */
  async show(visible) {
    if (!visible || this.asked) return;
    this.asked = true;
    try {
      const { CodeEditor } = await import("./code_editor.js");
      const attributes = {
        tabindex: "0", "aria-label": "The document, as JSON",
        "aria-describedby": "editor-check editor-keys", "aria-errormessage": "editor-check",
      };
      const listeners = { changed: () => this.typed(), confirm: () => this.publish(), left: () => this.keep() };
      this.area = new CodeEditor(this.code, attributes, listeners);
      this.permit(this.may);
      await this.refresh();
      this.area.schema = await this.api.get("/api/v1/schema").catch(() => null);
    } catch (error) {
      this.asked = false;
      fill(this.says, problem(error));
    }
  }

  /** Let the person change the document, or only read it. */
  permit(may) {
    this.may = may;
    this.interval.readOnly = !may;
    this.area?.permit(may && this.base !== null);
  }

  get dirty() {
    const { base, area, interval } = this;
    return base !== null && (area.changed || interval.value !== base.interval);
  }

  /** Show another namespace. */
  async move(api) {
    Object.assign(this, { api, base: null, newer: null });
    this.permit(this.may);
    fill(this.says);
    await this.refresh();
  }

  /** Load the current document; a draft stays. */
  async refresh() {
    const { api } = this;
    if (!this.area) return;
    let there;
    try {
      there = configurationOf(await api.current());
    } catch (error) {
      this.failed = true;
      return fill(this.says, problem(error));
    }
    if (api !== this.api) return;
    if (this.failed) this.failed = fill(this.says);
    if (this.base === null) this.begin(there);
    else if (there.etag === this.base.etag) return;
    else if (this.dirty) this.overtaken(there);
    else this.reset(there);
  }

  begin(there) {
    const draft = loadDraft(this.api.namespace);
    this.reset(draft?.base ?? there);
    this.permit(this.may);
    if (!draft) return;
    this.area.load(draft.text);
    this.area.compareWith(draft.base.text);
    this.interval.value = draft.interval ?? draft.base.interval;
    this.typed();
    if (draft.base.etag !== there.etag) this.overtaken(there);
  }

  /** Start from a version. */
  reset(there) {
    this.area.load(there.text);
    this.interval.value = there.interval;
    this.begun(there);
  }

  /** Take the text of a version in place of the person's text, which an undo returns. */
  take(there) {
    this.area.replace(there.text);
    this.area.compareWith(there.text);
    this.interval.value = there.interval;
    this.begun(there);
    this.area.focus();
  }

  begun(there) {
    Object.assign(this, { base: there, newer: null });
    fill(this.says);
    this.typed();
  }

  /** Follow the text; what reads all of it waits for a rest. */
  typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.base && this.rested(), REST_MS);
    if (!this.base) return;
    const { dirty } = this;
    this.title.textContent = `Configuration, version ${this.base.version}${dirty ? " · edited" : ""}`;
    this.discard.disabled = !dirty;
  }

  /** Check and keep the text. A person who goes on typing interrupts the check. */
  async rested() {
    const { timer, area } = this;
    if (area.length <= MOST_CHECKED) this.keep();
    const { text } = area;
    const found = await mistakesInSlices(text, () => timer !== this.timer);
    if (found && this.judge(text, found) && this.dirty) this.ask();
  }

  keep() {
    if (this.base === null) return;
    keepDraft(this.api.namespace, this.dirty ? { ...this.written(), base: this.base } : null);
  }

  written() {
    return { text: this.area.text, interval: this.interval.value };
  }

  /** Check the text and mark its mistakes. @returns {boolean} whether it has none */
  check() {
    clearTimeout(this.timer);
    const { text } = this.area;
    return this.judge(text, mistakes(text));
  }

  /** Show what is wrong with a text. @returns {boolean} whether it has no mistakes */
  judge(text, found) {
    this.mark(found, `Valid JSON, ${count(new Blob([text]).size)} bytes.`);
    return found.length === 0;
  }

  /** Ask the controller what it would refuse. */
  async ask() {
    const { text, length } = this.area;
    if (!this.may || length > MOST_CHECKED) return;
    const details = await this.api.violations(text).catch(() => []);
    if (details.length && this.base && text === this.area.text) this.mark(violations(text, details));
  }

  /** Show mistakes in the text and the first one below it; without mistakes, a sentence. */
  mark(found, otherwise) {
    this.area.mark(found);
    this.status.classList.toggle("wrong", found.length > 0);
    const [first, ...more] = found;
    if (!first) return fill(this.status, otherwise);
    const rest = more.length ? `(${plural(more.length, "more mistake")}) ` : "";
    fill(
      this.status,
      `${first.message} ${rest}`,
      h("button.link", { type: "button", onclick: () => this.area.point(first.from, first.to) }, "Go to it"),
    );
  }

  format() {
    if (!this.area || !this.check()) return;
    this.area.replace(pretty(this.area.text));
    this.area.focus();
  }

  async publish() {
    if (this.base === null || !this.check() || !this.interval.reportValidity()) return;
    fill(this.says);
    const { api, base } = this;
    const written = this.written();
    const fixed = { etag: base.etag, interval: written.interval === base.interval ? null : written.interval };
    this.review.disabled = true;
    try {
      const attempt = (options) => api.publish(written.text, { ...options, ...fixed });
      const done = await confirmAndPublish("Publish", attempt, api);
      if (done) await this.published(done, written);
    } catch (error) {
      fill(this.says, problem(error));
      if (error.status === 422 && error.details.length) this.mark(violations(written.text, error.details));
      if (error.status === 412) await this.refresh();
    } finally {
      this.review.disabled = false;
    }
  }

  async published(done, written) {
    // A rollout delivers the text, and leaves the current version.
    if (done.rollout) this.reset(this.base);
    else {
      this.base = { ...this.base, ...written };
      this.area.compareWith(written.text);
      this.keep();
      await this.refresh();
    }
    fill(this.says, outcome(done, this.api.namespace));
  }

  /** Offer a choice: another person published while this text was edited. */
  overtaken(there) {
    this.newer = there;
    const choices = { keep: () => this.goOnTop(there), take: () => this.take(there) };
    fill(this.says, overtaken(this.api, this.base, there, choices));
  }

  goOnTop(there) {
    if (this.interval.value === this.base.interval) this.interval.value = there.interval;
    this.area.compareWith(there.text);
    this.begun(there);
    this.area.focus();
  }
}
