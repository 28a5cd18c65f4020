/** What the fleet says beside or in place of rows: a number, a way out of filters, or the command of a first agent. */

import { copyButton } from "./copy.js";
import { h } from "./dom.js";
import { count, plural } from "./format.js";

/** Offer to clear the filters, as no agent matches them. */
export function nothingMatches(clear) {
  return [h("p", {}, "Nothing matches."), h("button", { type: "button", onclick: clear }, "Clear filters")];
}

/** Show the command that starts an agent for a namespace. */
export function firstAgent(namespace) {
  const controller = new URL(".", location.href).href.replace(/\/$/, "");
  const command = `twistd -n --pidfile= confd-agent --controller-url ${controller} --namespace ${namespace}`;
  const text = h("code", {}, command);
  return [
    h("p", {}, "No agent follows this namespace yet. Start one on the machine of a worker:"),
    h("p.command", {}, text, copyButton("the command", command)),
    h("p.quiet", {}, "AGENT_PASSWORD is the agent password of this controller."),
  ];
}

/** Return how many agents match. */
export function summary(found, all, { loaded, expected, selector }) {
  if (loaded) return found === all ? plural(all, "agent") : `${count(found)} of ${plural(all, "agent")}`;
  const known = expected && !selector ? ` of ${count(Math.max(all, expected))}` : "";
  return all ? `Loading ${count(all)}${known}…` : "Loading…";
}
