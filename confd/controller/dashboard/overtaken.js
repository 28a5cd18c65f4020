/** The choice of a person whose text was overtaken by another publish. */

import { compare } from "./diff.js";
import { h } from "./dom.js";

/**
 * Return the choice as an element.
 * @param {Object} base the version that the text started from
 * @param {Object} there the newer version
 * @param {{keep: function(), take: function()}} choices
 */
export function overtaken(api, base, there, { keep, take }) {
  const choice = (label, onclick) => h("button", { type: "button", onclick }, `${label} version ${there.version}`);
  const said = `Version ${there.version} was published while you were editing version ${base.version}.`;
  return h(
    "div.problem",
    { role: "alert" },
    h("p", {}, `${said} Your text is kept; look at the newer version, then decide.`),
    h(
      "div.tools",
      {},
      choice("Look at", () => compare(api, base.version, there.version)),
      choice("Keep mine, to replace", keep),
      choice("Discard mine, take", take),
    ),
  );
}
