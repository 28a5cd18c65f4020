/** The convergence of the current version, live. */

import { bar } from "./bar.js";
import { chart } from "./chart.js";
import { fill, h } from "./dom.js";
import { fleetAddress } from "./filters.js";
import { ago, count, duration, percent, plural } from "./format.js";

/** The states of agents, in the order of the bar. */
export const STATES = ["applied", "applying", "pending", "failed", "silent", "passed"];

const HOPS = {
  commit: "Commit",
  notify: "Notification",
  agent: "Agent",
  worker: "Worker",
  ack: "Report delay",
};

/** The card of the convergence, and the list of agents that are behind. */
export class Convergence {
  constructor(root, behind) {
    Object.assign(this, { root, behind, last: null, heard: null, width: 0, frame: 0 });
    new ResizeObserver(([{ contentRect }]) => {
      if (Math.abs(contentRect.width - this.width) < 1) return;
      this.width = contentRect.width;
      this.draw();
    }).observe(root);
  }

  /** Clear both cards for another namespace. */
  move() {
    this.last = this.heard = null;
    fill(this.root, h("p.quiet", {}, "Waiting for the controller…"));
    fill(this.behind);
  }

  /** Show the data of the event "convergence". */
  show(data) {
    this.last = data;
    this.redraw();
  }

  /** Show how many agents are silent now. @param {{agents: number, live_agents: number}} [namespace] */
  hear(namespace = null) {
    this.heard = namespace;
    this.redraw();
  }

  redraw() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  draw() {
    if (!this.last || !this.width) return;
    const data = this.last;
    fill(
      this.root,
      h("p.headline", {}, h("strong", {}, percent(data.applied, data.targeted)), ` ${sentence(data)}`),
      bar(STATES, data, 28, 4000 / this.width),
      legend(data),
      silence(this.heard),
      aside(data),
      figures(data),
      data.curve_ms.length
        ? h(
            "div.speed",
            {},
            chart(data.curve_ms, data.applied / data.targeted, marks(data), this.room()),
            hops(data.hops),
          )
        : null,
    );
    fill(
      this.behind,
      data.laggards.length
        ? behindTable(data, data.laggards, "Agents behind")
        : h("p.quiet", {}, data.targeted ? "All agents have it." : "No agent follows this namespace yet."),
    );
  }

  /** Return the width for the chart: on a wide page the table stands beside it. */
  room() {
    return this.width > 820 ? this.width - 400 : this.width;
  }
}

/** Say in a sentence how many agents have a version. */
export function sentence({ applied, targeted, version, published_at: published }) {
  if (targeted === 0) return `Version ${version} is current; no agent follows this namespace yet.`;
  const have = applied === 1 ? "has" : "have";
  return `${count(applied)} of ${plural(targeted, "agent")} ${have} version ${version}, published ${ago(published)}.`;
}

/** Return the number of agents in each state, as links to the agents. */
export function legend(data) {
  const shown = STATES.filter((state) => state !== "passed" || data.passed);
  return h(
    "ul.legend",
    {},
    ...shown.map((state) => h("li", {}, h(`a.state.${state}`, { href: agentsIn(state, data) }, `${state} `, h("b", {}, count(data[state]))))),
  );
}

/** Return the address of the agents in a state. What the fleet shows is the last report of each agent. */
function agentsIn(state, { namespace, version }) {
  if (state === "applied") return fleetAddress(namespace, { version: String(version) });
  if (state === "pending" || state === "passed") return fleetAddress(namespace, { behind: String(version) });
  return fleetAddress(namespace, { states: new Set([state]) });
}

/** Say how many agents are silent, whatever they reported before: the fleet, confdctl and the alerts count the same. */
function silence(namespace) {
  const silent = namespace && namespace.agents - namespace.live_agents;
  if (!silent) return null;
  const address = fleetAddress(namespace.name, { states: new Set(["silent"]) });
  const verb = silent === 1 ? "is" : "are";
  return h("p.quiet", {}, h("a", { href: address }, `${plural(silent, "agent")} ${verb} silent now`), "; the numbers above are what agents reported on this version.");
}

function aside({ rollout }) {
  if (!rollout) return null;
  const who = plural(rollout.members, "member");
  return h("p.quiet", {}, `${who} of rollout ${rollout.id} get version ${rollout.candidate}, and are not counted here.`);
}

function figures({ p50_ms: p50, p99_ms: p99, max_ms: most }) {
  const figure = (name, ms) => h("div", {}, h("dt", {}, name), h("dd", {}, duration(ms)));
  return h("dl.figures", {}, figure("median", p50), figure("p99", p99), figure("slowest", most));
}

function marks({ p50_ms: p50, p99_ms: p99 }) {
  return { p50, p99 };
}

function hops(data) {
  const rows = Object.entries(HOPS).map(([hop, label]) => {
    const { p50_ms: p50, p99_ms: p99 } = data[hop] ?? {};
    return h("tr", {}, h("th", { scope: "row" }, label), h("td", {}, duration(p50)), h("td", {}, duration(p99)));
  });
  const heads = ["Time spent in", "Median", "p99"].map((text) => h("th", { scope: "col" }, text));
  return h("table.hops", {}, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...rows));
}

/** Return a table of agents that do not have a version. */
export function behindTable(data, agents, name) {
  const rows = agents.map((each) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, h("a.plain", { href: fleetAddress(data.namespace, {}, each.id) }, each.hostname || each.id)),
      h("td", {}, h(`span.state.${each.state}`, {}, each.state)),
      h("td.number", {}, each.version ?? "–"),
      h("td", {}, ago(each.last_seen)),
      h("td.long", {}, each.error ?? ""),
    ),
  );
  const heads = ["Host", "State", "Has version", "Last seen", "Error"].map((text) => h("th", { scope: "col" }, text));
  const rest = data.targeted - data.applied - data.passed - agents.length;
  const table = h("table.list", {}, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...rows));
  return h(
    "div.scroll",
    { tabIndex: 0, role: "group", "aria-label": name },
    table,
    rest > 0
      ? h("p.quiet", {}, `… and ${plural(rest, "more agent")}: `, h("a", { href: agentsIn("pending", data) }, "show all"))
      : null,
  );
}
