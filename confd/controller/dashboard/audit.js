/** Who tried to change what. */

import { fill, h, trouble } from "./dom.js";
import { ago, moment } from "./words.js";

/** The audit of the whole controller, newest first. */
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
    const heads = ["When", "Who", "From", "What", "Came of it"].map((text) => h("th", { scope: "col" }, text));
    fill(
      root,
      h(
        "header",
        {},
        h("h1", { id: "audit-title" }, "Audit"),
        h("p.quiet", {}, "All namespaces; each entry seals the one before it."),
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

  /** Somebody looks, or turned away. */
  show(visible) {
    this.visible = visible;
    this.refresh();
  }

  /** The controller it is of. */
  move(api) {
    this.api = api;
    this.refresh();
  }

  /** There may be entries more. */
  refresh() {
    if (this.visible && this.api) this.load();
  }

  /** @param {number} [before] loads what comes after what is here */
  async load(before) {
    try {
      const page = await this.api.get(`/api/v1/audit${before ? `?before=${before}` : ""}`);
      this.items = before ? [...this.items, ...page.items] : page.items;
      this.next = page.next;
      this.older.hidden = !this.next;
      fill(this.says);
      fill(this.body, ...this.items.map(row));
    } catch (error) {
      fill(this.says, trouble(error));
    }
  }
}

function row({ at, who, peer, action, target, outcome, detail }) {
  const kind = outcome === "done" ? "applied" : "failed";
  return h(
    "tr",
    {},
    h("td", {}, h("time", { dateTime: at, title: moment(at) }, ago(at))),
    h("td", {}, who || "nobody"),
    h("td", {}, peer),
    h("th.long", { scope: "row" }, action, target ? h("span.tag", {}, target) : null),
    h("td.long", {}, h(`span.state.${kind}`, {}, outcome), detail ? ` ${detail}` : ""),
  );
}
