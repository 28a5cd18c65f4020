/** What the fleet shows in place of rows: a way out of filters, or the command that starts a first agent. */

import { h } from "./dom.js";

/** Milliseconds for which a copy button says that it has copied. */
const COPIED_MS = 2000;

/** Offer to clear the filters, as no agent matches them. */
export function nothingMatches(clear) {
  return [h("p", {}, "Nothing matches."), h("button", { type: "button", onclick: clear }, "Clear filters")];
}

/** Show the command that starts an agent for a namespace. */
export function firstAgent(namespace) {
  const controller = new URL(".", location.href).href.replace(/\/$/, "");
  const command = `twistd -n --pidfile= confd-agent --controller-url ${controller} --namespace ${namespace}`;
  const text = h("code", {}, command);
  const copy = h("button", { type: "button", onclick: () => copied(copy, text) }, "Copy");
  return [
    h("p", {}, "No agent follows this namespace yet. Start one on the machine of a worker:"),
    h("p.command", {}, text, copy),
    h("p.quiet", {}, "AGENT_PASSWORD is the agent password of this controller."),
  ];
}

async function copied(button, text) {
  // Only a secure page may write to the clipboard; the selection can be copied in any page.
  getSelection().selectAllChildren(text);
  await navigator.clipboard?.writeText(text.textContent).catch(() => null);
  button.textContent = navigator.clipboard ? "Copied" : "Press Ctrl+C";
  setTimeout(() => (button.textContent = "Copy"), COPIED_MS);
}
