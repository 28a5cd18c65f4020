/** Build the dashboard and connect its parts: one view of one namespace at a time, live. */

import { Account } from "./account.js";
import { Api } from "./api.js";
import { Audit } from "./audit.js";
import { Changes } from "./changes.js";
import { Connection } from "./connection.js";
import { Convergence } from "./convergence.js";
import { h, fill } from "./dom.js";
import { Editor } from "./editor.js";
import { Events } from "./events.js";
import { Fleet } from "./fleet.js";
import { Freezes } from "./freezes.js";
import { Current } from "./current.js";
import { Health } from "./health.js";
import { Help } from "./help.js";
import { History } from "./history.js";
import { Namespaces } from "./namespaces.js";
import { Rollout } from "./rollout.js";
import { Tokens } from "./tokens.js";
import { Version, versionAddress } from "./version.js";
import { fleetAddress } from "./filters.js";
import { ago, moment } from "./format.js";
import { matching, openPalette } from "./palette.js";

const VIEWS = ["overview", "configuration", "history", "version", "changes", "fleet", "freezes", "namespaces", "tokens", "audit"];

/** The views that show all namespaces. */
const EVERYWHERE = ["freezes", "namespaces", "tokens", "audit"];

/** The link of the navigation for a view that has none. */
const PARENTS = { version: "history" };

/** Milliseconds between two updates of "12 s ago". */
const TICK_MS = 10000;

/** Milliseconds between two requests for the list of namespaces. */
const NAMESPACES_MS = 30000;

const byId = (id) => document.getElementById(id);

class App {
  constructor() {
    this.api = new Api();
    this.editor = new Editor(byId("editor"), this.api);
    this.fleet = new Fleet(byId("agents"), this.api);
    this.history = new History(byId("versions"), this.api);
    this.changes = new Changes(byId("changes"));
    this.audit = new Audit(byId("attempts"));
    this.freezes = new Freezes(byId("freezes"), (pattern) => this.account.held(pattern).has("freeze.write"));
    this.tokens = new Tokens(byId("tokens"));
    this.spaces = new Namespaces(byId("spaces"), () => this.choose());
    this.version = new Version(byId("version"));
    this.help = new Help(byId("help"), { go: (view) => this.go(view), command: () => openPalette((text) => this.commands(text)), rezone: () => this.rezone() });
    this.health = new Health(byId("health"));
    this.current = new Current(byId("current"));
    this.rollout = new Rollout(byId("rollout"));
    this.convergence = new Convergence(byId("convergence"), byId("behind"));
    this.events = new Events(
      (kind, data) => this.receive(kind, data),
      (state, trouble) => this.connected(state, trouble),
    );
    this.account = new Account(byId("account"), (held, caller) => {
      this.changes.caller = caller;
      this.spaces.admin = held.has("admin");
      this.freezes.permit();
      this.editor.permit(held.has("config.publish"));
    });
    this.connection = new Connection(byId("connection"), byId("notice"), byId("main"));
    this.choice = byId("namespaces");
    this.choice.addEventListener("change", () => (location.hash = `${this.view}/${this.choice.value}`));
    addEventListener("hashchange", () => this.route());
    addEventListener("beforeunload", (event) => this.editor.dirty && event.preventDefault());
    addEventListener("pagehide", () => this.editor.keep());
    setInterval(tick, TICK_MS);
    setInterval(() => this.choose(), NAMESPACES_MS);
    this.choice.addEventListener("focus", () => this.choose());
    this.named = location.hash.includes("/");
    this.route();
    this.account.load(this.api);
  }

