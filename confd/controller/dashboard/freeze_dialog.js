/** The dialog that makes a freeze. */

import { h } from "./dom.js";
import { ask, field, patternsIn, post } from "./form_dialog.js";
import { momentIn, zoneName } from "./format.js";

const DAYS = { mon: "Mon", tue: "Tue", wed: "Wed", thu: "Thu", fri: "Fri", sat: "Sat", sun: "Sun" };

/** Ask for a freeze, and make it. @returns {Promise<Object|null>} the freeze; null without one */
export function addFreeze(api) {
  const input = (name, type, more = {}) => h("input", { type, name, autocomplete: "off", ...more });
  const namespaces = input("namespaces", "text", { required: true, value: api.namespace });
  const reason = input("reason", "text", { required: true, maxLength: 200 });
  const begin = input("begin", "datetime-local");
  const end = input("end", "datetime-local", { required: true });
  const [from, until] = [input("from", "time", { value: "16:00", required: true }), input("until", "time", { value: "08:00", required: true })];
  const zone = input("zone", "text", { value: zoneName(), required: true });
  zone.setAttribute("list", "zones");
  const days = Object.entries(DAYS).map(([value, text]) => h("label.choice", {}, input("day", "checkbox", { value }), ` ${text}`));
  const once = h("fieldset", {}, h("legend", {}, "Window"), field("From", begin, `In the time of ${zoneName()}. Left empty, it begins at once.`), field("Until", end));
  const weekly = h(
    "fieldset",
    { hidden: true, disabled: true },
    h("legend", {}, "Each week"),
    h("div.days", { role: "group", "aria-label": "Days on which it begins" }, ...days),
    field("From", from),
    field("Until the clock shows next", until),
    field("Time zone", zone),
    h("datalist", { id: "zones" }, ...Intl.supportedValuesOf("timeZone").map((value) => h("option", { value }))),
  );
  const kind = h("select", { name: "kind", onchange: () => choose() }, h("option", { value: "once" }, "once"), h("option", { value: "weekly" }, "each week"));
  const choose = () => {
    once.hidden = once.disabled = kind.value === "weekly";
    weekly.hidden = weekly.disabled = !once.hidden;
  };
  const fields = [
    field("Namespaces", namespaces, "Names, or prefixes such as pay-*, with commas between; * is every namespace."),
    field("Reason, which refused people read", reason),
    field("It happens", kind),
    once,
    weekly,
  ];
  const window = () => ({ ...(begin.value && { from: momentIn(begin.value) }), until: momentIn(end.value) });
  const week = () => ({
    weekly: { days: days.map((each) => each.firstChild).filter((each) => each.checked).map((each) => each.value), from: from.value, until: until.value, zone: zone.value },
  });
  const send = () =>
    post(api, "/api/v1/freezes", { namespaces: patternsIn(namespaces.value), reason: reason.value.trim(), ...(weekly.disabled ? window() : week()) });
  return ask("New freeze", fields, "Make the freeze", send);
}
