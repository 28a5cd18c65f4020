/** The page of one version: its document, its differences and its convergence. */

import { bar } from "./bar.js";
import { STATES, behindTable, legend, sentence } from "./convergence.js";
import { copyButton } from "./copy.js";
import { diff } from "./diff.js";
import { button, fill, h, problem } from "./dom.js";
import { save } from "./export.js";
import { span, timeAgo } from "./format.js";
import { member, pretty } from "./json.js";
import { rollBack } from "./rollback.js";

/** Characters of a document that the page shows; the file has all. */
const MOST_SHOWN = 200000;

/** Return the address of the page of a version. */
export function versionAddress(namespace, version) {
  return `#version/${namespace}?number=${version}`;
}

/** One version of a namespace. */
export class Version {
  constructor(root) {
    Object.assign(this, { root, api: null, asked: null });
  }

  move(api) {
    this.api = api;
  }

  /** Load the version that the address names. */
  async show(visible, query) {
    if (!visible) return;
    const { api } = this;
    const number = Number(query.get("number"));
    const asked = (this.asked = {});
    const title = h("h1", { id: "version-title" }, `Version ${number}`);
    fill(this.root, title, h("p.quiet", {}, "Loading…"));
    let parts;
    try {
      parts = await this.parts(api, number);
    } catch (error) {
      parts = [problem(error)];
    }
    if (asked === this.asked) fill(this.root, title, ...parts);
  }

  async parts(api, number) {
    const path = `/api/v1/config/versions/${number}`;
    const [answer, arrived, current] = await Promise.all([
      api.ask("GET", path),
      api.read(`${path}/convergence`).catch(() => null),
      api.current(),
    ]);
    const text = await answer.text();
    const facts = JSON.parse(text);
    const document = pretty(member(text, "data"));
    const newest = JSON.parse(current.text).version;
    const says = h("div", {});
    return [
      actions(api, facts, document, current, newest, says),
      says,
      described(facts),
      ...(arrived ? convergence(arrived) : []),
      ...(await differences(api, number, newest)),
      h("h2", {}, "Document"),
      shown(document),
    ];
  }
}

function actions(api, { version }, document, { etag }, newest, says) {
  const name = `${api.namespace}-${version}.json`;
  const back = button("Roll back…", () => rollBack(api, version, etag, says));
  back.classList.add("for-publish");
  return h(
    "p.tools",
    {},
    copyButton("the document", document),
    button("Download", () => save(name, "application/json", `${document}\n`)),
    version === newest ? h("span.tag", {}, "current") : back,
    h("a.button", { href: `#history/${api.namespace}` }, "History"),
  );
}

function described(facts) {
  const { namespace, created_at: made, author, comment, tag, checksum, poll_interval_seconds: interval, rollback_of: source } = facts;
  const { rollout, state, change, approvals = [], break_glass: reason } = facts;
  const fact = (name, ...value) => [h("dt", {}, name), h("dd", {}, ...value)];
  const who = approvals.map(({ subject }) => subject).join(", ");
  return h(
    "dl",
    {},
    ...fact("Published", timeAgo(made), ` by ${author}`),
    ...(comment ? fact("Comment", comment) : []),
    ...(source ? fact("Rollback of", h("a", { href: versionAddress(namespace, source) }, `version ${source}`)) : []),
    ...(rollout ? fact("Rollout", `${rollout}${state ? `, ${state}` : ""}`) : []),
    ...(change ? fact("Change", who ? `${change}, approved by ${who}` : String(change)) : []),
    ...(reason ? fact("Break-glass", reason) : []),
    ...fact("Poll interval", span(interval)),
    ...fact("Tag", h("code", {}, tag), " ", copyButton("the tag", tag)),
    ...fact("Checksum", h("code", {}, checksum), " ", copyButton("the checksum", checksum)),
  );
}

function convergence(data) {
  const failed = data.laggards.filter(({ state }) => state === "failed");
  return [
    h("h2", {}, "Convergence"),
    h("p", {}, sentence(data)),
    bar(STATES, data, 20, 5),
    legend(data),
    failed.length ? behindTable(data, failed, "Agents that failed it") : null,
  ];
}

async function differences(api, number, newest) {
  const pairs = [[number - 1, number], [number, newest]].filter(([from, to]) => from >= 1 && from < to);
  const read = async ([from, to]) => {
    const found = await api.read("/api/v1/config/diff", { from, to }).catch((error) => error);
    return found instanceof Error ? problem(found) : diff(found.text);
  };
  const texts = await Promise.all(pairs.map(read));
  return pairs.flatMap(([from, to], place) => [
    h("h2", {}, to === number ? `Changes since version ${from}` : `Changes until the current version ${to}`),
    texts[place],
  ]);
}

function shown(document) {
  const text = document.slice(0, MOST_SHOWN);
  const rest = text === document ? null : h("p.quiet", {}, "The page shows the beginning; the download has all.");
  return h("div", {}, h("pre.diff.document", { tabIndex: 0, "aria-label": "Document" }, text), rest);
}
