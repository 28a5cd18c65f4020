/** The dialogs that ask a person before a rollout changes. */

import { closer, dialog, h } from "./dom.js";
import { plural } from "./format.js";

/**
 * Ask the person what a verb is to do.
 * @param {string} verb resume, promote or abort
 * @param {Object} rollout as the person sees it
 * @returns {Promise<Object|null>} the body of the request; null if the person cancelled
 */
export async function decide(verb, rollout) {
  const { title, said, button, choices = [] } = QUESTIONS[verb](rollout);
  const comment = h("input", { type: "text", name: "comment", maxLength: 1024, autocomplete: "off" });
  let wanted = null;
  const submit = (event) => {
    event.preventDefault();
    wanted = { comment: comment.value.trim() };
    const chosen = form.querySelector("input[type=radio]:checked");
    if (chosen) wanted.to = chosen.value;
    form.closest("dialog").close();
  };
  const form = h(
    "form",
    { id: "decision", onsubmit: submit },
    ...said.map((each) => h("p", {}, each)),
    ...choices,
    h("label.field", {}, h("span", {}, "Comment, for the audit log"), comment),
  );
  const go = h("button.primary", { type: "submit" }, button);
  go.setAttribute("form", "decision");
  const closed = dialog(title, form, [closer("Cancel"), go]);
  comment.focus();
  await closed;
  return wanted;
}

const QUESTIONS = { resume, promote, abort };

function resume({ id, gate }) {
  const failures = gate.failures ? [`You accept ${plural(gate.failures, "failure")}; they no longer count.`] : [];
  return {
    title: `Resume rollout ${id}`,
    said: [...failures, "Bake and patience of the wave start over."],
    button: "Resume",
  };
}

function promote({ id, wave, waves, gate }) {
  const choice = (value, checked, text) =>
    h("label.choice", {}, h("input", { type: "radio", name: "to", value, checked }), ` ${text}`);
  const lastIsNext = wave + 1 === waves.length;
  const options = [choice("next", true, "The next wave"), choice("all", false, "The last wave: all agents")];
  return {
    title: `Promote rollout ${id}`,
    said: [
      `This skips the gate of wave ${wave}, where ${gate.settled} of ${gate.required} members have settled.` +
        (lastIsNext ? " The last wave follows: all agents." : ""),
      ...(gate.failures ? [`You accept ${plural(gate.failures, "failure")}; they no longer count.`] : []),
    ],
    choices: lastIsNext ? [] : [h("fieldset", {}, h("legend", {}, "Start"), ...options)],
    button: "Promote",
  };
}

function abort({ id, base, candidate, members }) {
  return {
    title: `Abort rollout ${id}`,
    said: [
      `confd publishes the document of version ${base} again, as a new version for all agents.` +
        ` ${plural(members, "member")} of version ${candidate} go back to it.`,
    ],
    button: "Abort the rollout",
  };
}
