/** The table of the agents. */

import { showAgent } from "./agent_dialog.js";
import { Agents, STATES, errorOf, seen, stateOf } from "./agents.js";
import { fill, h, harmless, problem } from "./dom.js";
import { firstAgent, nothingMatches } from "./empty_fleet.js";
import { VirtualList } from "./virtual_list.js";
import { ago, count, plural } from "./format.js";

const COLUMNS = {
  hostname: "Host",
  state: "State",
  version: "Version",
  strategy: "Strategy",
  seen: "Last seen",
  error: "Error",
  metadata: "Metadata",
};

/** Milliseconds between two requests for the whole fleet: polls send no event, but move "last seen". */
const PERIOD_MS = 30000;

/** Milliseconds until a request, if an event does not tell which agents to show. */
const REFRESH_DELAY_MS = 5000;

/** All agents of a namespace, live. */
export class Fleet {
  constructor(root, api) {
    const agents = new Agents();
    Object.assign(this, { api, agents, fresh: agents, frame: 0, loading: null, stale: true, soon: 0, visible: false });
    this.wanted = { words: "", states: new Set(), column: "hostname", descending: false };
    this.selector = "";
    this.build(root);
    setInterval(() => this.visible && this.load(), PERIOD_MS);
  }

  build(root) {
    this.total = h("p.quiet", { role: "status" });
    const field = (placeholder, label, listener) =>
      h("input", { type: "search", placeholder, "aria-label": label, ...listener });
    this.search = field("Host, metadata, error…", "Filter the agents", {
      oninput: () => this.want({ words: this.search.value }),
    });
    this.labels = field("region in (us,eu),!gpu", "Selector of labels", {
      onchange: () => this.select(this.labels.value.trim()),
    });
    this.chips = Object.fromEntries(STATES.map((state) => [state, this.chip(state)]));
    this.heads = Object.entries(COLUMNS).map(([column, label]) => this.head(column, label));
    const canvas = h("div.canvas", { role: "presentation" });
    const viewport = h(
      "div.viewport",
      { tabIndex: 0, role: "rowgroup", "aria-label": "Agents; scroll with the arrow keys" },
      canvas,
    );
    this.table = h(
      "div.table",
      { role: "table", "aria-label": "Agents" },
      h("div", { role: "rowgroup" }, h("div.row.head", { role: "row" }, ...this.heads)),
      viewport,
    );
    this.rows = new VirtualList(viewport, canvas, () => this.row(), write);
    this.says = h("div", {});
    this.empty = h("div.empty", { hidden: true });
    const chips = h("div.chips", { role: "group", "aria-label": "Only in these states" }, ...Object.values(this.chips));
    fill(
      root,
      h("header", {}, h("h1", { id: "fleet-title" }, "Fleet"), this.total),
      h("div.tools", {}, this.search, this.labels, chips),
      this.says,
      this.empty,
      this.table,
    );
  }

  chip(state) {
    const press = () => {
      const { states } = this.wanted;
      if (!states.delete(state)) states.add(state);
      button.setAttribute("aria-pressed", states.has(state));
      this.schedule();
    };
    const button = h(
      `button.chip.${state}`,
      { type: "button", "aria-pressed": "false", onclick: press },
      state,
      " ",
      h("b", {}, "0"),
    );
    return button;
  }

  head(column, label) {
    const turn = () => this.want({ column, descending: this.wanted.column === column && !this.wanted.descending });
    return h(`div.cell.of-${column}`, { role: "columnheader" }, h("button", { type: "button", onclick: turn }, label));
  }

  row() {
    const open = () => showAgent(this.api, button.dataset.id);
    const button = h("button.link", { type: "button", onclick: open });
    const cells = Object.keys(COLUMNS).map((column) => h(`div.cell.of-${column}`, { role: "cell" }));
    cells[0].append(button);
    return h("div.row", { role: "row" }, ...cells);
  }

  /** Note how many agents follow the namespace. */
  expect(number) {
    this.expected = number;
  }

  clearFilters() {
    this.search.value = this.labels.value = "";
    for (const state of STATES) this.chips[state].setAttribute("aria-pressed", "false");
    this.wanted.states.clear();
    this.want({ words: "" });
    this.select("");
    this.search.focus();
  }

