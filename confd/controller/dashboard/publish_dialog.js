/** The dialog that previews a change and publishes it with a comment, at once or as a rollout. */

import { idempotencyKey } from "./api.js";
import { closer, dialog, fill, h, problem } from "./dom.js";
import { diff } from "./diff.js";
import { count, plural } from "./format.js";

/** In the place of a plan: publish to all agents, and end the open rollout. */
const SUPERSEDE = "abort";

/**
 * Preview a change in a dialog, and publish it if the person confirms.
 *
 * @param {string} title
 * @param {function(Object): Promise<Object>} attempt publishes; takes {dryRun, key, comment, rollout}
 * @param {Api} api reads the plans
 * @param {string} comment suggested to the person
 * @returns {Promise<Object|null>} the answer to the publish; null if the person cancelled
 * @throws {Refusal} if the controller refuses the preview, or answers 412
 */
export async function confirmAndPublish(title, attempt, api, comment = "") {
  const [plans, preview] = await Promise.all([readPlans(api), firstPreview(attempt)]);
  const field = h("input", { type: "text", name: "comment", maxLength: 1024, value: comment, autocomplete: "off" });
  const says = h("div", {});
  const button = h("button.primary", { type: "submit" });
  const reached = h("div", { role: "status" });
  const key = idempotencyKey();
  let rollout = preview.superseded ? SUPERSEDE : "";
  let published = null;
  let refused = null;

  const show = (found) => {
    fill(reached, ...reach(found));
    button.disabled = false;
    button.textContent = label(found.version, rollout);
  };
  const choose = async (event) => {
    const chosen = (rollout = event.target.value);
    button.disabled = true;
    fill(says);
    fill(reached);
    try {
      const found = await attempt({ dryRun: true, rollout });
      if (chosen === rollout) show(found);
    } catch (error) {
      if (chosen === rollout) fill(reached, problem(error));
    }
  };
  const submit = async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    fill(says);
    const box = form.closest("dialog");
    try {
      published = await attempt({ key, comment: field.value.trim(), rollout });
      box.close("done");
    } catch (error) {
      button.disabled = false;
      if (error.status !== 412) return fill(says, problem(error));
      refused = error;
      box.close();
    }
  };
  const form = h(
    "form",
    { id: "change", onsubmit: submit },
    preview.superseded ? h("p.problem", {}, preview.superseded) : delivery(plans, choose),
    reached,
    diff(preview.text),
    h("label.field", {}, h("span", {}, "Comment: the reason for this change"), field),
    says,
  );
  show(preview);
  button.setAttribute("form", "change");
  const closed = dialog(title, form, [closer("Cancel"), button]);
  field.focus();
  await closed;
  if (refused) throw refused;
  return published;
}

/** Preview the publish to all agents. With an open rollout, preview the publish that ends it. */
async function firstPreview(attempt) {
  try {
    return await attempt({ dryRun: true });
  } catch (error) {
    if (error.code !== "rollout_active") throw error;
    const superseded = "A rollout is open. This publish ends it, and all agents get this version at once.";
    return { ...(await attempt({ dryRun: true, rollout: SUPERSEDE })), superseded };
  }
}

async function readPlans(api) {
  const found = await api.get("/api/v1/plans").catch(() => ({ items: [] }));
  return found.items;
}

function delivery(plans, onchange) {
  if (!plans.length) return null;
  const options = plans.map(({ name, waves }) => h("option", { value: name }, `${name}: ${plural(waves.length + 1, "wave")}`));
  const choice = h("select", { onchange }, h("option", { value: "" }, "to all agents at once"), ...options);
  return h("label.field", {}, h("span", {}, "Deliver"), choice);
}

function label(version, rollout) {
  if (rollout === SUPERSEDE) return `End the rollout and publish version ${version}`;
  return rollout ? `Start the rollout of version ${version}` : `Publish as version ${version}`;
}

function reach({ agents: { targeted, live }, waves, unfit, cannot_report: unreported }) {
  if (targeted === 0) return [h("p", {}, "No agent follows this namespace yet.")];
  const silent = targeted - live;
  const said = `${plural(targeted, "agent")} will receive it${silent ? `; ${count(silent)} of them silent now` : ""}.`;
  if (!waves) return [h("p", {}, said)];
  const notes = [];
  if (unfit) notes.push(`${plural(unfit, "agent")} not in order now: a failure there does not count.`);
  if (unreported) notes.push(`${plural(unreported, "agent")} without a report: only the last wave reaches them.`);
  return [
    h("p", {}, said),
    h("ol.plan", {}, ...waves.map((wave, place) => step(wave, waves[place - 1], place === waves.length - 1))),
    ...notes.map((each) => h("p.quiet", {}, each)),
  ];
}

function step({ members, sample }, before, last) {
  const added = members - (before?.members ?? 0);
  const names = `${sample.join(", ")}${added > sample.length ? ", …" : ""}`;
  return h("li", {}, last ? "All agents" : `${plural(members, "agent")}${names ? `: ${before ? "adds " : ""}${names}` : ""}`);
}

/** Return what a publish did, in words, with a link to follow it. */
export function outcome({ version, published, rollout }, namespace) {
  const link = (text) => h("a", { href: `#overview/${namespace}` }, text);
  const said = (...words) => h("p.done", { role: "status" }, ...words);
  if (rollout) return said(`Rollout ${rollout.id} of version ${version} has started. `, link("Watch it"));
  const brokers = published ? "" : " A broker does not have it yet; the controller tries again until it does.";
  return said(`Version ${version} is published.${brokers} `, link("Watch it arrive"));
}
