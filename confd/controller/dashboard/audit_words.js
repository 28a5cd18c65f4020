/** Say in words what an entry of the audit log is about. */

/** What each path does: done, and in the infinitive. */
const VERBS = {
  "POST /api/v1/config": ["published a version", "publish"],
  "POST /api/v1/config/rollback": ["rolled back", "roll back"],
  "POST /api/v1/config/import": ["imported a history", "import a history"],
  "POST /api/v1/rollouts": ["started a rollout", "start a rollout"],
  "POST /api/v1/rollouts/<int:number>/pause": ["paused a rollout", "pause a rollout"],
  "POST /api/v1/rollouts/<int:number>/resume": ["resumed a rollout", "resume a rollout"],
  "POST /api/v1/rollouts/<int:number>/promote": ["promoted a rollout", "promote a rollout"],
  "POST /api/v1/rollouts/<int:number>/abort": ["aborted a rollout", "abort a rollout"],
  "POST /api/v1/rollouts/<int:number>/replace": ["replaced a rollout", "replace a rollout"],
  "POST /api/v1/rollouts/<int:number>/checks": ["posted a check of a rollout", "post a check of a rollout"],
  "POST /api/v1/plans": ["saved a plan", "save a plan"],
  "DELETE /api/v1/plans/<name>": ["removed a plan", "remove a plan"],
  "POST /api/v1/namespaces": ["created a namespace", "create a namespace"],
  "DELETE /api/v1/namespaces/<name>": ["retired a namespace", "retire a namespace"],
  "POST /api/v1/namespaces/<name>/policy": ["set a policy", "set a policy"],
  "DELETE /api/v1/agents/<agent_id>": ["forgot an agent", "forget an agent"],
  "POST /api/v1/agents/<agent_id>/labels": ["set labels of an agent", "set labels of an agent"],
  "POST /api/v1/agents/<agent_id>/reset": ["reset an agent", "reset an agent"],
  "DELETE /api/v1/blocked/<agent_id>": ["unblocked an agent", "unblock an agent"],
  "GET /api/v1/backup": ["read a backup", "read a backup"],
  "POST /api/v1/webhooks/ping": ["sent a ping to a webhook", "send a ping to a webhook"],
  "POST /api/v1/epoch/raise": ["raised the epoch", "raise the epoch"],
  "POST /api/v1/cluster/adopt": ["adopted a cluster", "adopt a cluster"],
  "POST /api/v1/signing-key/rotate": ["rotated the signing key", "rotate the signing key"],
  "POST /api/v1/changes": ["proposed a change", "propose a change"],
  "POST /api/v1/changes/<int:number>/approve": ["approved a change", "approve a change"],
  "POST /api/v1/changes/<int:number>/reject": ["rejected a change", "reject a change"],
  "POST /api/v1/changes/<int:number>/withdraw": ["withdrew a change", "withdraw a change"],
  "POST /api/v1/changes/<int:number>/schedule": ["scheduled a change", "schedule a change"],
  "POST /api/v1/changes/<int:number>/rebase": ["rebased a change", "rebase a change"],
  "POST /api/v1/changes/<int:number>/apply": ["applied a change", "apply a change"],
  "POST /api/v1/freezes": ["began a freeze", "begin a freeze"],
  "DELETE /api/v1/freezes/<int:number>": ["ended a freeze", "end a freeze"],
  "POST /api/v1/tokens": ["created a token", "create a token"],
  "DELETE /api/v1/tokens/<token_id>": ["revoked a token", "revoke a token"],
  "POST /api/v1/tokens/<token_id>/rotate": ["rotated a token", "rotate a token"],
  "POST /signin": ["signed in", "sign in"],
  "POST /signout": ["signed out", "sign out"],
};

/** The first word of the action of an attempt that was to pass a policy. */
const BREAK_GLASS = "break-glass ";

/** Return what an entry says was done or tried; the action itself if it is not known here. */
export function inWords({ action, outcome, detail }) {
  const forced = action.startsWith(BREAK_GLASS);
  const [done, verb] = VERBS[forced ? action.slice(BREAK_GLASS.length) : action] ?? [];
  if (!done) return action;
  const past = detail === "blocked" ? "blocked an agent" : done;
  return `${outcome === "done" ? past : `tried to ${verb}`}${forced ? " past its policy (break-glass)" : ""}`;
}
