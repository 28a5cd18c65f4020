/** Keys, the theme, and where to read more. */

import { h, fill } from "./dom.js";

const GOALS = { o: "overview", c: "configuration", h: "history", f: "fleet", a: "audit" };

const KEYS = {
  "/": "filter the list of the view",
  "g o": "overview",
  "g c": "configuration",
  "g h": "history",
  "g f": "fleet",
  "g a": "audit",
  "?": "this help",
};

/** Milliseconds in which the second key of two has to follow. */
const PAUSE_MS = 1500;

const THEMES = { "": "as the system", light: "light", dark: "dark" };

/** The help in the bar. It also listens for the keys. */
export class Help {
  /** @param {function(string)} go shows a view */
  constructor(root, go) {
    Object.assign(this, { root, go, begun: 0 });
    // A person who speaks to the browser types letters by accident (WCAG 2.1.4).
    this.keys = h("input", { type: "checkbox", checked: recall("keys") !== "off", onchange: () => keep("keys", this.keys.checked ? "" : "off") });
    const options = Object.entries(THEMES).map(([value, text]) => h("option", { value }, text));
    this.theme = h("select", { onchange: () => keep("theme", apply(this.theme.value)) }, ...options);
    this.theme.value = apply(recall("theme"));
    const keys = Object.entries(KEYS).flatMap(([key, text]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)]);
    const link = (href, text) => h("a.button", { href }, text);
    fill(
      root,
      h("summary", {}, "Help"),
      h(
        "div.card",
        {},
        h("p", {}, h("label", {}, "Theme ", this.theme)),
        h("h2", {}, "Keys"),
        h("dl", {}, ...keys),
        h("p", {}, h("label.choice", {}, this.keys, " Listen for these keys")),
        h("p.tools", {}, link("swagger/index.html", "API"), link("openapi.json", "API document"), link("ready", "State")),
      ),
    );
    root.addEventListener("focusout", ({ relatedTarget }) => relatedTarget && !root.contains(relatedTarget) && (root.open = false));
    root.addEventListener("keydown", ({ key }) => key === "Escape" && this.toggle(false));
    addEventListener("keydown", (event) => this.pressed(event));
  }

  toggle(open) {
    this.root.open = open;
    this.root.firstChild.focus();
  }

  pressed(event) {
    const { key, target } = event;
    if (!this.keys.checked || event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.isContentEditable || target.matches("input, textarea, select") || document.querySelector("dialog[open]")) return;
    const second = performance.now() - this.begun < PAUSE_MS;
    this.begun = key === "g" && !second ? performance.now() : 0;
    if (second && GOALS[key]) return this.go(GOALS[key]);
    if (key === "?") this.toggle(true);
    else if (key === "/") this.filter(event);
  }

  filter(event) {
    const field = [...document.querySelectorAll('main input[type="search"]')].find((each) => each.checkVisibility());
    if (!field) return;
    event.preventDefault();
    field.focus();
  }
}

/** Use a theme. @returns {string} the theme */
function apply(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  return theme;
}

function recall(name) {
  return localStorage.getItem(`confd.${name}`) ?? "";
}

function keep(name, value) {
  if (value) localStorage.setItem(`confd.${name}`, value);
  else localStorage.removeItem(`confd.${name}`);
}
