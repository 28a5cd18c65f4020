/** The editor of the current document. */

import { confirmAndPublish } from "./publish_dialog.js";
import { button, fill, h, problem } from "./dom.js";
import { keepDraft, loadDraft } from "./draft.js";
import { overtaken } from "./overtaken.js";
import { configurationOf, pretty, tokens } from "./json.js";
import { count } from "./format.js";
import { LARGE, REST_MS, Undo } from "./undo.js";

/** One textarea and the version it started from. A draft survives races, refusals and reloads. */
export class Editor {
  constructor(root, api) {
    Object.assign(this, { api, base: null, newer: null, timer: 0 });
    this.title = h("h1", { id: "editor-title" }, "Configuration");
    this.numbers = h("pre.numbers", { "aria-hidden": "true" });
    this.area = h("textarea", {
      spellcheck: false,
      wrap: "off", autocomplete: "off",
      "aria-label": "The document, as JSON",
      "aria-describedby": "editor-check editor-keys",
      "aria-errormessage": "editor-check",
      oninput: () => this.typed(),
      onscroll: () => (this.numbers.scrollTop = this.area.scrollTop),
      onkeydown: (event) => this.pressed(event),
      onblur: () => this.keep(),
    });
    this.undo = new Undo(this.area, () => this.typed());
    this.interval = h("input", { type: "number", min: 1, max: 86400, required: true, oninput: () => this.typed() });
    this.status = h("p.check", { id: "editor-check", role: "status" });
    this.says = h("div", {});
    this.review = h("button.primary.for-publish", { type: "button", onclick: () => this.publish() }, "Review and publish…");
    this.discard = button("Discard changes", () => this.take(this.newer ?? this.base));
    fill(
      root,
      h("header", {}, this.title),
      this.says,
      h("div.code", {}, this.numbers, this.area),
      this.status,
      h("div.tools", {}, this.review, button("Format", () => this.format()), this.discard),
      h("label.tools", {}, "Poll interval of the agents, in seconds ", this.interval),
      h("p.quiet.for-readers", {}, "You may read this configuration; a publish needs a grant from an admin."),
      h("p.quiet", { id: "editor-keys" }, "Tab indents; Escape and then Tab leaves the field. Ctrl+Enter reviews."),
    );
  }

  /** Let the person change the document, or only read it. */
  permit(may) {
    this.area.readOnly = this.interval.readOnly = !may;
  }

  get dirty() {
    const { base, area, interval } = this;
    return base !== null && (area.value !== base.text || interval.value !== base.interval);
  }

  /** Show another namespace. */
  async move(api) {
    Object.assign(this, { api, base: null, newer: null });
    this.area.disabled = true;
    fill(this.says);
    await this.refresh();
  }

  /** Load the current document; a draft stays. */
  async refresh() {
    const { api } = this;
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
    this.area.disabled = false;
    const draft = loadDraft(this.api.namespace);
    this.reset(draft?.base ?? there);
    if (!draft) return;
    this.area.value = draft.text;
    this.interval.value = draft.interval ?? draft.base.interval;
    this.undo.clear();
    this.typed();
    if (draft.base.etag !== there.etag) this.overtaken(there);
  }

  /** Start from a version. */
  reset(there) {
    this.area.value = there.text;
    this.interval.value = there.interval;
    this.undo.clear();
    this.begun(there);
  }

  /** Take the text of a version in place of the person's text, which an undo returns. */
  take(there) {
    this.undo.replace(there.text);
    this.interval.value = there.interval;
    this.begun(there);
    this.area.focus();
  }

  begun(there) {
    Object.assign(this, { base: there, newer: null });
    fill(this.says);
    this.typed();
  }

  /** Follow the text, after each key; a large text, after a rest. */
  typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.base && this.rested(), REST_MS);
    if (this.area.textLength <= LARGE) this.drawn();
  }

  drawn() {
    const lines = this.area.value.split("\n").length;
    if (this.lines !== lines) {
      this.lines = lines;
      this.numbers.textContent = Array.from({ length: lines }, (_, index) => index + 1).join("\n");
    }
    this.numbers.scrollTop = this.area.scrollTop;
    const { dirty } = this;
    this.title.textContent = `Configuration, version ${this.base.version}${dirty ? " · edited" : ""}`;
    this.discard.disabled = !dirty;
  }

  rested() {
    this.drawn();
    this.keep();
    this.check();
  }

  keep() {
    if (this.base === null) return;
    keepDraft(this.api.namespace, this.dirty ? { ...this.written(), base: this.base } : null);
  }

  written() {
    return { text: this.area.value, interval: this.interval.value };
  }

  /** Check the text and show its first mistake. @returns {boolean} whether the text is JSON */
  check() {
    clearTimeout(this.timer);
    const text = this.area.value;
    let wrong = null;
    try {
      for (const _ of tokens(text));
    } catch (error) {
      wrong = error;
    }
    this.area.setAttribute("aria-invalid", wrong !== null);
    this.status.classList.toggle("wrong", wrong !== null);
    if (wrong === null) fill(this.status, `Valid JSON, ${count(new Blob([text]).size)} bytes.`);
    else
      fill(
        this.status,
        wrong.message,
        " ",
        h("button.link", { type: "button", onclick: () => this.point(wrong.at) }, "Go to it"),
      );
    return wrong === null;
  }

  point(at) {
    this.area.focus();
    this.area.setSelectionRange(at, at + 1);
  }

  pressed(event) {
    if (event.key === "Escape") {
      this.leaving = true;
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.publish();
    } else if (event.key === "Tab" && !event.shiftKey && !this.leaving) {
      event.preventDefault();
      // Only this way of inserting text can be undone.
      document.execCommand("insertText", false, "  ");
    } else if (event.key !== "Shift") {
      this.leaving = false;
    }
  }

  format() {
    if (!this.check()) return;
    this.undo.replace(pretty(this.area.value));
    this.typed();
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
      if (error.status === 412) await this.refresh();
    } finally {
      this.review.disabled = false;
    }
  }

  async published({ version, published, rollout }, written) {
    if (rollout) {
      // The current version stays; the rollout delivers the text.
      this.reset(this.base);
      return this.done(`Rollout ${rollout.id} of version ${version} has started. `, "Watch it");
    }
    this.base = { ...this.base, ...written };
    this.keep();
    await this.refresh();
    const brokers = published ? "" : " A broker does not have it yet; the controller tries again until it does.";
    this.done(`Version ${version} is published.${brokers} `, "Watch it arrive");
  }

  done(text, link) {
    fill(this.says, h("p.done", { role: "status" }, text, h("a", { href: `#overview/${this.api.namespace}` }, link)));
  }

  /** Offer a choice: another person published while this text was edited. */
  overtaken(there) {
    this.newer = there;
    const choices = { keep: () => this.goOnTop(there), take: () => this.take(there) };
    fill(this.says, overtaken(this.api, this.base, there, choices));
  }

  goOnTop(there) {
    if (this.interval.value === this.base.interval) this.interval.value = there.interval;
    this.begun(there);
    this.area.focus();
  }
}
