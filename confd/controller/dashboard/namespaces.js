/** The namespaces of the controller: create, retire, and what they ask of their changes. */

import { fill, h, problem } from "./dom.js";
import { ask, confirmRemoval, field, nameInput, post } from "./form_dialog.js";
import { count, plural, timeAgo } from "./format.js";
import { configurationOf, pretty } from "./json.js";
import { WholeList, emptyRow, listCard } from "./list_card.js";
import { editPolicy } from "./policy_dialog.js";

const PATH = "/api/v1/namespaces";

/** The namespace that always exists. */
const FIRST = "default";

/** The namespaces that the caller may read. */
export class Namespaces extends WholeList {
  /** @param {function()} changed is called after a namespace came or went */
  constructor(root, changed) {
    super();
    Object.assign(this, { changed, admin: false });
    const create = h("button.primary.for-admins", { type: "button", onclick: () => this.create() }, "New namespace…");
    Object.assign(
      this,
      listCard(root, {
        id: "namespaces",
        title: "Namespaces",
        about: "Each namespace has a document, a history and agents of its own.",
        tools: [create],
        heads: ["Name", "Version", "Agents", "Published", ""],
      }),
    );
  }

  /** Return a promise of the namespaces. */
  async page() {
    return { items: await this.api.get(PATH) };
  }

  draw() {
    fill(this.body, ...(this.items.length ? this.items.map((each) => this.row(each)) : [emptyRow(5, "You may read no namespace.")]));
  }

  row(namespace) {
    const { name, version, agents, live_agents: live, updated_at: updated } = namespace;
    const policy = h("button.for-changes", { type: "button", "aria-label": `Policy of ${name}`, onclick: () => this.policy(name) }, "Policy…");
    const retire = h("button.for-admins", { type: "button", "aria-label": `Retire ${name}`, onclick: () => this.retire(namespace) }, "Retire…");
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, h("a", { href: `#overview/${name}` }, name), name === this.api.namespace ? h("span.tag", {}, "shown") : null),
      h("td.number", {}, String(version)),
      h("td", {}, h("a.plain", { href: `#fleet/${name}` }, agents === live ? plural(agents, "agent") : `${count(live)} of ${plural(agents, "agent")} alive`)),
      h("td", {}, timeAgo(updated)),
      h("td.actions", {}, policy, name === FIRST ? null : retire),
    );
  }

  async create() {
    const { api } = this;
    const from = await api.current().then(configurationOf).catch(() => ({ text: "{}" }));
    const name = nameInput();
    const document = h("textarea", { name: "document", required: true, rows: 9, spellcheck: false, value: from.text });
    const comment = h("input", { type: "text", name: "comment", maxLength: 1024, autocomplete: "off" });
    const fields = [
      field("Name", name, "Lower-case letters, digits and dashes."),
      field("Document of version 1, as JSON", document, `At first the document of ${api.namespace}.`),
      field("Comment", comment),
    ];
    const send = () =>
      // The document goes out as it was typed: JavaScript would round its numbers.
      post(api, PATH, `{"name": ${JSON.stringify(name.value)}, "comment": ${JSON.stringify(comment.value.trim())}, "config": ${pretty(document.value)}}`);
    const made = await ask("New namespace", fields, "Create the namespace", send);
    this.done(made && ["Namespace ", h("a", { href: `#overview/${made.name}` }, made.name), " exists, with version 1."]);
  }

  async retire({ name, agents }) {
    const said = `Agents that still ask for ${name} get no configuration. Its history stays on disk.`;
    const known = agents ? ` ${plural(agents, "agent")} registered there.` : "";
    const done = await confirmRemoval(this.api, `${PATH}/${name}`, `Retire ${name}`, said + known, "Retire the namespace");
    if (done && name === this.api.namespace) location.hash = `namespaces/${FIRST}`;
    this.done(done && [`${done.message}.`]);
  }

  async policy(name) {
    try {
      const saved = await editPolicy(this.api, name, this.admin);
      this.did(saved && [`The policy of ${name} is saved.`]);
    } catch (error) {
      fill(this.says, problem(error));
    }
  }

  done(sentence) {
    this.did(sentence);
    if (sentence) this.changed();
  }
}
