/** The strip of the open rollout: its waves, its members, what it waits for, and what a person may do. */

import { bar } from "./bar.js";
import { fill, h, problem } from "./dom.js";
import { count, plural, span, timeAgo } from "./format.js";
import { showMembers } from "./rollout_members.js";
import { decide } from "./rollout_dialog.js";

const OUTCOMES = ["applied", "pending", "failed", "silent"];
const OPEN = ["running", "paused", "finishing"];

/** Reasons of the controller, in words. */
const REASONS = {
  failures: "too many members failed or are silent",
  check_failed: "a check failed",
  stalled: "no member applied the candidate for too long",
  held: "the plan holds it after this wave",
  requested: "a person asked for it",
  no_eligible_agent: "no live agent is left for the next wave",
};

/** Milliseconds between two requests for a rollout that has ended, while its members follow the version after it. */
const RECOVERY_MS = 1000;

/** Shows one rollout while it is open, and its end until the person closes the strip. */
export class Rollout {
  constructor(root) {
    Object.assign(this, { root, api: null, seen: null, soon: 0 });
    this.title = h("h2", { id: "rollout-title" }, "Rollout");
    this.state = h("p.headline", { role: "status" });
    this.facts = h("p.quiet", {});
    this.next = h("p.next", {});
    this.waves = h("ol.waves", {});
    this.gate = h("dl.figures", {});
    this.says = h("div", {});
    this.outcomes = Object.fromEntries(OUTCOMES.map((outcome) => [outcome, this.outcome(outcome)]));
    this.buttons = {
      pause: this.button(".for-stop", "Pause", () => this.act("pause", {})),
      resume: this.button(".for-advance", "Resume", () => this.act("resume", this.seen.gate.failures ? null : {})),
      promote: this.button(".for-promote", "Promote…", () => this.act("promote", null)),
      abort: this.button(".for-stop", "Abort…", () => this.act("abort", null)),
      close: this.button("", "Close", () => this.move(this.api)),
    };
    fill(
      root,
      this.title,
      this.state,
      this.next,
      this.facts,
      this.waves,
      h("div.chips", { role: "group", "aria-label": "Members by outcome" }, ...Object.values(this.outcomes)),
      this.gate,
      this.says,
      h("div.tools", {}, ...Object.values(this.buttons)),
    );
  }

  outcome(outcome) {
    const open = () => showMembers(this.api, this.seen.id, outcome);
    return h(`button.chip.${outcome}`, { type: "button", onclick: open }, `${outcome} `, h("b", {}, "0"));
  }

  button(classes, label, onclick) {
    return h(`button${classes}`, { type: "button", onclick }, label);
  }

  /** Clear the strip for another namespace. */
  move(api) {
    Object.assign(this, { api, seen: null });
    this.root.hidden = true;
    fill(this.says);
  }

  /** Show the data of the event "rollout". @returns {boolean} whether the rollout has made a step since */
  show(rollout) {
    const { seen } = this;
    if (seen?.id === rollout.id && seen.step > rollout.step) return false;
    const stepped = seen?.id !== rollout.id || seen.step < rollout.step;
    if (stepped) fill(this.says);
    this.seen = rollout;
    this.root.hidden = false;
    this.draw(rollout);
    return stepped;
  }

  /** Note the data of the event "convergence". */
  follow() {
    if (this.seen !== null && isRecovering(this.seen)) this.refresh();
  }

  /** Read the rollout again: the connection was lost, or agents follow the version that ended it. */
  refresh() {
    if (this.seen === null) return;
    this.soon ||= setTimeout(async () => {
      this.soon = 0;
      await this.read();
    }, RECOVERY_MS);
  }

  async read() {
    const { api, seen } = this;
    if (seen === null) return;
    const found = await api.get(`/api/v1/rollouts/${seen.id}`).catch((error) => error);
    if (api !== this.api || this.seen === null) return;
    if (!(found instanceof Error)) this.show(found);
  }

  draw(rollout) {
    const open = OPEN.includes(rollout.state);
    const { id, plan, candidate, base, started_by: by, started_at: at } = rollout;
    this.title.textContent = `Rollout ${id}`;
    this.root.dataset.state = rollout.state;
    write(this.state, sentence(rollout));
    fill(
      this.facts,
      `Plan ${plan.name}, from version ${base} to ${candidate}; started `,
      timeAgo(at),
      ` by ${by}.`,
    );
    fill(this.waves, ...rollout.waves.map((wave) => segment(wave, rollout)));
    for (const outcome of OUTCOMES) {
      const members = rollout.waves.reduce((sum, wave) => sum + wave[outcome], 0);
      write(this.outcomes[outcome].lastChild, count(members));
    }
    fill(this.gate, ...(open ? figures(rollout) : []));
    write(this.next, open ? rollout.next : recovery(rollout));
    this.offer(rollout, open);
  }

