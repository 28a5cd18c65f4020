/** A chart of the share of agents that applied a version, by the time since its publish. */

import { svg } from "./dom.js";
import { duration } from "./format.js";

const HEIGHT = 210;
const MARGIN = { top: 14, right: 16, bottom: 30, left: 44 };
const STEPS = [1, 2, 2.5, 5, 10];

/**
 * Draw the chart at the width of its place, so that its letters keep their size.
 * @param {number[]} latencies a sorted, even sample, in ms
 * @param {number} share of all agents that applied the version, 0 to 1
 * @param {Object.<string, number>} marks named times, in ms
 */
export function chart(latencies, share, marks, width) {
  const right = width - MARGIN.right;
  const bottom = HEIGHT - MARGIN.bottom;
  const tick = step(latencies.at(-1), Math.max(2, Math.floor(width / 110)));
  const end = Math.max(tick, Math.ceil(latencies.at(-1) / tick) * tick);
  const x = (ms) => MARGIN.left + ((right - MARGIN.left) * ms) / end;
  const y = (part) => bottom - (bottom - MARGIN.top) * part;
  const picture = svg("svg.chart", {
    width,
    height: HEIGHT,
    viewBox: `0 0 ${width} ${HEIGHT}`,
    role: "img",
    "aria-label": description(share, marks),
  });
  for (const part of [0, 0.5, 1]) {
    picture.append(
      svg("line.grid", { x1: MARGIN.left, x2: right, y1: y(part), y2: y(part) }),
      svg("text", { x: MARGIN.left - 8, y: y(part) + 4, "text-anchor": "end" }, `${100 * part} %`),
    );
  }
  for (let ms = 0; ms <= end * 1.001; ms += tick) {
    picture.append(
      svg("text", { x: x(ms), y: HEIGHT - 8, "text-anchor": ms ? "middle" : "start" }, ms ? duration(ms) : "0"),
    );
  }
  const points = latencies.map((ms, index) => [x(ms), y((share * (index + 1)) / latencies.length)]);
  const path = points.map(([px, py]) => `H${px.toFixed(1)}V${py.toFixed(1)}`).join("");
  picture.append(
    svg("path.area", { d: `M${x(0)} ${y(0)}${path}H${right}V${y(0)}Z` }),
    svg("path.line", { d: `M${x(0)} ${y(0)}${path}H${right}` }),
  );
  let lane = 0;
  for (const [name, ms] of Object.entries(marks)) {
    const at = x(ms);
    const near = at > right - 60;
    picture.append(
      svg("line.mark", { x1: at, x2: at, y1: MARGIN.top, y2: bottom }),
      svg(
        "text.mark",
        { x: near ? at - 5 : at + 5, y: bottom - 8 - 16 * lane++, "text-anchor": near ? "end" : "start" },
        name,
      ),
    );
  }
  return picture;
}

/** Return a round distance between two ticks, for at most this many ticks. */
function step(most, ticks) {
  const rough = Math.max(most, 1) / ticks;
  const power = 10 ** Math.floor(Math.log10(rough));
  return STEPS.find((each) => each * power >= rough) * power;
}

function description(share, marks) {
  const times = Object.entries(marks)
    .map(([name, ms]) => `${name} ${duration(ms)}`)
    .join(", ");
  const reached = `${Math.floor(100 * share)} % so far`;
  return `Share of agents that applied the version, by the time since the publish: ${reached}; ${times}`;
}
