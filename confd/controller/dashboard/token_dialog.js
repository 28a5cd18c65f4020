/** The dialog that creates an API token. */

import { button, h } from "./dom.js";
import { ask, field, nameInput, patternsIn, post } from "./form_dialog.js";

const ROLES = {
  viewer: "reads configurations, agents, rollouts, changes and the audit log",
  proposer: "reads, and proposes changes",
  publisher: "publishes, rolls back, and steers rollouts",
  approver: "reads, and approves changes",
  operator: "manages agents and freezes, and stops rollouts",
  checker: "posts the results of checks",
  agent: "serves a machine: polls and reports",
  admin: "may do everything, in every namespace",
};

const DAY = 86400;
const LIVES = [[30 * DAY, "30 days"], [90 * DAY, "90 days"], [365 * DAY, "1 year"], [DAY, "1 day"], ["", "for ever"]];

/** The largest number of grants of a token. */
const MOST_GRANTS = 16;

/** Ask for a token, and create it. @returns {Promise<Object|null>} the token with its secret; null without one */
export function createToken(api) {
  const name = nameInput();
  const subject = h("input", { type: "text", name: "subject", maxLength: 128, autocomplete: "off" });
  const life = h("select", { name: "life" }, ...LIVES.map(([value, text]) => h("option", { value }, text)));
  life.value = LIVES[1][0];
  const grants = h("div", {}, grantFields(api.namespace));
  const more = button("Add a grant", () => {
    grants.append(grantFields(api.namespace, true));
    grants.lastChild.querySelector("select").focus();
    more.hidden = grants.childElementCount >= MOST_GRANTS;
  });
  const fields = [
    field("Name", name, "Lower-case letters, digits and dashes."),
    field("The person or team that answers for it", subject, "Left empty, it is the name of the token."),
    h("fieldset", {}, h("legend", {}, "Grants"), grants, more),
    field("Valid", life),
  ];
  const send = () =>
    post(api, "/api/v1/tokens", {
      name: name.value,
      subject: subject.value.trim(),
      grants: [...grants.children].map(grantIn),
      ...(life.value && { expires_in: Number(life.value) }),
    });
  return ask("New API token", fields, "Create the token", send);
}

/** Return the fields of one grant. @param {boolean} [removable] */
function grantFields(namespace, removable = false) {
  const role = h("select", { name: "role", "aria-label": "Role", onchange: () => explain() }, ...Object.keys(ROLES).map((each) => h("option", { value: each }, each)));
  const where = h("input", { type: "text", name: "namespaces", required: true, value: namespace, autocomplete: "off", "aria-label": "Namespaces", title: "Names, or prefixes such as pay-*, with commas between" });
  const hint = h("small.quiet", {});
  const line = h("div.grant", {}, role, h("span", {}, "in"), where, removable ? button("Remove", () => line.remove()) : null, hint);
  const explain = () => {
    hint.textContent = `${ROLES[role.value]}. Namespaces: names, or prefixes such as pay-*, with commas between.`;
    // The controller takes the role for every namespace only.
    where.readOnly = role.value === "admin";
    if (where.readOnly) where.value = "*";
  };
  explain();
  return line;
}

function grantIn(line) {
  return { role: line.querySelector("select").value, namespaces: patternsIn(line.querySelector("input").value) };
}
