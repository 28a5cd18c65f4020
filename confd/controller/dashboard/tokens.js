/** The API tokens of the controller: create, rotate, revoke. */

import { roleOf } from "./account.js";
import { copyButton } from "./copy.js";
import { closer, dialog, fill, h } from "./dom.js";
import { ask, confirmRemoval, field, post } from "./form_dialog.js";
import { span, timeAgo } from "./format.js";
import { WholeList, emptyRow, listCard } from "./list_card.js";
import { createToken } from "./token_dialog.js";

const PATH = "/api/v1/tokens";

/** Milliseconds before the end of a token at which the list marks it. */
const SOON_MS = 7 * 86400000;

/** How long the old secret stays valid, in seconds. */
const OVERLAPS = [[0, "not at all"], [3600, "1 hour"], [86400, "1 day"], [604800, "7 days"]];

/** The tokens by id: all, or the tokens that are valid. */
export class Tokens extends WholeList {
  constructor(root) {
    super();
    this.all = h("input", { type: "checkbox", name: "all", onchange: () => this.draw() });
    const create = h("button.primary", { type: "button", onclick: () => this.create() }, "New token…");
    Object.assign(
      this,
      listCard(root, {
        id: "tokens",
        title: "API tokens",
        about: "Programs and people send a token in place of a password. The controller keeps no secret, only its hash.",
        tools: [create, h("label.choice", {}, this.all, " Show expired and revoked tokens, too")],
        heads: ["Name", "State", "Grants", "Last use", "Created", ""],
      }),
    );
  }

  /** Return a promise of all tokens. */
  page() {
    return this.api.get(PATH);
  }

  draw() {
    const shown = this.items.filter((each) => this.all.checked || stateOf(each).valid);
    const empty = this.items.length
      ? "No token is valid."
      : "No token exists yet. Make one for each program and each person, so that the audit log names them.";
    fill(this.body, ...(shown.length ? shown.map((each) => this.row(each)) : [emptyRow(6, empty)]));
  }

  row(token) {
    const { id, name, subject, grants, created_at: made, created_by: maker } = token;
    const { valid, kind, text } = stateOf(token);
    const verb = (label, act) =>
      h("button", { type: "button", "aria-label": `${label} token ${name}`, onclick: act }, `${label}…`);
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, name, h("span.tag", { title: "Id" }, id), subject === name ? null : h("div.quiet", {}, subject)),
      h("td", {}, h(`span.state.${kind}`, {}, text)),
      h("td.long", {}, ...grants.map((each) => h("div", {}, roleOf(each)))),
      h("td", { "data-label": "used" }, ...lastUse(token)),
      h("td", { "data-label": "created", title: `by ${maker}` }, timeAgo(made)),
      h("td.actions", {}, ...(valid ? [verb("Rotate", () => this.rotate(token)), verb("Revoke", () => this.revoke(token))] : [])),
    );
  }

  async create() {
    const made = await createToken(this.api);
    if (made) await this.hand(made, "is created");
  }

  async rotate({ id, name }) {
    const options = OVERLAPS.map(([value, text]) => h("option", { value }, text));
    const overlap = h("select", { name: "overlap" }, ...options);
    const fields = [
      h("p", {}, `The token ${name} gets another secret, and keeps its id and its grants.`),
      field("The old secret stays valid", overlap, "Sessions and streams that the old secret began end with it."),
    ];
    const send = () => post(this.api, `${PATH}/${id}/rotate`, { overlap: Number(overlap.value) });
    const made = await ask(`Rotate ${name}`, fields, "Make another secret", send);
    if (made) await this.hand(made, "has a new secret");
  }

  async revoke({ id, name }) {
    const said = `Callers that use the token ${name} are refused at once, and their streams end. A revoked token never works again.`;
    const done = await confirmRemoval(this.api, `${PATH}/${id}`, `Revoke ${name}`, said, "Revoke for ever");
    this.did(done && [`${done.message}.`]);
  }

  /** Show a secret once. Escape does not lose it: only the button closes the dialog. */
  async hand({ id, name, token }, what) {
    const secret = h("p.command", {}, h("code.secret", { tabIndex: 0 }, token), copyButton("the secret", token));
    const closed = dialog(
      `Token ${name} ${what}`,
      h("div", {}, h("p", {}, "Keep the secret now: it is not shown again."), secret, h("p.quiet", {}, `Its id is ${id}. Send the secret as "Authorization: Bearer SECRET", or set CONFD_TOKEN for confdctl.`)),
      [closer("I have kept it")],
    );
    const box = secret.closest("dialog");
    box.addEventListener("cancel", (event) => event.preventDefault());
    secret.querySelector("button").focus();
    await closed;
    this.did([`Token ${name} (${id}) ${what}.`]);
  }
}

function stateOf({ revoked_at: revoked, expires_at: ends }) {
  if (revoked) return { valid: false, kind: "failed", text: "revoked" };
  if (!ends) return { valid: true, kind: "applied", text: "valid, no expiry" };
  const left = Date.parse(ends) - Date.now();
  if (left <= 0) return { valid: false, kind: "failed", text: "expired" };
  return { valid: true, kind: left < SOON_MS ? "silent" : "applied", text: `expires in ${span(left / 1000)}` };
}

function lastUse({ last_used_at: at, last_used_from: from }) {
  return at ? [timeAgo(at), h("div.quiet", {}, `from ${from ?? "unknown"}`)] : ["never"];
}
