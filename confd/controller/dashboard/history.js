/** The history of a namespace: show, compare, roll back. */

import { compare } from "./diff.js";
import { fill, h } from "./dom.js";
import { timeAgo } from "./format.js";
import { PagedList } from "./paged_list.js";
import { rollBack } from "./rollback.js";
import { versionAddress } from "./version.js";

/** The versions of a namespace, newest first. */
export class History extends PagedList {
  constructor(root, api) {
    super(api);
    this.newest = 0;
    this.from = number("from", "From version");
    this.to = number("to", "to version");
    this.body = h("tbody", {});
    this.says = h("div", {});
    this.older = h(
      "button",
      { type: "button", hidden: true, onclick: () => this.load(this.next) },
      "Show older versions",
    );
    const submit = (event) => {
      event.preventDefault();
      compare(this.api, this.from.value, this.to.value);
    };
    const heads = ["Version", "Published", "By", "Comment", ""].map((text) => h("th", { scope: "col" }, text));
    fill(
      root,
      h("header", {}, h("h1", { id: "history-title" }, "History")),
      h(
        "form.tools",
        { onsubmit: submit },
        h("label", {}, "From version ", this.from),
        h("label", {}, "to ", this.to),
        h("button", { type: "submit" }, "Compare"),
      ),
      this.says,
      h(
        "div.scroll",
        { tabIndex: 0, role: "group", "aria-label": "Versions" },
        h("table.list", {}, h("thead", {}, h("tr", {}, ...heads)), this.body),
      ),
      this.older,
    );
  }

  move(api) {
    this.newest = 0;
    super.move(api);
  }

  /** Return a promise of a page. */
  page(query) {
    return this.api.read("/api/v1/config/history", query);
  }

  draw() {
    const newest = this.items[0].version;
    if (!this.newest || Number(this.to.value) === this.newest) {
      this.to.value = newest;
      this.from.value = Math.max(1, newest - 1);
    }
    this.newest = newest;
    this.to.max = this.from.max = newest;
    this.older.hidden = !this.next;
    const current = this.current();
    fill(this.body, ...this.items.map((item, place) => this.row(item, item === current, this.items[place + 1])));
  }

  /** Return the newest version on the page that is no candidate. */
  current() {
    return this.items.find(({ state }) => !state) ?? this.items[0];
  }

  row(item, isCurrent, before) {
    const { version, created_at: made, author, comment, rollback_of: source } = item;
    const changes = h(
      "button",
      {
        type: "button",
        "aria-label": `Changes of version ${version}`,
        disabled: version === 1,
        onclick: () => compare(this.api, version - 1, version),
      },
      "Changes",
    );
    const back = h(
      "button.for-publish",
      { type: "button", "aria-label": `Roll back to version ${version}`, onclick: () => this.rollback(version) },
      "Roll back…",
    );
    return h(
      "tr",
      {},
      h("th.number", { scope: "row" }, h("a", { href: versionAddress(this.api.namespace, version) }, String(version))),
      h("td", {}, timeAgo(made)),
      h("td", {}, author),
      h("td.long", {}, comment, source ? h("span.tag", {}, `rollback to ${source}`) : null, polls(item, before), badge(item), origin(item), emergency(item)),
      h("td.actions", {}, changes, isCurrent ? h("span.tag", {}, "current") : item.state === "candidate" ? null : back),
    );
  }

  async rollback(version) {
    const { api } = this;
    // The current version on the page: the person rolls back no version that the page does not show.
    const etag = `"${this.current().tag}"`;
    await rollBack(api, version, etag, this.says);
    this.refresh();
  }
}

/** Return the poll interval of a version where it differs from the version before. */
function polls({ poll_interval_seconds: seconds }, before) {
  if (!before || before.poll_interval_seconds === seconds) return null;
  return h("span.tag", {}, `poll interval ${seconds} s`);
}

/** Return what a rollout made of a version. */
function badge({ rollout, state }) {
  if (!rollout) return null;
  return h("span.tag", {}, state ? `${state}, rollout ${rollout}` : `rollout ${rollout}`);
}

/** Return the change that a version came from, and its approvers. */
function origin({ change, approvals }) {
  if (!change) return null;
  const names = approvals.map(({ subject }) => subject).join(", ");
  return h("span.tag", {}, names ? `change ${change}, approved by ${names}` : `change ${change}`);
}

/** Return the mark of a version that an admin published although its policy, or a freeze, forbade it. */
function emergency({ break_glass: reason }) {
  return reason ? h("span.tag.emergency", {}, `break-glass: ${reason}`) : null;
}

function number(name, label) {
  return h("input", { type: "number", name, min: 1, required: true, "aria-label": label });
}
