/** What is in force, in a few words. */

import { fill, h } from "./dom.js";
import { ago, moment } from "./words.js";

/** A card that is told of each new version. */
export class Force {
  constructor(root) {
    this.root = root;
  }

  /** Another namespace. */
  move() {
    fill(this.root);
  }

  /** The event "config". */
  show({ namespace, version, epoch, tag, author, comment, created_at: made, checksum }) {
    const fact = (name, ...value) => [h("dt", {}, name), h("dd", {}, ...value)];
    fill(
      this.root,
      h("p.headline", {}, h("strong", {}, `Version ${version}`)),
      comment ? h("blockquote", {}, comment) : null,
      h(
        "dl",
        {},
        ...fact("Published", h("time", { dateTime: made, title: moment(made) }, ago(made)), ` by ${author}`),
        ...fact("Tag", h("code", {}, tag)),
        ...fact("Epoch", String(epoch)),
        ...fact("Checksum", h("code", { title: checksum }, `${checksum.slice(0, 19)}…`)),
      ),
      h(
        "p.tools",
        {},
        h("a.button", { href: `#configuration/${namespace}` }, "Edit"),
        h("a.button", { href: `#history/${namespace}` }, "History"),
      ),
    );
  }
}