  /** Show the view and the namespace that the address names, such as "#fleet/edge". */
  route() {
    const [place, query = ""] = location.hash.slice(1).split("?");
    const [view, namespace] = place.split("/");
    const asked = new URLSearchParams(query);
    if (view === "main") return;
    const moved = this.view !== view;
    this.view = VIEWS.includes(view) ? view : "overview";
    if (!this.namespace || (namespace && namespace !== this.namespace)) this.move(namespace || "default");
    for (const each of VIEWS) byId(`view-${each}`).hidden = each !== this.view;
    for (const link of document.querySelectorAll("nav a")) {
      const [there] = link.hash.slice(1).split("/");
      link.hash = `${there}/${this.namespace}`;
      if (there === (PARENTS[this.view] ?? this.view)) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    document.title = `${this.view[0].toUpperCase()}${this.view.slice(1)} · confd`;
    this.editor.show(this.view === "configuration");
    this.fleet.show(this.view === "fleet", asked);
    this.history.show(this.view === "history");
    this.version.show(this.view === "version", asked);
    this.changes.show(this.view === "changes");
    this.freezes.show(this.view === "freezes");
    this.spaces.show(this.view === "namespaces");
    this.tokens.show(this.view === "tokens");
    this.audit.show(this.view === "audit");
    this.health.show(this.view === "overview");
    if (!moved) return;
    scrollTo(0, 0);
    // A screen reader reads no change of a title.
    const [title] = document.title.split(" ");
    byId("announced").textContent = EVERYWHERE.includes(this.view) ? title : `${title} of ${this.namespace}`;
  }

  /** Show a view, if the caller may use it. */
  go(view) {
    if (links().some(({ hash }) => hash.startsWith(`#${view}/`))) location.hash = `${view}/${this.namespace}`;
  }

  /** Return the commands for what a person typed into the palette. */
  commands(text) {
    const go = (label, hash) => ({ label, run: () => (location.hash = hash) });
    const { namespace, view } = this;
    const views = links().map(({ textContent, hash }) => go(`Show ${textContent}`, hash));
    const names = [...this.choice.options].filter(({ value }) => value !== namespace);
    const others = names.map(({ value }) => go(`Switch to namespace ${value}`, `${view === "version" ? "history" : view}/${value}`));
    const version = /^\d+$/.test(text) ? [go(`Show version ${text}`, versionAddress(namespace, text))] : [];
    const agents = text ? [go(`Find agents with “${text}”`, fleetAddress(namespace, { words: text }))] : [];
    const rest = [{ label: "Help and keys", run: () => this.help.toggle(true) }, { label: "Sign out", run: () => this.account.leave() }];
    return [...version, ...matching([...views, ...others, ...rest], text), ...agents];
  }

  /** Show all times again, in another time zone. */
  rezone() {
    tick();
    for (const part of [this.history, this.changes, this.audit, this.freezes, this.spaces, this.tokens]) part.refresh();
    this.route();
  }

  move(namespace) {
    this.namespace = namespace;
    this.api = new Api(namespace);
    const { editor, fleet, history, version, changes, audit, health, current, convergence, rollout, freezes, spaces, tokens } = this;
    for (const part of [editor, fleet, history, version, changes, audit, health, current, convergence, rollout, freezes, spaces, tokens])
      part.move(this.api);
    this.connection.choices([], namespace, this.view);
    this.offered = "";
    fill(this.choice, h("option", { value: namespace }, namespace));
    this.account.offer(namespace);
    this.events.follow(this.api);
    this.choose();
  }

  /** Offer the namespaces. */
  async choose() {
    const found = await this.api.get("/api/v1/namespaces").catch(() => null);
    if (found === null) return;
    const names = found.map(({ name }) => name);
    this.convergence.hear(found.find(({ name }) => name === this.namespace));
    // A caller whose grants leave out the default namespace begins in one of its own.
    if (!this.named && names.length && !names.includes(this.namespace)) location.hash = `${this.view}/${names[0]}`;
    this.named = true;
    this.connection.choices(names, this.namespace, this.view);
    const shown = names.includes(this.namespace) ? names : [...names, this.namespace];
    // A list that is open stays as it is.
    if (shown.join() === this.offered) return;
    this.offered = shown.join();
    fill(this.choice, ...shown.map((name) => h("option", { value: name }, name)));
    this.choice.value = this.namespace;
  }

  connected(state, trouble) {
    this.connection[state](trouble);
    if (state === "live" && this.lost) {
      this.account.load(this.api);
      const { editor, fleet, history, changes, audit, rollout, freezes, spaces, tokens } = this;
      for (const part of [editor, fleet, history, changes, audit, rollout, freezes, spaces, tokens]) part.refresh();
    }
    if (state !== "connecting") {
      if (this.lost !== undefined) this.choose();
      this.health.show(this.view === "overview");
    }
    this.lost = state === "lost";
  }

  receive(kind, data) {
    if (kind === "agents") return this.fleet.changed(data);
    if (kind === "changes") return this.changes.refresh();
    if (kind === "convergence") {
      this.rollout.follow();
      this.fleet.expect(data.targeted + (data.rollout?.members ?? 0));
      return this.convergence.show(data);
    }
    if (kind === "rollout") {
      if (!this.rollout.show(data)) return;
    } else {
      this.current.show(data);
      this.editor.refresh();
    }
    this.history.refresh();
    this.changes.refresh();
    this.audit.refresh();
  }
}

function tick() {
  for (const each of document.querySelectorAll("time")) Object.assign(each, { textContent: ago(each.dateTime), title: moment(each.dateTime) });
}

/** Return the links of the views that the caller may use. */
function links() {
  return [...document.querySelectorAll("nav a")].filter((each) => each.checkVisibility());
}

new App();
