/** Buttons that copy a text. */

import { fill, h } from "./dom.js";

/** Milliseconds for which a button says that it has copied. */
const COPIED_MS = 2000;

/** Return a button that copies a text. @param {string} what for screen readers, such as "the tag" */
export function copyButton(what, text) {
  const label = ["Copy", h("span.unseen", {}, ` ${what}`)];
  const button = h("button.copy", { type: "button", onclick: () => copy(button, label, text) }, ...label);
  return button;
}

async function copy(button, label, text) {
  button.textContent = (await written(text)) ? "Copied" : "Press Ctrl+C";
  setTimeout(() => fill(button, ...label), COPIED_MS);
}

async function written(text) {
  // Only a secure page may write to the clipboard. In any page a selected text can be copied.
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = h("textarea.unseen", { value: text, readOnly: true, "aria-label": "Text to copy" });
    document.activeElement.after(field);
    field.select();
    field.addEventListener("blur", () => field.remove());
    return document.execCommand("copy");
  }
}
