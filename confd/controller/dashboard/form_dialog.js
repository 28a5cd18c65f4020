/** Dialogs with a form that stays open until its request succeeds. */

import { closer, dialog, fill, h, problem } from "./dom.js";

/**
 * Ask a person in a dialog, and send what the person wants.
 * @param {string} title
 * @param {Node[]} fields of the form
 * @param {string} label of the button that sends
 * @param {function(HTMLFormElement): Promise<Object>} send a refusal is shown in the dialog, which stays open
 * @param {string} [needs] the style sheet hides the button from a caller without this permission
 * @returns {Promise<Object|null>} the result of `send`; null if the person cancelled
 */
export async function ask(title, fields, label, send, needs = "") {
  const says = h("div", {});
  const go = h("button.primary", { type: "submit" }, label);
  if (needs) go.classList.add(`for-${needs}`);
  let result = null;
  const submit = async (event) => {
    event.preventDefault();
    if (go.disabled) return;
    go.disabled = true;
    fill(says);
    try {
      result = await send(form);
      form.closest("dialog").close();
    } catch (error) {
      fill(says, problem(error));
    }
    go.disabled = false;
  };
  const form = h("form", { id: "asked", onsubmit: submit }, ...fields, says);
  go.setAttribute("form", form.id);
  const closed = dialog(title, form, [closer("Cancel"), go]);
  form.querySelector("input:not([type=radio]), select, textarea")?.focus();
  await closed;
  return result;
}

/** Ask a person before something that cannot be undone: a DELETE of a path of the whole controller. */
export function confirmRemoval(api, path, title, sentence, label) {
  return ask(title, [h("p", {}, sentence)], label, async () => (await api.send(path, { method: "DELETE" })).json());
}

/** Return a field with a label, and a hint below it. @param {string} [hint] */
export function field(label, control, hint = "") {
  return h("label.field", {}, h("span", {}, label), control, hint ? h("small.quiet", {}, hint) : null);
}

/** Return the input for the name of a new token or namespace. */
export function nameInput() {
  const title = "1 to 63 lower-case letters, digits and dashes";
  return h("input", { type: "text", name: "name", required: true, pattern: "[a-z0-9][a-z0-9\\-]{0,62}", title, autocomplete: "off" });
}

/** Return the names or patterns of namespaces in a text: commas or spaces part them. */
export function patternsIn(text) {
  return text.split(/[\s,]+/).filter(Boolean);
}

/** Send a JSON body to a path of the whole controller. @returns {Promise<Object>} the answer */
export async function post(api, path, body) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: text };
  return (await api.send(path, options)).json();
}
