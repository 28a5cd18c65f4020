/** Elements, made without markup: what machines say is text, never anything else. */

const SVG = "http://www.w3.org/2000/svg";

/** Controls, but for tab and line feed, and what turns the direction of writing: a text could pass for another one. */
const SLY = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** A text as it can be shown: what would not be seen in it is written as an escape. */
export function harmless(text) {
  return text.replace(SLY, (sly) => `\\u${sly.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/**
 * An element.
 * @param {string} name of the element; ".a.b" after it are its classes
 * @param {Object} [properties] "on…" are listeners, what the element knows is set, the rest are attributes
 * @param {...(Node|string|null)} children strings become text
 */
export function h(name, properties = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  return furnish(document.createElement(tag), classes, properties, children);
}

/** An element of a picture. */
export function svg(name, properties = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  return furnish(document.createElementNS(SVG, tag), classes, properties, children);
}

function furnish(element, classes, properties, children) {
  if (classes.length) element.classList.add(...classes);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value);
    } else if (name in element && element.namespaceURI !== SVG) {
      element[name] = value;
    } else if (value !== null && value !== false) {
      element.setAttribute(name, value);
    }
  }
  element.append(...shown(children));
  return element;
}

/** Put children in the place of those that are there. */
export function fill(element, ...children) {
  element.replaceChildren(...shown(children));
}

function shown(children) {
  const present = children.filter((child) => child !== null);
  return present.map((child) => (typeof child === "string" ? harmless(child) : child));
}

/** What was wrong, in one sentence, and the fields that are to blame. */
export function trouble(error) {
  const details = (error.details ?? []).map((each) =>
    h("li", {}, h("code", {}, each.pointer || "/"), ` ${each.message}`),
  );
  return h(
    "div.trouble",
    { role: "alert" },
    h("p", {}, error.message),
    details.length ? h("ul", {}, ...details) : null,
  );
}

/**
 * A modal dialog; Escape closes it, and the focus goes back to where it was.
 * @returns {Promise<string>} of the value it was closed with, "" where somebody turned away
 */
export function dialog(title, content, buttons) {
  const id = `dialog-${title.replace(/\W+/g, "-")}`;
  const box = h("dialog", { "aria-labelledby": id }, h("h2", { id }, title), content, h("footer", {}, ...buttons));
  const before = document.activeElement;
  document.body.append(box);
  box.showModal();
  return new Promise((resolve) => {
    box.addEventListener("close", () => {
      box.remove();
      before?.focus?.();
      resolve(box.returnValue);
    });
  });
}

/** A button that closes the dialog it is in. */
export function closer(label, value = "") {
  return h("button", { type: "button", onclick: (event) => event.target.closest("dialog").close(value) }, label);
}
