/** The dialog with one agent. */

import { errorOf, labelsOf, stateOf } from "./agents.js";
import { closer, dialog, fill, h, problem } from "./dom.js";
import { duration, moment } from "./format.js";

const VERIFIED = new Map([[null, "–"], [true, "yes, read back"], [false, "no, the worker cannot be read back"]]);

/** Show an agent and its reports. */
export async function showAgent(api, id) {
  const body = h("div", { tabIndex: 0 }, h("p.quiet", {}, "Loading…"));
  dialog("Agent", body, [closer("Close")]);
  try {
    fill(body, ...described(await api.get(address(id))));
  } catch (error) {
    fill(body, problem(error));
  }
}

// A browser resolves "." and ".." in a path.
function address(id) {
  const name = encodeURIComponent(id);
  return id === "." || id === ".." ? `/api/v1/agents/-?id=${name}` : `/api/v1/agents/${name}`;
}

function described(agent) {
  const facts = {
    Host: agent.hostname || "–",
    Id: agent.id,
    State: stateOf(agent),
    Version: agent.applied_tag ?? "–",
    Verified: VERIFIED.get(agent.verified),
    Strategy: agent.strategy || "–",
    Labels: labelsOf(agent) || "–",
    Metadata: agent.metadata || "–",
    "Last poll": moment(agent.last_poll),
    Registered: moment(agent.registered_at),
    Repairs: agent.repairs,
    Error: errorOf(agent) || "none",
  };
  const list = Object.entries(facts).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]);
  const reports = agent.reports.map((each) =>
    h(
      "li",
      {},
      h(`span.state.${each.state}`, {}, each.state),
      ` version ${each.version}, ${moment(each.at)}`,
      each.ms.worker === null ? "" : `, applied in ${duration(each.ms.worker)}`,
      each.error ? `: ${each.error}` : "",
    ),
  );
  return [
    h("dl", {}, ...list),
    h("h3", {}, "Reports"),
    reports.length ? h("ul.plain", {}, ...reports) : h("p.quiet", {}, "None yet."),
  ];
}
