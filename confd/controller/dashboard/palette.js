/** The command palette: type a part of a command, and press Enter. */

import { dialog, fill, h } from "./dom.js";

/** Commands that are shown at once. */
const MOST_SHOWN = 12;

/**
 * Open the palette.
 * @param {function(string): {label: string, run: function()}[]} offers returns the commands for what was typed
 */
export async function openPalette(offers) {
  let shown = [];
  let chosen = 0;
  const list = h("ul.plain", { id: "commands", role: "listbox", "aria-label": "Commands" });
  const typed = h("input", { type: "text", role: "combobox", autocomplete: "off", "aria-label": "Command", "aria-controls": "commands", "aria-expanded": "true", "aria-autocomplete": "list", placeholder: "A view, a namespace, a version, an agent…" });
  const none = h("p.quiet", { role: "status" });
  const run = (command) => {
    typed.closest("dialog").close();
    command.run();
  };
  const draw = () => {
    const options = shown.map((each, place) =>
      h("li", { id: `command-${place}`, role: "option", "aria-selected": String(place === chosen), onclick: () => run(each) }, each.label),
    );
    fill(list, ...options);
    none.textContent = shown.length ? "" : "No command matches.";
    if (shown.length) typed.setAttribute("aria-activedescendant", `command-${chosen}`);
    else typed.removeAttribute("aria-activedescendant");
    options[chosen]?.scrollIntoView({ block: "nearest" });
  };
  const search = () => {
    shown = offers(typed.value.trim()).slice(0, MOST_SHOWN);
    chosen = 0;
    draw();
  };
  typed.addEventListener("input", search);
  typed.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && shown.length) chosen = (chosen + step + shown.length) % shown.length;
    else if (event.key !== "Enter" || !shown.length) return;
    event.preventDefault();
    if (step) draw();
    else run(shown[chosen]);
  });
  search();
  const closed = dialog("Commands", h("div", {}, typed, none, list), [], "dialog.palette");
  typed.focus();
  await closed;
}

/** Return the commands that contain all words of a text. */
export function matching(commands, text) {
  const words = text.toLowerCase().split(/\s+/);
  return commands.filter(({ label }) => words.every((word) => label.toLowerCase().includes(word)));
}
