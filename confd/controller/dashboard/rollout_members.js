/** The dialog with the members of a rollout that have one outcome. */

import { showAgent } from "./agent_dialog.js";
import { closer, dialog, fill, h, problem } from "./dom.js";
import { timeAgo } from "./format.js";

const HOW = { picked: "picked", detected: "named it by itself" };

/** Members of a page. */
const LIMIT = 100;

/** Show the members of a rollout with an outcome. */
export function showMembers(api, id, outcome) {
  const body = h("tbody", {});
  const says = h("p.quiet", { role: "status" }, "Loading…");
  const more = h("button", { type: "button", hidden: true, onclick: () => load(more.value) }, "Show more members");
  const heads = ["Host", "Wave", "How", "Since", "Error"].map((text) => h("th", { scope: "col" }, text));
  const table = h("table.list", { hidden: true }, h("thead", {}, h("tr", {}, ...heads)), body);

  async function load(after) {
    try {
      const query = new URLSearchParams({ outcome, limit: LIMIT, ...(after && { after }) });
      const page = await api.get(`/api/v1/rollouts/${id}/agents?${query}`);
      body.append(...page.items.map((member) => row(api, member)));
      table.hidden = body.childElementCount === 0;
      fill(says, table.hidden ? `No member is ${outcome} now.` : "");
      more.hidden = !page.next;
      more.value = page.next ?? "";
    } catch (error) {
      fill(says, problem(error));
    }
  }

  load();
  const list = h("div.scroll", { tabIndex: 0, role: "group", "aria-label": "Members" }, table, says);
  return dialog(`Members of rollout ${id}: ${outcome}`, list, [more, closer("Close")]);
}

function row(api, { id, hostname, wave, how, fit, since, error, verified, outcome }) {
  const open = h("button.link", { type: "button", onclick: () => showAgent(api, id) }, hostname || id);
  const unverified = outcome === "applied" && !verified ? h("span.tag", {}, "not read back") : null;
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, open, fit ? null : h("span.tag", {}, "does not count as failure"), unverified),
    h("td", {}, `wave ${wave}`),
    h("td", {}, HOW[how]),
    h("td", {}, timeAgo(since)),
    h("td.long", {}, error ?? ""),
  );
}
