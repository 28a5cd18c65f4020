/** Who is signed in, and what the page offers for it. */

import { fill, h } from "./dom.js";
import { moment } from "./format.js";

/** Milliseconds until the page asks again who the caller is, where the controller did not answer. */
const AGAIN_MS = 2000;

/** The name of the caller in the bar, its roles, the end of its session, and the way out. */
export class Account {
  /** @param {function(Set<string>, Object)} changed gets the permissions of the caller in the namespace, and the caller */
  constructor(root, changed) {
    Object.assign(this, { root, changed, permissions: {}, caller: {}, namespace: "" });
    root.addEventListener("focusout", ({ relatedTarget }) => relatedTarget && !root.contains(relatedTarget) && (root.open = false));
    root.addEventListener("keydown", ({ key }) => key === "Escape" && this.close());
  }

  /** Ask the controller who the caller is. */
  async load(api) {
    let caller;
    try {
      caller = await api.get("/api/v1/whoami");
    } catch ({ status }) {
      if (![401, 403].includes(status)) setTimeout(() => this.load(api), AGAIN_MS);
      return;
    }
    this.api = api;
    this.permissions = caller.permissions;
    this.caller = caller;
    this.offer(this.namespace);
    this.name = h("summary", { title: "Account" }, caller.name);
    this.says = h("p.quiet", { role: "status" });
    fill(
      this.root,
      this.name,
      h(
        "div.card",
        {},
        ...caller.grants.map((grant) => h("p", {}, roleOf(grant))),
        caller.expires_at && h("p.quiet", {}, `Signed in until ${moment(caller.expires_at)}.`),
        this.says,
        h("button", { type: "button", onclick: () => this.leave() }, "Sign out"),
      ),
    );
    this.root.hidden = false;
  }

  /** Offer what the caller may do in a namespace: the style sheet hides the rest. */
  offer(namespace) {
    this.namespace = namespace;
    const held = this.held(namespace);
    document.body.dataset.may = [...held].join(" ");
    this.changed(held, this.caller);
  }

  /** Return the permissions of the caller in a namespace. */
  held(namespace) {
    const patterns = Object.keys(this.permissions).filter((pattern) => matches(pattern, namespace));
    return new Set(patterns.flatMap((pattern) => this.permissions[pattern]));
  }

  close() {
    this.root.open = false;
    this.name.focus();
  }

  async leave() {
    try {
      await this.api.send("/signout", { method: "POST" });
      location.assign("signin");
    } catch (error) {
      fill(this.says, error.message);
    }
  }
}

/** Return a grant in words. */
export function roleOf({ role, namespaces }) {
  return namespaces.includes("*") ? `${role} in every namespace` : `${role} in ${namespaces.join(", ")}`;
}

/** Tell whether a pattern, a name or a prefix that ends with one "*", matches a namespace. */
function matches(pattern, namespace) {
  return pattern.endsWith("*") ? namespace.startsWith(pattern.slice(0, -1)) : pattern === namespace;
}
