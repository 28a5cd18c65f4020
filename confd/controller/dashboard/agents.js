/** The agents of a namespace in memory: filtered and sorted without a request. */

const COLLATOR = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

/** The states of an agent. "pending" stands for null: the agent has not reported yet. */
export const STATES = ["applied", "applying", "failed", "silent", "pending"];

/** The sort key of each column. */
const KEYS = {
  hostname: (agent) => agent.hostname || agent.id,
  state: (agent) => stateOf(agent),
  version: (agent) => agent.applied_version ?? -1,
  strategy: (agent) => agent.strategy,
  seen: (agent) => seen(agent) ?? "",
  error: (agent) => errorOf(agent),
  metadata: (agent, label) => lastOf(agent, label),
};

/** Return the state of an agent. */
export function stateOf(agent) {
  return agent.state ?? "pending";
}

/** Return the error of an agent, empty if it has none. */
export function errorOf(agent) {
  return agent.duplicate ? "more than one agent uses this id" : (agent.error ?? "");
}

/** Return the labels of an agent as one text: key=value, separated by commas. */
export function labelsOf({ labels }) {
  return Object.entries(labels).map(([key, value]) => `${key}=${value}`).join(",");
}

/** Return what the last column shows of an agent: a label, or the metadata without one. */
export function lastOf({ labels, metadata }, label) {
  return label ? (labels[label] ?? "") : metadata;
}

/** Return the value of an agent in a grouping; empty if it has none. */
function groupOf(agent, by) {
  if (by === "version") return String(agent.applied_version ?? "");
  if (by === "state") return stateOf(agent);
  return by === "strategy" ? agent.strategy : (agent.labels[by] ?? "");
}

/** Return the time of the last poll or report. */
export function seen({ last_poll: polled, reported_at: reported }) {
  return polled && reported ? (polled > reported ? polled : reported) : (polled ?? reported);
}

/** All agents of a namespace. */
export class Agents {
  constructor() {
    this.byId = new Map();
    this.texts = new Map();
  }

  /** Add or replace agents. */
  put(agents) {
    for (const agent of agents) {
      this.byId.set(agent.id, agent);
      this.texts.delete(agent.id);
    }
  }

  /** Remove agents. */
  remove(ids) {
    for (const id of ids) {
      this.byId.delete(id);
      this.texts.delete(id);
    }
  }

  /** Count the agents in each state. */
  counts() {
    const counts = Object.fromEntries(STATES.map((state) => [state, 0]));
    for (const agent of this.byId.values()) counts[stateOf(agent)] += 1;
    return counts;
  }

  /** Return the keys of all labels. */
  labels() {
    const keys = new Set();
    for (const { labels } of this.byId.values()) for (const key in labels) keys.add(key);
    return [...keys];
  }

  /**
   * Return the matching agents, sorted, and their number in each group before the filter by a group.
   * @param {{words: string, states: Set<string>, version: string, behind: string, by: string, is: ?string, label: string,
   *   column: string, descending: boolean}} wanted an agent matches if its texts contain all words; an empty value
   *   matches all agents
   */
  select({ words, states, version, behind, by, is, label, column, descending }) {
    const needles = words.toLowerCase().split(/\s+/).filter(Boolean);
    const key = KEYS[column] ?? KEYS.hostname;
    const found = [];
    const groups = new Map();
    for (const agent of this.byId.values()) {
      if (states.size && !states.has(stateOf(agent))) continue;
      const applied = String(agent.applied_version ?? "");
      if ((version && applied !== version) || (behind && applied === behind)) continue;
      const text = needles.length ? this.text(agent) : "";
      if (!needles.every((needle) => text.includes(needle))) continue;
      if (by) {
        const group = groupOf(agent, by);
        groups.set(group, (groups.get(group) ?? 0) + 1);
        if (is !== null && group !== is) continue;
      }
      found.push([key(agent, label), agent]);
    }
    const turn = descending ? -1 : 1;
    // People expect web-2 before web-10. The plain order of the other columns is faster.
    const compare = column === "hostname" ? COLLATOR.compare : plainly;
    found.sort(([one, first], [two, second]) => turn * compare(one, two) || plainly(first.id, second.id));
    return { agents: found.map(([, agent]) => agent), groups };
  }

  text(agent) {
    let text = this.texts.get(agent.id);
    if (text === undefined) {
      const { metadata, applied_version: version } = agent;
      text = [labelsOf(agent), metadata, errorOf(agent), version].join("\n").toLowerCase();
      this.texts.set(agent.id, text);
    }
    return text;
  }
}

function plainly(one, two) {
  return one < two ? -1 : Number(one > two);
}
