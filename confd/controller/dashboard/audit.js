/** The audit log. */

import { inWords } from "./audit_words.js";
import { button, fill, h, problem } from "./dom.js";
import { saveJson } from "./export.js";
import { plural, timeAgo } from "./format.js";
import { listCard } from "./list_card.js";

/** The audit log of the whole controller, newest first. */
export class Audit {
  constructor(root) {
    Object.assign(this, { api: null, items: [], visible: false });
    this.search = h("input", { type: "search", placeholder: "Who, what, namespace…", "aria-label": "Filter the entries", oninput: () => this.draw() });
    this.refused = h("input", { type: "checkbox", onchange: () => this.draw() });
    this.total = h("p.quiet", { role: "status" });
    this.older = h("button", { type: "button", hidden: true, onclick: () => this.load(this.next) }, "Show older entries");
    const card = {
      id: "audit",
      title: "Audit",
      about: "All namespaces. Each entry holds the hash of the entry before it; confdctl audit verify checks them.",
      tools: [
        this.search,
        h("label.choice", {}, this.refused, " Only refused"),
        button("Save as JSON", () => saveJson("audit", this.found())),
        this.total,
      ],
      heads: ["When", "Who", "From", "What", "Result"],
    };
    Object.assign(this, listCard(root, card, this.older));
  }

  /** Load the entries when the view becomes visible. */
  show(visible) {
    this.visible = visible;
    this.refresh();
  }

  /** Show another namespace; the entries are the same. */
  move(api) {
    this.api = api;
    this.refresh();
  }

  /** Load the newest entries, if the view is visible. */
  refresh() {
    if (this.visible && this.api) this.load();
  }

  /** Load a page. @param {number} [before] number of the entry before which the page ends; default: the newest */
  async load(before) {
    try {
      const page = await this.api.get(`/api/v1/audit${before ? `?before=${before}` : ""}`);
      this.items = before ? [...this.items, ...page.items] : page.items;
      this.next = page.next;
      this.older.hidden = !this.next;
      fill(this.says);
      this.draw();
    } catch (error) {
      fill(this.says, problem(error));
    }
  }

  /** Return the loaded entries that match the filter. */
  found() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    return this.items.filter((entry) => {
      if (this.refused.checked && entry.outcome === "done") return false;
      const text = [entry.who, entry.subject, entry.peer, entry.action, inWords(entry), entry.target, entry.namespace, entry.outcome, entry.detail].join(" ").toLowerCase();
      return words.every((word) => text.includes(word));
    });
  }

  draw() {
    const found = this.found();
    this.total.textContent = `${found.length} of ${plural(this.items.length, "loaded entry").replace("entrys", "entries")}`;
    fill(this.body, ...found.map(row));
  }
}

function row(entry) {
  const { at, who, peer, action, target, outcome, detail } = entry;
  const kind = outcome === "done" ? "applied" : "failed";
  return h(
    "tr",
    {},
    h("td", {}, timeAgo(at)),
    h("td", {}, who || "not signed in"),
    h("td", {}, peer),
    h("th.long", { scope: "row", title: action }, inWords(entry), target ? h("span.tag", {}, target) : null),
    h("td.long", {}, h(`span.state.${kind}`, {}, outcome), detail ? ` ${detail}` : ""),
  );
}