  offer({ state, wave, waves }, open) {
    const { pause, resume, promote, abort, close } = this.buttons;
    const { activeElement } = document;
    pause.hidden = !open || state === "paused";
    resume.hidden = state !== "paused";
    promote.hidden = !open || wave === waves.length;
    abort.hidden = !open;
    close.hidden = open;
    if (activeElement?.hidden && this.root.contains(activeElement)) this.first()?.focus();
  }

  /** Return the first button that can be pressed. */
  first() {
    return Object.values(this.buttons).find(({ hidden, offsetParent }) => !hidden && offsetParent);
  }

  /**
   * Change the rollout as the person saw it.
   * @param {Object|null} body of the request; null lets a dialog ask the person
   */
  async act(verb, body) {
    const { api, seen } = this;
    fill(this.says);
    try {
      const wanted = body ?? (await decide(verb, seen));
      if (wanted !== null) this.show(await api.steer(seen, verb, wanted));
    } catch (error) {
      await this.refused(error, seen);
    }
    // A button that was pressed may be gone.
    if (document.activeElement === document.body) this.first()?.focus();
  }

  async refused(error, before) {
    if (error.status !== 412 && error.status !== 409) return fill(this.says, problem(error));
    await this.read();
    const now = this.seen;
    if (now === null || now.step === before.step) return fill(this.says, problem(error));
    fill(this.says, problem({ message: `Nothing was done: meanwhile ${sentence(now, "r")}` }));
  }
}

/** Write a text only if it differs: a screen reader reads each change. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function isRecovering({ recovery: there }) {
  return there !== null && there.applied < there.members;
}

/** Say in one sentence where a rollout is. */
function sentence(rollout, letter = "R") {
  const { id, state, reason, wave, waves, ended_as: after } = rollout;
  const behind = rollout.laggards;
  const name = `${letter}ollout ${id}`;
  const why = reason ? `: ${REASONS[reason] ?? reason}` : "";
  const place = wave === waves.length ? "the last wave" : `wave ${wave} of ${waves.length}`;
  if (state === "paused") return `${name} is paused in ${place}${why}.`;
  if (state === "completed") return `${name} is complete${behind ? `; ${plural(behind, "member")} did not follow` : ""}.`;
  if (state === "aborted") return `${name} was aborted in ${place}${why}.`;
  if (state === "superseded") return `${name} was superseded by version ${after}.`;
  return `${name} is in ${place}.`;
}

function recovery({ recovery: there, base, state }) {
  if (there === null) return "";
  const what = state === "aborted" ? `, with the document of version ${base},` : "";
  return `Version ${there.version}${what} is current; ${there.applied} of ${plural(there.members, "member")} ${there.applied === 1 ? "has" : "have"} it.`;
}

function segment(wave, rollout) {
  const last = wave.wave === rollout.waves.length;
  const begun = wave.started_at !== null;
  const present = OPEN.includes(rollout.state) && wave.wave === rollout.wave;
  const size = last ? "all agents" : wave.count ? plural(wave.count, "agent") : `${wave.percent} %`;
  const words = OUTCOMES.filter((outcome) => wave[outcome]).map((outcome) => `${count(wave[outcome])} ${outcome}`);
  const done = wave.wave < rollout.wave || rollout.state === "completed";
  return h(
    `li.wave.${present ? "present" : begun ? "begun" : "later"}`,
    present ? { "aria-current": "step" } : {},
    h("p", {}, h("b", {}, last ? "Last wave" : `Wave ${wave.wave}`), ` · ${size}${wave.select ? `, ${wave.select}` : ""}`),
    bar(OUTCOMES, wave, 10, 30),
    h("p.quiet", {}, words.join(", ") || (begun || done ? "no new member" : "not started")),
  );
}

function figures({ gate, state, wave, waves }) {
  const figure = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
  const paused = state === "paused";
  return [
    figure("settled", `${count(gate.settled)} of ${count(gate.required)}`),
    figure("failures", `${count(gate.failures)}, limit ${count(gate.limit)}`),
    figure(paused ? "bake after it resumes" : "bake left", span(gate.bake_left_s)),
    figure(wave === waves.length ? "until it ends" : "patience left", paused ? "stopped" : span(gate.patience_left_s)),
  ];
}
