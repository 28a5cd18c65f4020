/** The document in force, to be edited. */

import { propose } from "./change.js";
import { diff } from "./diff.js";
import { closer, dialog, fill, h, trouble } from "./dom.js";
import { member, pretty, tokens } from "./json.js";
import { count } from "./words.js";

/** Milliseconds of rest after which a text is checked. */
const REST = 250;

/** One textarea, and what it began with; what somebody typed outlives races, refusals and reloads. */
export class Editor {
  constructor(root, api) {
    Object.assign(this, { api, base: null, newer: null, timer: 0 });
    this.title = h("h1", { id: "editor-title" }, "Configuration");
    this.numbers = h("pre.numbers", { "aria-hidden": "true" });
    this.area = h("textarea", {
      spellcheck: false,
      wrap: "off",
      autocomplete: "off",
      "aria-label": "The document, as JSON",
      "aria-describedby": "editor-check editor-keys",
      oninput: () => this.typed(),
      onscroll: () => (this.numbers.scrollTop = this.area.scrollTop),
      onkeydown: (event) => this.pressed(event),
    });
    this.check = h("p.check", { id: "editor-check", role: "status" });
    this.says = h("div", {});
    this.review = h("button.primary", { type: "button", onclick: () => this.publish() }, "Review and publish…");
    const format = h("button", { type: "button", onclick: () => this.format() }, "Format");
    this.discard = h(
      "button",
      { type: "button", onclick: () => this.reset(this.newer ?? this.base) },
      "Discard changes",
    );
    const keys = "Tab indents; Escape and then Tab leaves the field. Ctrl+Enter reviews.";
    fill(
      root,
      h("header", {}, this.title),
      this.says,
      h("div.code", {}, this.numbers, this.area),
      this.check,
      h("div.tools", {}, this.review, format, this.discard),
      h("p.quiet", { id: "editor-keys" }, keys),
    );
  }

  get dirty() {
    return this.base !== null && this.area.value !== this.base.text;
  }

  get slot() {
    return `confd.draft.${this.api.namespace}`;
  }

  /** Another namespace. */
  async move(api) {
    Object.assign(this, { api, base: null, newer: null });
    this.area.disabled = true;
    fill(this.says);
    await this.refresh();
  }

  /** Something else may be in force; what is being edited stays. */
  async refresh() {
    const { api } = this;
    let there;
    try {
      there = read(await api.current());
    } catch (error) {
      return fill(this.says, trouble(error));
    }
    if (api !== this.api) return;
    if (this.base === null) this.begin(there);
    else if (there.etag === this.base.etag) return;
    else if (this.dirty) this.overtaken(there);
    else this.reset(there);
  }

  begin(there) {
    this.area.disabled = false;
    const draft = JSON.parse(sessionStorage.getItem(this.slot) ?? "null");
    this.reset(draft?.base ?? there);
    if (!draft) return;
    this.area.value = draft.text;
    this.typed();
    if (draft.base.etag !== there.etag) this.overtaken(there);
  }

  /** Begin anew with a version. */
  reset(there) {
    Object.assign(this, { base: there, newer: null });
    this.area.value = there.text;
    fill(this.says);
    this.typed();
  }

  typed() {
    const lines = this.area.value.split("\n").length;
    if (this.lines !== lines) {
      this.lines = lines;
      this.numbers.textContent = Array.from({ length: lines }, (_, index) => index + 1).join("\n");
    }
    this.numbers.scrollTop = this.area.scrollTop;
    this.title.textContent = `Configuration, version ${this.base.version}${this.dirty ? " · edited" : ""}`;
    this.discard.disabled = !this.dirty;
    this.keep();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.spell(), REST);
  }

  keep() {
    try {
      if (this.dirty) sessionStorage.setItem(this.slot, JSON.stringify({ text: this.area.value, base: this.base }));
      else sessionStorage.removeItem(this.slot);
    } catch {
      // Too large to be kept: it stays on the page, and the browser asks before that is left.
    }
  }

  /** Say whether the text is JSON. @returns {boolean} */
  spell() {
    clearTimeout(this.timer);
    const text = this.area.value;
    let wrong = null;
    try {
      for (const _ of tokens(text));
    } catch (error) {
      wrong = error;
    }
    this.area.setAttribute("aria-invalid", wrong !== null);
    this.check.classList.toggle("wrong", wrong !== null);
    if (wrong === null) fill(this.check, `Valid JSON, ${count(new Blob([text]).size)} bytes.`);
    else
      fill(
        this.check,
        wrong.message,
        " ",
        h("button.link", { type: "button", onclick: () => this.point(wrong.at) }, "Go there"),
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
      // The one way of typing for somebody that undo knows of.
      document.execCommand("insertText", false, "  ");
    } else if (event.key !== "Shift") {
      this.leaving = false;
    }
  }

  format() {
    if (!this.spell()) return;
    this.area.value = pretty(this.area.value);
    this.typed();
  }

  async publish() {
    if (this.base === null || !this.spell()) return;
    fill(this.says);
    const { api, base } = this;
    const text = this.area.value;
    this.review.disabled = true;
    try {
      const done = await propose("Publish", (options) => api.publish(text, { ...options, etag: base.etag }));
      if (done) await this.published(done, text);
    } catch (error) {
      fill(this.says, trouble(error));
      if (error.status === 412) await this.refresh();
    } finally {
      this.review.disabled = false;
    }
  }

  async published({ version, published }, text) {
    this.base = { ...this.base, text };
    this.keep();
    await this.refresh();
    const brokers = published ? "" : " A broker does not have it yet; it gets it as soon as it can be reached.";
    fill(
      this.says,
      h(
        "p.done",
        { role: "status" },
        `Version ${version} is published.${brokers} `,
        h("a", { href: `#overview/${this.api.namespace}` }, "Watch it arrive"),
      ),
    );
  }

  /** Somebody else published while this text was edited. */
  overtaken(there) {
    this.newer = there;
    const said = `Version ${there.version} was published while you were editing version ${this.base.version}.`;
    const choice = (label, onclick) => h("button", { type: "button", onclick }, `${label} version ${there.version}`);
    const choices = [
      choice("Look at", () => this.look(there)),
      choice("Keep mine, to replace", () => this.goOnTop(there)),
      choice("Discard mine, take", () => this.reset(there)),
    ];
    fill(
      this.says,
      h(
        "div.trouble",
        { role: "alert" },
        h("p", {}, `${said} Your text is kept; look at the newer version, then decide.`),
        h("div.tools", {}, ...choices),
      ),
    );
  }

  async look(there) {
    const versions = { from: this.base.version, to: there.version };
    const found = await this.api.read("/api/v1/config/diff", versions).catch((error) => error);
    const shown = found instanceof Error ? trouble(found) : diff(found.text);
    dialog(`From version ${versions.from} to ${versions.to}`, shown, [closer("Close")]);
  }

  goOnTop(there) {
    Object.assign(this, { base: there, newer: null });
    fill(this.says);
    this.typed();
    this.area.focus();
  }
}

function read({ text, etag }) {
  return { etag, version: Number(member(text, "version")), text: pretty(member(text, "data")) };
}
