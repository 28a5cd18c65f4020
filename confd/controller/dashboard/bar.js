/** A bar that is stacked by state. */

import { svg } from "./dom.js";

/** Width in units of the picture; the page stretches it. */
const WIDTH = 1000;

/**
 * Draw a bar; the smallest part stays visible.
 * @param {string[]} states in the order of the bar
 * @param {Object.<string, number>} counts by state
 * @param {number} least width of a part, in thousandths of the bar
 */
export function bar(states, counts, height, least) {
  const present = states.filter((state) => counts[state] > 0);
  const total = present.reduce((sum, state) => sum + counts[state], 0);
  const free = WIDTH - least * present.length;
  const words = present.map((state) => `${state} ${counts[state]}`).join(", ");
  const picture = svg("svg.bar-chart", {
    width: "100%",
    height,
    viewBox: `0 0 ${WIDTH} ${height}`,
    preserveAspectRatio: "none",
    role: "img",
    "aria-label": words || "no agents",
  });
  picture.append(svg("rect.empty", { x: 0, y: 0, width: WIDTH, height }));
  let x = 0;
  for (const state of present) {
    const size = least + (free * counts[state]) / total;
    picture.append(svg(`rect.${state}`, { x, y: 0, width: size, height }));
    x += size;
  }
  return picture;
}
