/** Keys, the theme, the time zone, and where to read more. */

import { button, h, fill } from "./dom.js";
import { useZone } from "./format.js";

const GOALS = {
  o: "overview", c: "configuration", h: "history", p: "changes", f: "fleet", z: "freezes", n: "namespaces", t: "tokens", a: "audit",
};

const KEYS = {
  "/": "filter the list of the view",
  ...Object.fromEntries(Object.entries(GOALS).map(([key, view]) => [`g ${key}`, view])),
  "?": "this help",
};

/** Milliseconds in which the second key of two has to follow. */
const PAUSE_MS = 1500;

const ZONES = { "": "as the system", UTC: "UTC" };

const THEMES = { "": "as the system", light: "light", dark: "dark" };

/** The help in the bar. It also listens for the keys. */
export class Help {
  /** @param {{go: function(string), command: function(), rezone: function()}} acts show a view, the palette, and all times again */
  constructor(root, acts) {
    Object.assign(this, { root, acts, begun: 0 });
    // A person who speaks to the browser types letters by accident (WCAG 2.1.4).
    this.keys = h("input", { type: "checkbox", checked: recall("keys") !== "off", onchange: () => keep("keys", this.keys.checked ? "" : "off") });
    this.theme = choice(THEMES, () => keep("theme", apply(this.theme.value)));
    this.zone = choice(ZONES, () => {
      keep("zone", this.zone.value);
      useZone(this.zone.value);
      acts.rezone();
    });
    this.zone.value = recall("zone");
    useZone(this.zone.value);
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
        h("p", {}, h("label", {}, "Times ", this.zone)),
        h("p", {}, button("Commands…", acts.command), " ", h("kbd", {}, "Ctrl K")),
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
    if (key === "k" && (event.ctrlKey || event.metaKey) && !document.querySelector("dialog[open]")) {
      event.preventDefault();
      return this.acts.command();
    }
    if (!this.keys.checked || event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.isContentEditable || target.matches?.("input, textarea, select") || document.querySelector("dialog[open]")) return;
    const second = performance.now() - this.begun < PAUSE_MS;
    this.begun = key === "g" && !second ? performance.now() : 0;
    if (second && GOALS[key]) return this.acts.go(GOALS[key]);
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

function choice(options, onchange) {
  return h("select", { onchange }, ...Object.entries(options).map(([value, text]) => h("option", { value }, text)));
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
