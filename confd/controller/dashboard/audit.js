/** The audit log. */

import { fill, h, problem } from "./dom.js";
import { ago, moment } from "./format.js";

/** The audit log of the whole controller, newest first. */
export class Audit {
  constructor(root) {
    Object.assign(this, { api: null, items: [], visible: false });
    this.body = h("tbody", {});
    this.says = h("div", {});
    this.older = h(
      "button",
      { type: "button", hidden: true, onclick: () => this.load(this.next) },
      "Show older entries",
    );
    const heads = ["When", "Who", "From", "What", "Result"].map((text) => h("th", { scope: "col" }, text));
    fill(
      root,
      h(
        "header",
        {},
        h("h1", { id: "audit-title" }, "Audit"),
        h("p.quiet", {}, "All namespaces. Each entry holds the hash of the entry before it."),
      ),
      this.says,
      h(
        "div.scroll",
        { tabIndex: 0, role: "group", "aria-label": "Entries" },
        h("table.list", {}, h("thead", {}, h("tr", {}, ...heads)), this.body),
      ),
      this.older,
    );
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
      fill(this.body, ...this.items.map(row));
    } catch (error) {
      fill(this.says, problem(error));
    }
  }
}

function row({ at, who, peer, action, target, outcome, detail }) {
  const kind = outcome === "done" ? "applied" : "failed";
  return h(
    "tr",
    {},
    h("td", {}, h("time", { dateTime: at, title: moment(at) }, ago(at))),
    h("td", {}, who || "not signed in"),
    h("td", {}, peer),
    h("th.long", { scope: "row" }, action, target ? h("span.tag", {}, target) : null),
    h("td.long", {}, h(`span.state.${kind}`, {}, outcome), detail ? ` ${detail}` : ""),
  );
}
