/** A change on its way: looked at first, then published with a comment. */

import { intention } from "./api.js";
import { closer, dialog, fill, h, trouble } from "./dom.js";
import { diff } from "./diff.js";
import { count, plural } from "./words.js";

/**
 * Show what would come of a change, and do it if the person says so.
 *
 * @param {string} title
 * @param {function(Object): Promise<Object>} attempt makes the change; given {dryRun, key, comment}
 * @param {string} comment to begin with
 * @returns {Promise<Object|null>} what was published; null where nothing was
 * @throws {Refusal} where it cannot be done as it is
 */
export async function propose(title, attempt, comment = "") {
  const foreseen = await attempt({ dryRun: true });
  const field = h("input", { type: "text", name: "comment", maxLength: 1024, value: comment, autocomplete: "off" });
  const says = h("div", {});
  const button = h("button.primary", { type: "submit" }, `Publish as version ${foreseen.version}`);
  const key = intention();
  let published = null;
  let refused = null;
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    fill(says);
    const box = form.closest("dialog");
    try {
      published = await attempt({ key, comment: field.value.trim() });
      box.close("done");
    } catch (error) {
      button.disabled = false;
      if (error.status !== 412) return fill(says, trouble(error));
      refused = error;
      box.close();
    }
  };
  const form = h(
    "form",
    { id: "change", onsubmit: submit },
    h("p", {}, reach(foreseen.agents)),
    diff(foreseen.text),
    h("label.field", {}, h("span", {}, "Comment: why?"), field),
    says,
  );
  button.setAttribute("form", "change");
  const closed = dialog(title, form, [closer("Cancel"), button]);
  field.focus();
  await closed;
  if (refused) throw refused;
  return published;
}

function reach({ targeted, live }) {
  if (targeted === 0) return "No agent is there yet to receive it.";
  const silent = targeted - live;
  return `It goes to ${plural(targeted, "agent")}${silent ? `; ${count(silent)} of them silent lately` : ""}.`;
}
