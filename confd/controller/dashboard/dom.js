/** Build elements without markup: text of machines stays text. */

const SVG = "http://www.w3.org/2000/svg";

/** Control characters except tab and line feed, and direction marks: they could make a text look like another one. */
const INVISIBLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Return a text with its invisible characters written as escapes. */
export function harmless(text) {
  return text.replace(INVISIBLE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/**
 * Return an element.
 * @param {string} name of the element; ".a.b" after it are its classes
 * @param {Object} [properties] "on…" are listeners; known properties are set; the rest become attributes
 * @param {...(Node|string|null)} children strings become text
 */
export function h(name, properties = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const role = roleOf(tag, properties);
  return furnish(document.createElement(tag), classes, role ? { role, ...properties } : properties, children);
}

/** Return an SVG element. */
export function svg(name, properties = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  return furnish(document.createElementNS(SVG, tag), classes, properties, children);
}

/** Roles that the elements of a table keep where the page draws it as a list. */
const ROLES = { table: "table", thead: "rowgroup", tbody: "rowgroup", tr: "row", td: "cell" };

function roleOf(tag, { scope }) {
  return tag === "th" ? (scope === "row" ? "rowheader" : "columnheader") : ROLES[tag];
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

/** Return a button. */
export function button(label, onclick) {
  return h("button", { type: "button", onclick }, label);
}

/** Replace the children of an element. */
export function fill(element, ...children) {
  element.replaceChildren(...shown(children));
}

function shown(children) {
  const present = children.filter((child) => child !== null);
  return present.map((child) => (typeof child === "string" ? harmless(child) : child));
}

/** Return an element that shows an error: one sentence, and the fields to blame. */
export function problem(error) {
  const details = (error.details ?? []).map((each) =>
    h("li", {}, h("code", {}, each.pointer || "/"), ` ${each.message}`),
  );
  return h(
    "div.problem",
    { role: "alert" },
    h("p", {}, error.message),
    details.length ? h("ul", {}, ...details) : null,
  );
}

/**
 * Open a modal dialog. Escape closes it, and the focus returns.
 * @param {string} [kind] "dialog", and a class for it
 * @returns {Promise<string>} the value that closed the dialog, "" for Escape
 */
export function dialog(title, content, buttons, kind = "dialog") {
  const id = `dialog-${title.replace(/\W+/g, "-")}`;
  const box = h(kind, { "aria-labelledby": id }, h("h2", { id }, title), content, h("footer", {}, ...buttons));
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

/** Return a button that closes its dialog. */
export function closer(label, value = "") {
  return h("button", { type: "button", onclick: (event) => event.target.closest("dialog").close(value) }, label);
}
