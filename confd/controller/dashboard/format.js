/** Format numbers and times for people. */

import { h } from "./dom.js";

const COUNT = new Intl.NumberFormat("en");
const STYLE = { dateStyle: "medium", timeStyle: "medium" };
const STEPS = [
  [86400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
];

/** The time zone of the page: "" for the one of the browser, or "UTC". */
let zone = "";
let moments = new Intl.DateTimeFormat("en", STYLE);

/** Show times in a zone. @param {string} name "" for the one of the browser, or "UTC" */
export function useZone(name) {
  zone = name;
  moments = new Intl.DateTimeFormat("en", { ...STYLE, ...(name && { timeZone: name }) });
}

/** Return the name of the time zone of the page. */
export function zoneName() {
  return zone || Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** Return the RFC 3339 moment of what a person put into a field for a date and a time. */
export function momentIn(value) {
  return new Date(zone ? `${value}Z` : value).toISOString();
}

/** Format a number: 10000 is "10,000". */
export function count(number) {
  return COUNT.format(number);
}

/** Format a number with its noun: "1 agent", "2 agents". */
export function plural(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** Format milliseconds with at most three digits: "12 ms", "1.25 s", "2.1 min". */
export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1) return "< 1 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60000) return `${Number((ms / 1000).toPrecision(3))} s`;
  return `${Number((ms / 60000).toPrecision(3))} min`;
}

/** Format seconds with the two largest units: "21 s", "10 min", "2 h 5 min". */
export function span(seconds) {
  const whole = Math.ceil(seconds);
  const place = STEPS.findIndex(([size]) => whole >= size);
  if (place < 0) return "0 s";
  const [size, unit] = STEPS[place];
  const [smaller, name] = STEPS[place + 1] ?? [1, ""];
  const rest = Math.floor((whole % size) / smaller);
  return `${Math.floor(whole / size)} ${unit}${rest && name ? ` ${rest} ${name}` : ""}`;
}

/** Format the time since an RFC 3339 moment: "12 s ago". */
export function ago(moment, now = Date.now()) {
  if (!moment) return "never";
  const seconds = Math.max(0, Math.round((now - Date.parse(moment)) / 1000));
  const step = STEPS.find(([size]) => seconds >= size);
  return step ? `${Math.floor(seconds / step[0])} ${step[1]} ago` : "just now";
}

/** Format an RFC 3339 moment in the time zone of the page. */
export function moment(text) {
  return text ? `${moments.format(new Date(text))}${zone && ` ${zone}`}` : "never";
}

/** Return an RFC 3339 moment as an element that says how long ago it was, and the moment in its title. */
export function timeAgo(at) {
  return h("time", { dateTime: at, title: moment(at) }, ago(at));
}

/** Format a share in percent, rounded down: 100 % means all. */
export function percent(part, whole) {
  if (whole === 0) return "–";
  const exact = (100 * part) / whole;
  return `${part === whole ? 100 : Math.floor(exact * 10) / 10} %`;
}
