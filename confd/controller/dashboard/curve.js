/** How many have it, by the time since the publish: a curve. */

import { svg } from "./dom.js";
import { duration } from "./words.js";

const HEIGHT = 210;
const MARGIN = { top: 14, right: 16, bottom: 30, left: 44 };
const STEPS = [1, 2, 2.5, 5, 10];

/**
 * The curve as a picture as wide as it is shown, so that its letters keep their size.
 * @param {number[]} latencies sorted and evenly picked, ms
 * @param {number} share of the agents that they stand for, 0 to 1
 * @param {Object.<string, number>} marks moments with a name, ms
 */
export function curve(latencies, share, marks, width) {
  const right = width - MARGIN.right;
  const bottom = HEIGHT - MARGIN.bottom;
  const tick = step(latencies.at(-1), Math.max(2, Math.floor(width / 110)));
  const end = Math.max(tick, Math.ceil(latencies.at(-1) / tick) * tick);
  const x = (ms) => MARGIN.left + ((right - MARGIN.left) * ms) / end;
  const y = (part) => bottom - (bottom - MARGIN.top) * part;
  const picture = svg("svg.curve", {
    width,
    height: HEIGHT,
    viewBox: `0 0 ${width} ${HEIGHT}`,
    role: "img",
    "aria-label": spoken(share, marks),
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

/** A round distance between two ticks, of which there are so many at most. */
function step(most, ticks) {
  const rough = Math.max(most, 1) / ticks;
  const power = 10 ** Math.floor(Math.log10(rough));
  return STEPS.find((each) => each * power >= rough) * power;
}

function spoken(share, marks) {
  const told = Object.entries(marks)
    .map(([name, ms]) => `${name} ${duration(ms)}`)
    .join(", ");
  return `Agents that have it, by the time since the publish: ${Math.floor(100 * share)} % in the end; ${told}`;
}
