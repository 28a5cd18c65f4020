/** The dialog with one agent. */

import { errorOf, labelsOf, stateOf } from "./agents.js";
import { copyButton } from "./copy.js";
import { button, closer, dialog, fill, h, problem } from "./dom.js";
import { duration, moment } from "./format.js";

const VERIFIED = new Map([[null, "–"], [true, "yes, read back"], [false, "no, the worker cannot be read back"]]);

/** Show an agent, its reports and what can be done with it. @returns {Promise} resolved when the dialog is closed */
export async function showAgent(api, id) {
  const body = h("div", { tabIndex: 0 }, h("p.quiet", {}, "Loading…"));
  const says = h("div", {});
  const box = h("div", {}, body, labelForm(api, id, body, says), says);
  const attempt = async (title, text, path) => {
    const sure = await dialog(title, h("p", {}, text), [closer("Cancel"), closer(title, "yes")]);
    if (sure !== "yes") return;
    try {
      await api.send(path, { method: "DELETE" });
      box.closest("dialog").close();
    } catch (error) {
      fill(says, problem(error));
    }
  };
  const forget = () => attempt("Forget agent", `Forget ${id}? An agent that still runs registers again.`, address(id));
  const block = () => attempt("Block agent", `Block ${id}? Requests with this id are refused until you unblock it.`, query(address(id), "block=true"));
  const verbs = [button("Forget…", forget), button("Block…", block)];
  for (const each of verbs) each.classList.add("for-agents");
  const closed = dialog("Agent", box, [...verbs, closer("Close")], "dialog.of-agent");
  await load(api, id, body);
  await closed;
}

async function load(api, id, body) {
  try {
    fill(body, ...described(await api.get(address(id))));
  } catch (error) {
    fill(body, problem(error));
  }
}

/** Return a form that sets or removes a label. */
function labelForm(api, id, body, says) {
  const field = h("input", { type: "text", placeholder: "region=eu", autocomplete: "off", required: true, pattern: "[^=]+=.*" });
  const submit = async (event) => {
    event.preventDefault();
    const [key, ...value] = field.value.trim().split("=");
    const headers = { "Content-Type": "application/json" };
    const labels = JSON.stringify({ [key]: value.join("=") || null });
    try {
      await api.send(labelsOfAgent(id), { method: "POST", headers, body: labels });
      fill(says);
      field.value = "";
      await load(api, id, body);
    } catch (error) {
      fill(says, problem(error));
    }
  };
  const text = "Label: key=value sets it, key= removes it ";
  return h("form.tools.for-agents", { onsubmit: submit }, h("label", {}, text, field), h("button", { type: "submit" }, "Set label"));
}

function labelsOfAgent(id) {
  const [path, rest] = address(id).split("?");
  return query(`${path}/labels`, rest);
}

function query(path, rest) {
  return rest ? `${path}${path.includes("?") ? "&" : "?"}${rest}` : path;
}

// A browser resolves "." and ".." in a path.
function address(id) {
  const name = encodeURIComponent(id);
  return id === "." || id === ".." ? `/api/v1/agents/-?id=${name}` : `/api/v1/agents/${name}`;
}

function described(agent) {
  const facts = {
    Host: agent.hostname || "–",
    Id: [agent.id, " ", copyButton("the id", agent.id)],
    State: stateOf(agent),
    Version: agent.applied_tag ?? "–",
    Verified: VERIFIED.get(agent.verified),
    Strategy: agent.strategy || "–",
    Labels: labelsOf(agent) || "–",
    Metadata: agent.metadata || "–",
    "Last poll": moment(agent.last_poll),
    Registered: moment(agent.registered_at),
    Repairs: agent.repairs,
    Error: errorOf(agent) || "none",
  };
  const list = Object.entries(facts).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, ...(Array.isArray(value) ? value : [String(value)]))]);
  const reports = agent.reports.map((each) =>
    h(
      "li",
      {},
      h(`span.state.${each.state}`, {}, each.state),
      ` version ${each.version}, ${moment(each.at)}`,
      each.ms.worker === null ? "" : `, applied in ${duration(each.ms.worker)}`,
      each.error ? `: ${each.error}` : "",
    ),
  );
  return [
    h("dl", {}, ...list),
    h("h3", {}, "Reports"),
    reports.length ? h("ul.plain", {}, ...reports) : h("p.quiet", {}, "None yet."),
  ];
}
