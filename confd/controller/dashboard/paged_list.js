/** Lists that are read a page at a time. */

import { fill, problem } from "./dom.js";

/**
 * The items of a namespace, newest first, read when the view is visible.
 *
 * A subclass has the elements `says` and `body`, `page(query)`, which returns a promise of a page, and
 * `draw()`, which shows `items` and `next`.
 */
export class PagedList {
  constructor(api) {
    Object.assign(this, { api, visible: false, stale: true, failed: false, asked: null, items: [] });
  }

  /** Load the items when the view becomes visible. What was said about an action does not outlive the visit. */
  show(visible) {
    if (visible && !this.visible) fill(this.says);
    this.visible = visible;
    if (visible && this.stale) this.load();
  }

  /** Show another namespace. */
  move(api) {
    this.api = api;
    fill(this.says);
    fill(this.body);
    this.refresh();
  }

  /** Load the newest items, now or when the view becomes visible. */
  refresh() {
    this.asked = null;
    this.stale = true;
    if (this.visible) this.load();
  }

  /** Load a page. @param {number} [before] item before which the page ends; default: the newest */
  async load(before) {
    // The answers of two requests may come in either order; the request that was sent last counts.
    const asked = (this.asked = {});
    try {
      const page = await this.page(before ? { before } : {});
      if (asked !== this.asked) return;
      this.items = before ? [...this.items, ...page.items] : page.items;
      this.next = page.next;
      if (this.failed) fill(this.says);
      Object.assign(this, { stale: false, failed: false });
      this.draw();
    } catch (error) {
      if (asked !== this.asked) return;
      this.failed = true;
      fill(this.says, problem(error));
    }
  }
}
