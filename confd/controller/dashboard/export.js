/** Save what the page shows as a file. */

const COLUMNS = ["id", "hostname", "state", "applied_version", "strategy", "labels", "metadata", "last_poll", "reported_at", "error"];

/** Save agents as comma-separated values. */
export function saveCsv(name, agents) {
  const lines = agents.map((agent) => COLUMNS.map((column) => field(agent[column])).join(","));
  save(`${name}.csv`, "text/csv", [COLUMNS.join(","), ...lines, ""].join("\r\n"));
}

/** Save a value as JSON. */
export function saveJson(name, value) {
  save(`${name}.json`, "application/json", `${JSON.stringify(value, null, 2)}\n`);
}

/** Save a text as a file. */
export function save(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href));
}

/** Return a field. A program for tables takes a text that begins with one of =+-@ for a formula. */
function field(value) {
  const text = value === null || value === undefined ? "" : typeof value === "object" ? pairs(value) : String(value);
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function pairs(labels) {
  return Object.entries(labels).map(([key, value]) => `${key}=${value}`).join(",");
}
