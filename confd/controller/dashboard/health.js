/** Whether the controller and its brokers do their work. */

import { fill, h } from "./dom.js";
import { count, plural } from "./words.js";

/** Milliseconds between two looks. */
const PERIOD = 10000;

/** Milliseconds until the controller renders its figures anew: the first look may show them as they were before. */
const FRESH = 1100;

/** What the metrics say that people want to know. */
const FIGURES = {
  confd_stream_readers: "Agents on the stream",
  confd_event_readers: "People watching",
};

/** Of a broker: how many namespaces wait for it, which is good to know while it is in trouble. */
const WAITING = "confd_unpublished_namespaces";

/** The parts of the controller, each with its trouble if it has one. */
export class Health {
  constructor(root) {
    Object.assign(this, { root, api: null, visible: false, looks: 0, second: null });
    setInterval(() => this.visible && this.look(), PERIOD);
  }

  /** Somebody looks, or turned away. */
  show(visible) {
    this.visible = visible;
    clearTimeout(this.second);
    if (!visible) return;
    this.look();
    this.second = setTimeout(() => this.look(), FRESH);
  }

  /** Another controller's view of things. */
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

/** Samples of the text format of Prometheus: name, labels, value. */
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
  return h("div.trouble", { role: "status" }, h("p", {}, ready.message));
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
        value ? ": works" : ": is in trouble",
        waiting ? `; the newest of ${plural(waiting, "namespace")} waits for it` : "",
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
      `${plural(agents, "agent")} of the cluster ${id}: adopt it (confdctl cluster adopt), or send them elsewhere.`,
  );
  if (ahead.agents) {
    said.unshift(`${plural(ahead.agents, "agent")} with something newer than is in force here: confdctl epoch raise.`);
  }
  return said.length ? h("div.trouble", { role: "status" }, ...said.map((each) => h("p", {}, each))) : null;
}

function facts(samples, cluster) {
  const rows = samples
    .filter(({ name }) => name in FIGURES)
    .map(({ name, value }) => h("li", {}, `${FIGURES[name]}: `, h("b", {}, count(value))));
  if (cluster) rows.push(h("li", {}, "Cluster ", h("code", {}, cluster.cluster_id), `, epoch ${cluster.epoch}`));
  return h("ul.plain", {}, ...rows);
}
