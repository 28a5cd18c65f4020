/** The parts of the fleet's table: its head, its rows, and the chips of states. */

import { errorOf, lastOf, seen, stateOf } from "./agents.js";
import { fill, h, harmless } from "./dom.js";
import { ago } from "./format.js";

export const COLUMNS = {
  hostname: "Host",
  state: "State",
  version: "Version",
  strategy: "Strategy",
  seen: "Last seen",
  error: "Error",
  metadata: "Metadata",
};

/** Return a chip that shows the number of agents in a state. */
export function makeChip(state, onclick) {
  return h(`button.chip.${state}`, { type: "button", "aria-pressed": "false", onclick }, state, " ", h("b", {}, "0"));
}

/** Return the head of a column. */
export function makeHead(column, label, onclick) {
  return h(`div.cell.of-${column}`, { role: "columnheader" }, h("button", { type: "button", onclick }, label));
}

/** Return an empty row. */
export function makeRow() {
  const cells = Object.keys(COLUMNS).map((column) => h(`div.cell.of-${column}`, { role: "cell" }));
  cells[0].append(h("a.link", {}));
  return h("div.row", { role: "row" }, ...cells);
}

/**
 * Fill a row with an agent.
 * @param {string} address of the agent in this page
 * @param {string} label that the last column shows; "" for the metadata
 */
export function writeRow(row, agent, index, address, label) {
  row.setAttribute("aria-rowindex", index + 2);
  const [host, state, version, strategy, last, error, metadata] = row.children;
  const link = host.firstChild;
  link.href = address;
  link.textContent = harmless(agent.hostname || agent.id);
  fill(state, h(`span.state.${stateOf(agent)}`, {}, stateOf(agent)));
  version.textContent = agent.applied_version ?? "–";
  strategy.textContent = harmless(agent.strategy || "–");
  last.textContent = ago(seen(agent));
  error.textContent = error.title = harmless(errorOf(agent));
  metadata.textContent = metadata.title = harmless(lastOf(agent, label));
}
