/** A long list: the page holds elements for the visible rows only. */

/** Rows drawn above and below the visible ones, so that scrolling shows no gap. */
const SPARE_ROWS = 6;

/** Rows of equal height, reused from a small pool. */
export class VirtualList {
  /**
   * @param {HTMLElement} viewport the element that scrolls
   * @param {HTMLElement} canvas inside the viewport, as high as all rows
   * @param {function(): HTMLElement} make returns an empty row
   * @param {function(HTMLElement, Object, number)} write fills a row with an item
   */
  constructor(viewport, canvas, make, write) {
    Object.assign(this, { viewport, canvas, make, write, items: [], pool: [], frame: 0 });
    viewport.addEventListener("scroll", () => this.schedule(), { passive: true });
    new ResizeObserver(() => this.schedule()).observe(viewport);
  }

  /** Show these items. */
  show(items) {
    this.items = items;
    this.schedule();
  }

  schedule() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  draw() {
    if (!this.viewport.clientHeight) return;
    const height = this.rowHeight();
    this.canvas.style.height = `${this.items.length * height}px`;
    const wanted = Math.min(this.items.length, Math.ceil(this.viewport.clientHeight / height) + 2 * SPARE_ROWS);
    while (this.pool.length < wanted) {
      const row = this.make();
      this.pool.push(row);
      this.canvas.append(row);
    }
    const top = Math.max(0, Math.floor(this.viewport.scrollTop / height) - SPARE_ROWS);
    const first = Math.max(0, Math.min(top, this.items.length - wanted));
    this.pool.forEach((row, place) => this.place(row, place, first, wanted, height));
  }

  /** Position a row. A visible row keeps its element, so that the focus stays in place. */
  place(row, place, first, wanted, height) {
    const size = this.pool.length;
    const index = first + ((((place - first) % size) + size) % size);
    row.hidden = index >= first + wanted;
    if (row.hidden) return;
    row.style.transform = `translateY(${index * height}px)`;
    this.write(row, this.items[index], index);
  }

  rowHeight() {
    return parseFloat(getComputedStyle(this.viewport).getPropertyValue("--row")) || 44;
  }
}
