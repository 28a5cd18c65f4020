/** The dialog with the policy of a namespace. */

import { h } from "./dom.js";
import { ask, field, post } from "./form_dialog.js";

/** The largest number of approvals that a policy asks for. */
const MOST_APPROVALS = 5;

/** The plan of a policy that asks for no rollout. */
const NO_PLAN = "direct";

const SWITCHES = {
  self_approval: "The author of a change may approve it",
  rollback_free: "An undo needs neither plan nor approval, and passes freezes",
  freeze_exempt: "The namespace ignores freezes",
};

/**
 * Show the policy of a namespace, which an admin may change.
 * @param {boolean} mayChange
 * @returns {Promise<Object|null>} the policy that was saved; null without one
 */
export async function editPolicy(api, name, mayChange) {
  const path = `/api/v1/namespaces/${name}/policy`;
  const [policy, plans] = await Promise.all([api.get(path), api.get("/api/v1/plans")]);
  const usable = plans.items.filter(({ waves }) => waves?.length).map((each) => each.name);
  const names = [...new Set([NO_PLAN, ...usable, policy.plan])];
  const plan = h("select", { name: "plan" }, ...names.map((value) => h("option", { value }, value === NO_PLAN ? "none: every agent at once" : value)));
  plan.value = policy.plan;
  const approvals = h("input", { type: "number", name: "approvals", min: 0, max: MOST_APPROVALS, required: true, value: policy.approvals });
  const switches = Object.entries(SWITCHES).map(([key, text]) => {
    const box = h("input", { type: "checkbox", name: key, checked: policy[key] });
    return h("label.choice", {}, box, ` ${text}`);
  });
  const send = () =>
    post(api, path, {
      plan: plan.value,
      approvals: Number(approvals.value),
      ...Object.fromEntries(switches.map(({ firstChild: { name: key, checked } }) => [key, checked])),
    });
  const fields = h(
    "fieldset.plain",
    { disabled: !mayChange },
    field("Rollout that each publish starts", plan),
    field("Approvals that each change needs", approvals),
    ...switches,
  );
  return ask(`Policy of ${name}`, [fields], "Save the policy", send, "admins");
}
