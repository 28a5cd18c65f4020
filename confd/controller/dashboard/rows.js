/** A long list of which only what can be seen is in the page. */

/** Rows above and below the edge, so that scrolling shows no gap. */
const SPARE = 6;

/** Rows of one height, taken from a small pool. */
export class Rows {
  /**
   * @param {HTMLElement} viewport scrolls
   * @param {HTMLElement} canvas in it; as high as all rows
   * @param {function(): HTMLElement} make an empty row
   * @param {function(HTMLElement, Object, number)} write an item into a row
   */
  constructor(viewport, canvas, make, write) {
    Object.assign(this, { viewport, canvas, make, write, items: [], pool: [], frame: 0 });
    viewport.addEventListener("scroll", () => this.schedule(), { passive: true });
    new ResizeObserver(() => this.schedule()).observe(viewport);
  }

  /** Show these from now on. */
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
    const wanted = Math.min(this.items.length, Math.ceil(this.viewport.clientHeight / height) + 2 * SPARE);
    while (this.pool.length < wanted) {
      const row = this.make();
      this.pool.push(row);
      this.canvas.append(row);
    }
    const top = Math.max(0, Math.floor(this.viewport.scrollTop / height) - SPARE);
    const first = Math.max(0, Math.min(top, this.items.length - wanted));
    this.pool.forEach((row, place) => this.place(row, place, first, wanted, height));
  }

  /** A row keeps its element while it is in sight, so that the focus stays where it is. */
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
