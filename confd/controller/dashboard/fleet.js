/** The table of the agents. */

import { showAgent } from "./agent_dialog.js";
import { Agents, STATES } from "./agents.js";
import { button, fill, h, problem } from "./dom.js";
import { firstAgent, nothingMatches, summary } from "./empty_fleet.js";
import { saveCsv, saveJson } from "./export.js";
import { filtersOf, fleetAddress, versionsIn } from "./filters.js";
import { COLUMNS, makeChip, makeHead, makeRow, writeRow } from "./fleet_row.js";
import { Groups } from "./groups.js";
import { VirtualList } from "./virtual_list.js";
import { count } from "./format.js";

/** Milliseconds between two requests for the whole fleet: polls send no event, but move "last seen". */
const PERIOD_MS = 30000;

/** Milliseconds until a request, if an event does not tell which agents to show. */
const REFRESH_DELAY_MS = 5000;

/** All agents of a namespace, live. */
export class Fleet {
  constructor(root, api) {
    const agents = new Agents();
    Object.assign(this, { api, agents, fresh: agents, frame: 0, loading: null, stale: true, soon: 0, visible: false });
    this.wanted = filtersOf(new URLSearchParams());
    Object.assign(this, { selector: "", opened: "", found: [] });
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
      onchange: () => this.want({ selector: this.labels.value.trim() }),
    });
    this.chips = Object.fromEntries(STATES.map((state) => [state, makeChip(state, () => this.toggle(state))]));
    this.heads = Object.entries(COLUMNS).map(([column, label]) => makeHead(column, label, () => this.sort(column)));
    const canvas = h("div.canvas", { role: "presentation" });
    const scroll = "Agents; scroll with the arrow keys";
    const viewport = h("div.viewport", { tabIndex: 0, role: "rowgroup", "aria-label": scroll }, canvas);
    this.table = h(
      "div.table",
      { role: "table", "aria-label": "Agents" },
      h("div", { role: "rowgroup" }, h("div.row.head", { role: "row" }, ...this.heads)),
      viewport,
    );
    const write = (row, agent, index) => writeRow(row, agent, index, this.address(agent.id), this.wanted.label);
    this.rows = new VirtualList(viewport, canvas, makeRow, write);
    this.groups = new Groups((change) => this.want(change));
    this.versions = h("button.chip.plain", { type: "button", hidden: true, onclick: () => this.want({ version: "", behind: "" }) });
    this.says = h("div", {});
    this.empty = h("div.empty", { hidden: true });
    const chips = h("div.chips", { role: "group", "aria-label": "Only in these states" }, ...Object.values(this.chips));
    fill(
      root,
      h("header", {}, h("h1", { id: "fleet-title" }, "Fleet"), this.total),
      h("div.tools", {}, this.search, this.labels, chips, this.versions),
      this.groups.root,
      this.says,
      this.empty,
      this.table,
      h("p.tools", {}, this.saving("CSV", saveCsv), this.saving("JSON", saveJson)),
    );
  }

  saving(format, save) {
    return button(`Save as ${format}`, () => save(`agents-${this.api.namespace}`, this.found));
  }

  /** Show agents in a state, too, or no longer. */
  toggle(state) {
    this.want({ states: this.wanted.states.symmetricDifference(new Set([state])) });
  }

  /** Sort by a column, or turn its order around. */
  sort(column) {
    this.want({ column, descending: this.wanted.column === column && !this.wanted.descending });
  }

  /** Note how many agents follow the namespace. */
  expect(number) {
    this.expected = number;
  }

  clearFilters() {
    const { column, descending, label } = this.wanted;
    this.want({ ...filtersOf(new URLSearchParams()), column, descending, label });
    this.search.focus();
  }

  want(change) {
    this.apply({ ...this.wanted, ...change });
    this.note();
  }

  /** Show agents that match filters. */
  apply(filters) {
    this.wanted = filters;
    if (this.search.value !== filters.words) this.search.value = filters.words;
    this.labels.value = filters.selector;
    this.versions.textContent = `${versionsIn(filters)} ✕`;
    this.versions.hidden = !versionsIn(filters);
    this.select(filters.selector);
    this.schedule();
  }

  /** Keep the filters in the address. */
  note() {
    if (this.visible) history.replaceState(null, "", this.address(this.opened));
  }

  /** Return the address of an agent in this page, or of the fleet, with the present filters. */
  address(agent) {
    return fleetAddress(this.api.namespace, this.wanted, agent);
  }

  /** Open the dialog of an agent, or close it: the address names the agent. */
  async open(id) {
    if (id === this.opened) return;
    this.opened = id;
    document.querySelector("dialog.of-agent")?.close();
    if (!id) return;
    await showAgent(this.api, id);
    if (this.opened !== id) return;
    this.opened = "";
    this.note();
  }

  /** Show only agents that match a selector. The controller compares their labels with it. */
  select(selector) {
    if (selector === this.selector) return;
    this.selector = selector;
    this.clear();
  }

  /** Load the agents when the view becomes visible, with the filters of the address. */
  show(visible, query) {
    this.visible = visible;
    if (visible) {
      this.apply(filtersOf(query));
      this.open(query.get("agent") ?? "");
    }
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
    const { agents: found, groups } = this.agents.select(this.wanted);
    this.found = found;
    this.groups.show(this.agents.labels(), groups, this.wanted);
    const all = this.agents.byId.size;
    const counts = this.agents.counts();
    for (const state of STATES) {
      this.chips[state].lastChild.textContent = count(counts[state]);
      this.chips[state].setAttribute("aria-pressed", this.wanted.states.has(state));
    }
    Object.keys(COLUMNS).forEach((column, place) => {
      const order = this.wanted.descending ? "descending" : "ascending";
      this.heads[place].setAttribute("aria-sort", this.wanted.column === column ? order : "none");
    });
    this.heads.at(-1).firstChild.textContent = this.wanted.label || COLUMNS.metadata;
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