  want(change) {
    Object.assign(this.wanted, change);
    this.schedule();
  }

  /** Show only agents that match a selector. The controller compares their labels with it. */
  select(selector) {
    if (selector === this.selector) return;
    this.selector = selector;
    this.clear();
  }

  /** Load the agents when the view becomes visible. */
  show(visible) {
    this.visible = visible;
    if (visible && this.stale) this.load();
    this.schedule();
  }

  /** Show another namespace. */
  move(api) {
    this.api = api;
    this.clear();
  }

  clear() {
    this.loading?.abort();
    this.agents = this.fresh = new Agents();
    this.loaded = false;
    this.refresh();
    this.schedule();
  }

  /** Load the agents again, now or when the view becomes visible. */
  refresh() {
    Object.assign(this, { stale: true, soon: 0 });
    if (this.visible) this.load();
  }

  async load() {
    this.loading?.abort();
    clearTimeout(this.soon);
    const loading = (this.loading = new AbortController());
    Object.assign(this, { stale: false, soon: 0 });
    this.schedule();
    const fresh = (this.fresh = new Agents());
    const first = this.agents.byId.size === 0;
    try {
      for await (const page of this.api.agents(loading.signal, this.selector)) {
        fresh.put(page);
        if (first) this.take(fresh);
      }
      this.loaded = true;
      this.take(fresh);
      fill(this.says);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.stale = true;
      fill(this.says, problem(error));
    }
  }

  take(agents) {
    this.agents = agents;
    this.schedule();
  }

  /** Apply the data of the event "agents". */
  changed({ agents, forgotten = [], more }) {
    // A page under way may be older than the event.
    for (const each of new Set([this.agents, this.fresh])) {
      // Only the controller knows whether another agent matches the selector.
      each.put(this.selector ? agents.filter(({ id }) => each.byId.has(id)) : agents);
      each.remove(forgotten);
    }
    if (more || this.selector) this.soon ||= setTimeout(() => this.refresh(), REFRESH_DELAY_MS);
    this.schedule();
  }

  schedule() {
    if (!this.visible) return;
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  draw() {
    const found = this.agents.select(this.wanted);
    const all = this.agents.byId.size;
    const counts = this.agents.counts();
    for (const state of STATES) this.chips[state].lastChild.textContent = count(counts[state]);
    Object.keys(COLUMNS).forEach((column, place) => {
      const order = this.wanted.descending ? "descending" : "ascending";
      this.heads[place].setAttribute("aria-sort", this.wanted.column === column ? order : "none");
    });
    this.total.textContent = summary(found.length, all, this);
    this.vacant(found.length, all);
    this.table.setAttribute("aria-rowcount", found.length + 1);
    this.rows.show(found);
  }

  /** Show what to do if no row is left. */
  vacant(found, all) {
    const kind = found || !this.loaded ? "" : all || this.selector ? "filtered" : this.api.namespace;
    this.table.hidden = kind !== "";
    this.empty.hidden = kind === "";
    if (this.vacancy === kind) return;
    this.vacancy = kind;
    fill(this.empty, ...(kind === "filtered" ? nothingMatches(() => this.clearFilters()) : kind ? firstAgent(kind) : []));
  }
}

function summary(found, all, { loaded, expected, selector }) {
  if (loaded) return found === all ? plural(all, "agent") : `${count(found)} of ${plural(all, "agent")}`;
  const known = expected && !selector ? ` of ${count(Math.max(all, expected))}` : "";
  return all ? `Loading ${count(all)}${known}…` : "Loading…";
}

function write(row, agent, index) {
  row.setAttribute("aria-rowindex", index + 2);
  const [host, state, version, strategy, last, error, metadata] = row.children;
  const button = host.firstChild;
  button.dataset.id = agent.id;
  button.textContent = harmless(agent.hostname || agent.id);
  fill(state, h(`span.state.${stateOf(agent)}`, {}, stateOf(agent)));
  version.textContent = agent.applied_version ?? "–";
  strategy.textContent = harmless(agent.strategy || "–");
  last.textContent = ago(seen(agent));
  error.textContent = error.title = harmless(errorOf(agent));
  metadata.textContent = metadata.title = harmless(agent.metadata);
}
