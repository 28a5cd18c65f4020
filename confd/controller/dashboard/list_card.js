/** Cards with a list: a heading, tools, and a table that phones draw as lines. */

import { fill, h } from "./dom.js";
import { PagedList } from "./paged_list.js";

/**
 * Fill a card with a heading, tools and an empty table.
 * @param {{id: string, title: string, about: string, tools: Node[], heads: string[]}} parts id: of the heading, before "-title"
 * @param {...Node} below the table
 * @returns {{body: HTMLElement, says: HTMLElement}} the rows, and the place for results and errors
 */
export function listCard(root, { id, title, about, tools, heads }, ...below) {
  const body = h("tbody", {});
  const says = h("div", {});
  const columns = heads.map((text) => h("th", { scope: "col" }, text));
  fill(
    root,
    h("header", {}, h("h1", { id: `${id}-title` }, title), h("p.quiet", {}, about)),
    h("div.tools", {}, ...tools),
    says,
    h(
      "div.scroll",
      { tabIndex: 0, role: "group", "aria-label": title },
      h("table.list", {}, h("thead", {}, h("tr", {}, ...columns)), body),
    ),
    ...below,
  );
  return { body, says };
}

/** Return the row of a list without items. */
export function emptyRow(columns, sentence) {
  return h("tr", {}, h("td.quiet.long", { colSpan: columns }, sentence));
}

/** A list that the controller answers whole, for all namespaces. It is read each time its view becomes visible. */
export class WholeList extends PagedList {
  constructor() {
    super(null);
  }

  show(visible) {
    if (visible && !this.visible) this.stale = true;
    super.show(visible);
  }

  /** Show another namespace; the items are the same, and what was said about them. */
  move(api) {
    this.api = api;
    this.refresh();
  }

  /** Say in one sentence what an action did, and read the list again. @param {?(string|Node)[]} done null: nothing */
  did(done) {
    if (done === null) return;
    fill(this.says, h("p.done", { role: "status" }, ...done));
    this.refresh();
  }
}
