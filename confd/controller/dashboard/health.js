/** The health of the controller and its brokers. */

import { fill, h } from "./dom.js";
import { count, plural } from "./format.js";

/** Milliseconds between two requests. */
const PERIOD_MS = 10000;

/** Milliseconds after which the controller renders its metrics again: the first answer may be that old. */
const FRESH_MS = 1100;

/** Metrics that the card shows. */
const FIGURES = {
  confd_stream_readers: "Agents on the stream",
  confd_event_readers: "People watching",
};

/** The number of namespaces whose newest announcement a broker does not have. */
const WAITING = "confd_unpublished_namespaces";

/** The parts of the controller, each with its problem. */
export class Health {
  constructor(root) {
    Object.assign(this, { root, api: null, visible: false, looks: 0, second: null });
    setInterval(() => this.visible && this.look(), PERIOD_MS);
  }

  /** Start or stop the requests: the view became visible or hidden. */
  show(visible) {
    this.visible = visible;
    clearTimeout(this.second);
    if (!visible) return;
    this.look();
    this.second = setTimeout(() => this.look(), FRESH_MS);
  }

  /** Show another namespace. */
  move(api) {
    this.api = api;
    if (this.visible) this.look();
  }

  async look() {
    const { api } = this;
    const mine = ++this.looks;
    const [ready, metrics, cluster] = await Promise.all([
      api.get("/ready").catch((error) => error),
      api.send("/metrics").then(
        (answer) => answer.text(),
        () => "",
      ),
      api.get("/api/v1/cluster").catch(() => null),
    ]);
    if (mine !== this.looks) return;
    const samples = parse(metrics);
    fill(this.root, verdict(ready), parts(ready, samples), warnings(cluster), facts(samples, cluster));
  }
}

/** Parse the text format of Prometheus into samples: name, labels, value. */
export function parse(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    const found = /^([a-z_]\w*)(?:\{(.*)\})? (\S+)$/i.exec(line);
    if (!found) continue;
    const labels = Object.fromEntries(
      [...(found[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, name, value]) => [name, value]),
    );
    samples.push({ name: found[1], labels, value: Number(found[3]) });
  }
  return samples;
}

function verdict(ready) {
  if (!(ready instanceof Error)) return h("p.state.applied", {}, "Ready");
  return h("div.problem", { role: "status" }, h("p", {}, ready.message));
}

function parts(ready, samples) {
  const said = Object.fromEntries((ready.details ?? []).map(({ part, message }) => [part, message]));
  const rows = samples
    .filter(({ name }) => name === "confd_ready")
    .map(({ labels: { part }, value }) => {
      const waiting = samples.find(({ name, labels }) => name === WAITING && labels.broker === part)?.value;
      return h(
        "li",
        {},
        h(`span.state.${value ? "applied" : "failed"}`, {}, part),
        value ? ": ready" : ": not ready",
        waiting ? `; the newest version of ${plural(waiting, "namespace")} waits for it` : "",
        said[part] ? h("p.quiet", {}, said[part]) : null,
      );
    });
  return h("ul.plain", {}, ...rows);
}

function warnings(cluster) {
  if (!cluster) return null;
  const { ahead, foreign } = cluster;
  const said = foreign.map(
    ({ cluster_id: id, agents }) =>
      `${plural(agents, "agent")} of cluster ${id}: run confdctl cluster adopt, or correct their CONTROLLER_URL.`,
  );
  if (ahead.agents) {
    const who = plural(ahead.agents, "agent");
    said.unshift(`${who} ahead of the current version: after a restore, run confdctl epoch raise.`);
  }
  return said.length ? h("div.problem", { role: "status" }, ...said.map((each) => h("p", {}, each))) : null;
}

function facts(samples, cluster) {
  const rows = samples
    .filter(({ name }) => name in FIGURES)
    .map(({ name, value }) => h("li", {}, `${FIGURES[name]}: `, h("b", {}, count(value))));
  if (cluster) rows.push(h("li", {}, "Cluster ", h("code", {}, cluster.cluster_id), `, epoch ${cluster.epoch}`));
  return h("ul.plain", {}, ...rows);
}
