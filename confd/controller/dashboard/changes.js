/** The changes of a namespace that wait for approvals or for their time. */

import { button, closer, dialog, fill, h, problem } from "./dom.js";
import { diff } from "./diff.js";
import { moment, plural, timeAgo } from "./format.js";
import { emptyRow, listCard } from "./list_card.js";
import { PagedList } from "./paged_list.js";

/** The states as the colours of the fleet show them. */
const KINDS = { approved: "applied", scheduled: "applied", applied: "applied", reviewed: "applied", open: "applying" };
const READY = ["open", "approved", "scheduled"];
const OVER = ["applied", "rejected", "withdrawn", "reviewed"];

/** The changes of a namespace, newest first: all, or the changes that wait. */
export class Changes extends PagedList {
  constructor(root) {
    super(null);
    this.caller = {};
    this.all = h("input", { type: "checkbox", name: "all", onchange: () => this.load() });
    this.older = h("button", { type: "button", hidden: true, onclick: () => this.load(this.next) }, "Show older changes");
    const card = {
      id: "changes",
      title: "Changes",
      about: "Documents that wait for approvals, for their time, or for a person who applies them.",
      tools: [h("label.choice", {}, this.all, " Show changes that have ended, too")],
      heads: ["Change", "State", "By", "Comment", "Approvals", ""],
    };
    Object.assign(this, listCard(root, card, this.older));
  }

  /** Return a promise of a page. */
  page(query) {
    return this.api.read("/api/v1/changes", { ...(this.all.checked ? {} : { state: "pending" }), ...query });
  }

  draw() {
    this.older.hidden = !this.next;
    const empty = this.all.checked ? "No change was proposed yet." : "No change waits.";
    fill(
      this.body,
      ...(this.items.length
        ? this.items.map((item) => this.row(item))
        : [emptyRow(6, empty)]),
    );
  }

  row(item) {
    const { id, state, kind, subject, author, comment, at, created_at: made } = item;
    return h(
      "tr",
      {},
      h("th.number", { scope: "row" }, String(id)),
      h(
        "td",
        {},
        h(`span.state.${KINDS[state] ?? "failed"}`, {}, state),
        at && !OVER.includes(state) ? h("span.tag", {}, `at ${moment(at)}`) : null,
      ),
      h("td", { title: author }, subject, " ", timeAgo(made)),
      h("td.long", {}, comment, kind === "publish" ? null : h("span.tag", {}, kind)),
      h("td", {}, approvals(item)),
      h(
        "td.actions",
        {},
        h("button", { type: "button", "aria-label": `Read change ${id}`, onclick: () => this.read(id) }, "Read…"),
      ),
    );
  }

  /** Show a change with its diff, and the verbs that the caller may use on it. */
  async read(id) {
    const { api } = this;
    fill(this.says);
    try {
      const change = await api.get(`/api/v1/changes/${id}`);
      const comment = h("input", { type: "text", name: "comment", maxLength: 1024, autocomplete: "off" });
      const verbs = offered(change, this.caller);
      const verb = await dialog(`Change ${id}`, described(change, verbs.length ? comment : null), [
        closer("Close"),
        ...verbs.map(({ name, label, needs }) => {
          const chooser = name === "reject" ? rejecter(label, comment) : closer(label, name);
          chooser.classList.add(`for-${needs}`, ...(name === "approve" || name === "apply" ? ["primary"] : []));
          return chooser;
        }),
      ]);
      if (!verb) return;
      const done = await this.act(api, change, verb, comment.value.trim());
      if (api === this.api) fill(this.says, h("p.done", { role: "status" }, done));
    } catch (error) {
      if (api === this.api) fill(this.says, problem(error));
    }
    this.refresh();
  }

  /** Do a verb on the change as the person read it; return what happened, in one sentence. */
  async act(api, change, verb, comment) {
    const { id, checksum } = change;
    const body = verb === "approve" ? { checksum, comment } : verb === "apply" ? { checksum } : { comment };
    const headers = { "Content-Type": "application/json" };
    const options = { method: "POST", headers, body: JSON.stringify(body) };
    const made = await (await api.send(`/api/v1/changes/${id}/${verb}`, options)).json();
    if (verb !== "apply") return `Change ${id} is ${made.state}.`;
    if (made.rollout) return `Rollout ${made.rollout.id} of change ${id} started.`;
    return made.version ? `Change ${id} is published as version ${made.version}.` : `Change ${id} is applied.`;
  }
}

/** Return the verbs that the state of a change allows; the style sheet hides a verb without the permission. */
function offered(change, caller) {
  if (OVER.includes(change.state)) return [];
  const own = caller.subject === change.subject;
  const ready = READY.includes(change.state);
  const enough = change.approvals.length >= change.needed;
  return [
    own && { name: "withdraw", label: "Withdraw", needs: "propose" },
    !ready && { name: "rebase", label: "Write again on the current version", needs: "propose" },
    change.kind !== "review" && { name: "reject", label: "Reject", needs: "approve" },
    ready && !own && { name: "approve", label: "Approve", needs: "approve" },
    ready && enough && change.kind !== "review" && { name: "apply", label: "Apply now", needs: "publish" },
  ].filter(Boolean);
}

/** Return the button that rejects a change, once the person said why. */
function rejecter(label, comment) {
  comment.addEventListener("input", () => comment.setCustomValidity(""));
  return button(label, () => {
    comment.setCustomValidity(comment.value.trim() ? "" : "Say why you reject the change; its author reads it.");
    if (comment.reportValidity()) comment.closest("dialog").close("reject");
  });
}

function approvals({ approvals: given, needed }) {
  const names = given.map(({ subject }) => subject).join(", ");
  return `${given.length} of ${needed}${names ? `: ${names}` : ""}`;
}

/** Describe a change: its facts, its diff, and the field for a comment. */
function described(change, comment) {
  const { author, plan, base, at, result, kind, rollback_of: source, poll_interval_seconds: interval } = change;
  const facts = [
    ["Author", author],
    ["Comment", change.comment],
    ["Base", base],
    ["State", result ? `${change.state}: ${result}` : change.state],
    ["Rollback to", source && `version ${source}`],
    ["Rollout", kind === "replace" ? `replaces the candidate of rollout ${change.rollout}` : plan && `by the plan ${plan}`],
    ["Poll interval", interval && plural(interval, "second")],
    ["Time", at && moment(at)],
    ["Approvals", approvals(change)],
  ];
  const shown = facts.filter(([, value]) => value);
  return h(
    "div",
    {},
    h("dl", {}, ...shown.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))])),
    change.diff ? diff(change.diff.text) : null,
    comment && h("label.field", {}, h("span", {}, "Comment, for the author and the audit log"), comment),
  );
}
