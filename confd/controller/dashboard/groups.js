/** The agents of the fleet, counted by a fact or a label. */

import { fill, h } from "./dom.js";
import { count } from "./format.js";

/** Groups that are shown: the largest. */
const MOST_GROUPS = 30;

/** Facts to group by, besides labels. */
const FACTS = { version: "Version", state: "State", strategy: "Strategy" };

/** A choice of what to count by, with a button for each value, and a choice of the last column. */
export class Groups {
  /** @param {function({by: string, is: ?string}|{label: string})} wanted is called with the choice of the person */
  constructor(wanted) {
    Object.assign(this, { wanted, offered: "" });
    this.choice = h("select", { onchange: () => wanted({ by: this.choice.value, is: null }) });
    this.last = h("select", { onchange: () => wanted({ label: this.last.value }) });
    this.list = h("div.chips", { role: "group", "aria-label": "Groups" });
    this.root = h("div.tools", {}, h("label", {}, "Count by ", this.choice), h("label.for-columns", {}, "Last column ", this.last), this.list);
  }

  /**
   * Show the groups.
   * @param {string[]} labels the keys of all labels
   * @param {Map<string, number>} counts by value
   */
  show(labels, counts, { by, is, label }) {
    const keys = [...new Set([...labels, ...(by && !FACTS[by] ? [by] : []), ...(label ? [label] : [])])].sort();
    if (this.offered !== keys.join()) {
      this.offered = keys.join();
      const facts = Object.entries(FACTS).map(([value, text]) => h("option", { value }, text));
      const options = () => keys.map((key) => h("option", { value: key }, `label ${key}`));
      fill(this.choice, h("option", { value: "" }, "nothing"), ...facts, ...options());
      fill(this.last, h("option", { value: "" }, "metadata"), ...options());
    }
    this.choice.value = by;
    this.last.value = label;
    const shown = [...counts].sort(([, one], [, two]) => two - one);
    const said = JSON.stringify([shown, is]);
    if (said === this.said) return;
    this.said = said;
    fill(this.list, ...shown.slice(0, MOST_GROUPS).map(([value, number]) => this.group(by, value, number, is)));
  }

  group(by, value, number, is) {
    const pressed = is === value;
    const press = () => this.wanted({ by, is: pressed ? null : value });
    const named = value || "without";
    return h("button.chip.plain", { type: "button", "aria-pressed": String(pressed), onclick: press }, named, " ", h("b", {}, count(number)));
  }
}
