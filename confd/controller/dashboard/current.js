/** The current version, in a few facts. */

import { copyButton } from "./copy.js";
import { fill, h } from "./dom.js";
import { span, timeAgo } from "./format.js";
import { versionAddress } from "./version.js";

/** A card that shows the current version. */
export class Current {
  constructor(root) {
    this.root = root;
  }

  /** Clear the card for another namespace. */
  move() {
    fill(this.root);
  }

  /** Show the data of the event "config". */
  show({ namespace, version, epoch, tag, author, comment, created_at: made, checksum, poll_interval_seconds: interval }) {
    const fact = (name, ...value) => [h("dt", {}, name), h("dd", {}, ...value)];
    fill(
      this.root,
      h("p.headline", {}, h("strong", {}, h("a.plain", { href: versionAddress(namespace, version) }, `Version ${version}`))),
      comment ? h("blockquote", {}, comment) : null,
      h(
        "dl",
        {},
        ...fact("Published", timeAgo(made), ` by ${author}`),
        ...fact("Tag", h("code", {}, tag), " ", copyButton("the tag", tag)),
        ...fact("Epoch", String(epoch)),
        ...fact("Checksum", h("code", { title: checksum }, `${checksum.slice(0, 19)}…`), " ", copyButton("the checksum", checksum)),
        ...fact("Poll interval", span(interval)),
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
