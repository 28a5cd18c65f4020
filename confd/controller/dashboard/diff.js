/** A unified diff, to be looked at. */

import { h } from "./dom.js";

const CLASSES = { "+": "added", "-": "removed", "@": "hunk" };

/** Lines that are drawn; a person reads no more, and a browser should not have to. */
const MOST_LINES = 2000;

/** The text as an element; it can be scrolled by keyboard. */
export function diff(text) {
  if (!text) return h("p.quiet", {}, "There is no difference.");
  const lines = text.replace(/\n$/, "").split("\n");
  const shown = lines.slice(0, MOST_LINES).map(line);
  const rest = lines.length - shown.length;
  if (rest > 0) shown.push(h("span.hunk", {}, `… and ${rest} more lines\n`));
  return h("pre.diff", { tabIndex: 0, "aria-label": "What changes" }, ...shown);
}

function line(text) {
  const heading = text.startsWith("+++") || text.startsWith("---");
  const kind = heading ? "hunk" : CLASSES[text[0]];
  return h(kind ? `span.${kind}` : "span", {}, `${text}\n`);
}
