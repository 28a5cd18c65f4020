/** Show a unified diff. */

import { closer, dialog, h, problem } from "./dom.js";

const CLASSES = { "+": "added", "-": "removed", "@": "hunk" };

/** Lines that are drawn: a person reads no more, and more would slow the browser. */
const MOST_LINES = 2000;

/** Show in a dialog what differs between two versions. */
export async function compare(api, from, to) {
  const found = await api.read("/api/v1/config/diff", { from, to }).catch((error) => error);
  const shown = found instanceof Error ? problem(found) : diff(found.text);
  await dialog(`From version ${from} to ${to}`, shown, [closer("Close")]);
}

/** Return a diff as an element that scrolls by keyboard. */
export function diff(text) {
  if (!text) return h("p.quiet", {}, "No difference.");
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
