/** Who has what was published last, as a live picture. */

import { curve } from "./curve.js";
import { fill, h, svg } from "./dom.js";
import { ago, count, duration, percent, plural } from "./words.js";

const STATES = ["applied", "applying", "pending", "failed", "silent", "passed"];

const HOPS = {
  commit: "Written to disk",
  notify: "Agent told",
  agent: "Agent checked",
  worker: "Worker took it",
  ack: "Report waited",
};

/** The picture and the list of those that lag. */
export class Convergence {
  constructor(root, laggards) {
    Object.assign(this, { root, laggards, last: null, width: 0, frame: 0 });
    new ResizeObserver(([{ contentRect }]) => {
      if (Math.abs(contentRect.width - this.width) < 1) return;
      this.width = contentRect.width;
      this.draw();
    }).observe(root);
  }

  /** Another namespace. */
  move() {
    this.last = null;
    fill(this.root, h("p.quiet", {}, "Waiting for the controller…"));
    fill(this.laggards);
  }

  /** The event of that name. */
  show(told) {
    this.last = told;
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  draw() {
    if (!this.last || !this.width) return;
    const told = this.last;
    fill(
      this.root,
      h("p.headline", {}, h("strong", {}, percent(told.applied, told.targeted)), ` ${sentence(told)}`),
      bar(told, this.width),
      legend(told),
      figures(told),
      told.curve_ms.length
        ? h(
            "div.speed",
            {},
            curve(told.curve_ms, told.applied / told.targeted, marks(told), this.room()),
            hops(told.hops),
          )
        : null,
    );
    fill(
      this.laggards,
      told.laggards.length
        ? lagging(told)
        : h("p.quiet", {}, told.targeted ? "Everyone has it." : "There is no agent yet."),
    );
  }

  /** The width for the curve: the table goes beside it where there is room for both. */
  room() {
    return this.width > 820 ? this.width - 400 : this.width;
  }
}

function sentence({ applied, targeted, version, published_at: published }) {
  if (targeted === 0) return `Version ${version} is in force; no agent is there yet.`;
  const have = applied === 1 ? "has" : "have";
  return `${count(applied)} of ${plural(targeted, "agent")} ${have} version ${version}, published ${ago(published)}.`;
}

/** One bar, stacked by state; the smallest part can still be seen. */
function bar(told, width) {
  const present = STATES.filter((state) => told[state] > 0);
  const least = 4;
  const free = width - least * present.length;
  const words = present.map((state) => `${state} ${told[state]}`).join(", ");
  const picture = svg("svg.bar-chart", {
    width,
    height: 28,
    viewBox: `0 0 ${width} 28`,
    role: "img",
    "aria-label": words || "no agents",
  });
  picture.append(svg("rect.empty", { x: 0, y: 0, width, height: 28 }));
  let x = 0;
  for (const state of present) {
    const size = least + (free * told[state]) / told.targeted;
    picture.append(svg(`rect.${state}`, { x, y: 0, width: size, height: 28 }));
    x += size;
  }
  return picture;
}

function legend(told) {
  const shown = STATES.filter((state) => state !== "passed" || told.passed);
  return h(
    "ul.legend",
    {},
    ...shown.map((state) => h(`li.state.${state}`, {}, `${state} `, h("b", {}, count(told[state])))),
  );
}

function figures({ p50_ms: p50, p99_ms: p99, max_ms: most }) {
  const figure = (name, ms) => h("div", {}, h("dt", {}, name), h("dd", {}, duration(ms)));
  return h("dl.figures", {}, figure("half within", p50), figure("99 % within", p99), figure("the last after", most));
}

function marks({ p50_ms: p50, p99_ms: p99 }) {
  return { p50, p99 };
}

function hops(told) {
  const rows = Object.entries(HOPS).map(([hop, label]) => {
    const { p50_ms: p50, p99_ms: p99 } = told[hop] ?? {};
    return h("tr", {}, h("th", { scope: "row" }, label), h("td", {}, duration(p50)), h("td", {}, duration(p99)));
  });
  const heads = ["Where the time went", "Half", "99 %"].map((text) => h("th", { scope: "col" }, text));
  return h("table.hops", {}, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...rows));
}

function lagging({ laggards, targeted, applied, passed }) {
  const rows = laggards.map((each) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, each.hostname || each.id),
      h("td", {}, h(`span.state.${each.state}`, {}, each.state)),
      h("td.number", {}, each.version ?? "–"),
      h("td", {}, ago(each.last_seen)),
      h("td.long", {}, each.error ?? ""),
    ),
  );
  const heads = ["Host", "State", "Has version", "Last seen", "Error"].map((text) => h("th", { scope: "col" }, text));
  const rest = targeted - applied - passed - laggards.length;
  const table = h("table.list", {}, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...rows));
  return h(
    "div.scroll",
    { tabIndex: 0, role: "group", "aria-label": "Agents that lag" },
    table,
    rest > 0 ? h("p.quiet", {}, `… and ${plural(rest, "more agent")}; see the fleet.`) : null,
  );
}
