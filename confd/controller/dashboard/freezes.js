/** The freezes that hold namespaces. */

import { fill, h } from "./dom.js";
import { confirmRemoval } from "./form_dialog.js";
import { addFreeze } from "./freeze_dialog.js";
import { moment } from "./format.js";
import { WholeList, emptyRow, listCard } from "./list_card.js";

const PATH = "/api/v1/freezes";

/** The active and coming freezes of the namespaces of the caller. */
export class Freezes extends WholeList {
  /** @param {function(string): boolean} may tells whether the caller may freeze a namespace, or all that a pattern matches */
  constructor(root, may) {
    super();
    this.may = may;
    const add = h("button.primary.for-freezes", { type: "button", onclick: () => this.add() }, "New freeze…");
    Object.assign(
      this,
      listCard(root, {
        id: "freezes",
        title: "Freezes",
        about: "An active freeze holds its namespaces: no new version, and open rollouts stay in their wave. Aborts and undos still work.",
        tools: [add],
        heads: ["Namespaces", "State", "When", "Reason", "By", ""],
      }),
    );
  }

  /** Offer what the caller may do, now that it is known. */
  permit() {
    if (!this.stale) this.draw();
  }

  /** Return a promise of the freezes. */
  page() {
    return this.api.get(PATH);
  }

  draw() {
    fill(this.body, ...(this.items.length ? this.items.map((each) => this.row(each)) : [emptyRow(6, "No freeze is active or coming.")]));
  }

  row(freeze) {
    const { id, namespaces, reason, created_by: author, created_at: made, active } = freeze;
    const remove = h("button", { type: "button", "aria-label": `Remove freeze ${id}`, onclick: () => this.remove(freeze) }, "Remove…");
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, where(namespaces), h("span.tag", { title: "Number" }, String(id))),
      h("td", {}, h(`span.state.${active ? "silent" : "pending"}`, {}, active ? "active" : "coming")),
      h("td.long", {}, ...times(freeze)),
      h("td.long", {}, reason),
      h("td", { "data-label": "by", title: moment(made) }, author),
      h("td.actions", {}, namespaces.every(this.may) ? remove : null),
    );
  }

  async add() {
    const made = await addFreeze(this.api);
    this.did(made && [`Freeze ${made.id} of ${where(made.namespaces)} ${made.active ? "is active" : "will begin"}.`]);
  }

  async remove({ id, namespaces }) {
    const said = `Changes of ${where(namespaces)} are possible at once, and open rollouts go on, unless another freeze holds them.`;
    const done = await confirmRemoval(this.api, `${PATH}/${id}`, `Remove freeze ${id}`, said, "Remove the freeze");
    this.did(done && [`${done.message}.`]);
  }
}

function where(namespaces) {
  return namespaces.includes("*") ? "every namespace" : namespaces.join(", ");
}

/** Return the window of a freeze: the present one, or the next one. */
function times({ weekly, active, next_from: begin, next_until: end }) {
  const window = active ? `until ${moment(end)}` : `from ${moment(begin)} until ${moment(end)}`;
  if (!weekly) return [window];
  const { days, from, until, zone } = weekly;
  return [`each ${days.join(", ")} from ${from} until ${until}, ${zone}`, h("div.quiet", {}, end ? window : "it never begins")];
}
