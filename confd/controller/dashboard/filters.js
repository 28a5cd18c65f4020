/** The filters of the fleet, as the address of the page has them: a link or a bookmark keeps them. */

import { STATES } from "./agents.js";

/** Return the filters in the query of an address; without one, all agents by their hosts. */
export function filtersOf(query) {
  const sort = query.get("sort") ?? "hostname";
  return {
    words: query.get("q") ?? "",
    selector: query.get("select") ?? "",
    states: new Set((query.get("state") ?? "").split(",").filter((each) => STATES.includes(each))),
    version: query.get("version") ?? "",
    behind: query.get("behind") ?? "",
    by: query.get("by") ?? "",
    is: query.get("is"),
    label: query.get("label") ?? "",
    column: sort.replace(/^-/, ""),
    descending: sort.startsWith("-"),
  };
}

/** Return the address of the fleet with filters. @param {string} [agent] the agent to open */
export function fleetAddress(namespace, filters = {}, agent = "") {
  const { words = "", selector = "", states = new Set(), version = "", behind = "", by = "", is = null, label = "", column = "", descending } = filters;
  const sort = `${descending ? "-" : ""}${column}`;
  const parts = { q: words, state: [...states].join(), version, behind, select: selector, by, is, label, sort: sort === "hostname" ? "" : sort, agent };
  const query = new URLSearchParams(Object.entries(parts).filter(([name, value]) => value || (name === "is" && value !== null)));
  return `#fleet/${namespace}${query.size ? `?${query}` : ""}`;
}

/** Return in words which versions the filters allow. */
export function versionsIn({ version, behind }) {
  if (version) return `only version ${version}`;
  return behind ? `without version ${behind}` : "";
}
