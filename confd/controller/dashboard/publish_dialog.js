/** The dialog that previews a change and publishes it with a comment. */

import { idempotencyKey } from "./api.js";
import { closer, dialog, fill, h, problem } from "./dom.js";
import { diff } from "./diff.js";
import { count, plural } from "./format.js";

/**
 * Preview a change in a dialog, and publish it if the person confirms.
 *
 * @param {string} title
 * @param {function(Object): Promise<Object>} attempt publishes; takes {dryRun, key, comment}
 * @param {string} comment suggested to the person
 * @returns {Promise<Object|null>} the answer to the publish; null if the person cancelled
 * @throws {Refusal} if the controller refuses the preview, or answers 412
 */
export async function confirmAndPublish(title, attempt, comment = "") {
  const preview = await attempt({ dryRun: true });
  const field = h("input", { type: "text", name: "comment", maxLength: 1024, value: comment, autocomplete: "off" });
  const says = h("div", {});
  const button = h("button.primary", { type: "submit" }, `Publish as version ${preview.version}`);
  const key = idempotencyKey();
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
      if (error.status !== 412) return fill(says, problem(error));
      refused = error;
      box.close();
    }
  };
  const form = h(
    "form",
    { id: "change", onsubmit: submit },
    h("p", {}, reach(preview.agents)),
    diff(preview.text),
    h("label.field", {}, h("span", {}, "Comment: the reason for this change"), field),
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
  if (targeted === 0) return "No agent follows this namespace yet.";
  const silent = targeted - live;
  return `${plural(targeted, "agent")} will receive it${silent ? `; ${count(silent)} of them silent now` : ""}.`;
}
