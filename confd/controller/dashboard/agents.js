/** The agents of a namespace, kept in memory: filtered and sorted without asking anybody. */

const COLLATOR = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

/** The states an agent can be in; null is one that has not reported yet. */
export const STATES = ["applied", "applying", "failed", "silent", "unreported"];

/** What a column is sorted by. */
const KEYS = {
  hostname: (agent) => agent.hostname || agent.id,
  state: (agent) => stateOf(agent),
  version: (agent) => agent.applied_version ?? -1,
  strategy: (agent) => agent.strategy,
  seen: (agent) => seen(agent) ?? "",
  error: (agent) => errorOf(agent),
  metadata: (agent) => agent.metadata,
};

/** The state by a name. */
export function stateOf(agent) {
  return agent.state ?? "unreported";
}

/** What is wrong with it, empty where nothing is known to be. */
export function errorOf(agent) {
  return agent.duplicate ? "two agents share this id" : (agent.error ?? "");
}

/** When it was last heard of. */
export function seen({ last_poll: polled, reported_at: reported }) {
  return polled && reported ? (polled > reported ? polled : reported) : (polled ?? reported);
}

/** All that are known. */
export class Agents {
  constructor() {
    this.byId = new Map();
    this.texts = new Map();
  }

  /** Take in agents as they are now. */
  put(agents) {
    for (const agent of agents) {
      this.byId.set(agent.id, agent);
      this.texts.delete(agent.id);
    }
  }

  /** Forget agents. */
  remove(ids) {
    for (const id of ids) {
      this.byId.delete(id);
      this.texts.delete(id);
    }
  }

  /** How many are in each state. */
  counts() {
    const counts = Object.fromEntries(STATES.map((state) => [state, 0]));
    for (const agent of this.byId.values()) counts[stateOf(agent)] += 1;
    return counts;
  }

  /**
   * Those that fit, sorted.
   * @param {{words: string, states: Set<string>, column: string, descending: boolean}} wanted all of the words have to
   *   be in an agent's texts; no state is every state
   */
  select({ words, states, column, descending }) {
    const needles = words.toLowerCase().split(/\s+/).filter(Boolean);
    const found = [];
    for (const agent of this.byId.values()) {
      if (states.size && !states.has(stateOf(agent))) continue;
      const text = needles.length ? this.text(agent) : "";
      if (needles.every((needle) => text.includes(needle))) found.push([KEYS[column](agent), agent]);
    }
    const turn = descending ? -1 : 1;
    // Names are sorted as people do, web-2 before web-10; the rest need not be, and is faster.
    const compare = column === "hostname" ? COLLATOR.compare : plainly;
    found.sort(([one, first], [two, second]) => turn * compare(one, two) || plainly(first.id, second.id));
    return found.map(([, agent]) => agent);
  }

  text(agent) {
    let text = this.texts.get(agent.id);
    if (text === undefined) {
      const { id, hostname, metadata, strategy, applied_version: version } = agent;
      text = [id, hostname, metadata, strategy, errorOf(agent), version].join("\n").toLowerCase();
      this.texts.set(agent.id, text);
    }
    return text;
  }
}

function plainly(one, two) {
  return one < two ? -1 : Number(one > two);
}
