/** The agents of the fleet, counted by a fact or a label. */

import { fill, h } from "./dom.js";
import { count } from "./format.js";

/** Groups that are shown: the largest. */
const MOST_GROUPS = 30;

/** Facts to group by, besides labels. */
const FACTS = { version: "Version", state: "State", strategy: "Strategy" };

/** A choice of what to count by, and a button for each value. */
export class Groups {
  /** @param {function({by: string, is: ?string})} wanted is called with the choice of the person */
  constructor(wanted) {
    Object.assign(this, { wanted, offered: "" });
    this.choice = h("select", { onchange: () => wanted({ by: this.choice.value, is: null }) });
    this.list = h("div.chips", { role: "group", "aria-label": "Groups" });
    this.root = h("div.tools", {}, h("label", {}, "Count by ", this.choice), this.list);
  }

  /**
   * Show the groups.
   * @param {string[]} labels the keys of all labels
   * @param {Map<string, number>} counts by value
   */
  show(labels, counts, { by, is }) {
    const keys = [...new Set([...labels, ...(by && !FACTS[by] ? [by] : [])])].sort();
    if (this.offered !== keys.join()) {
      this.offered = keys.join();
      const facts = Object.entries(FACTS).map(([value, text]) => h("option", { value }, text));
      fill(this.choice, h("option", { value: "" }, "nothing"), ...facts, ...keys.map((key) => h("option", { value: key }, `label ${key}`)));
    }
    this.choice.value = by;
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
