/** A list of which only what is near the window is in the document, so that ten thousand rows scroll like ten. */

import { lastStarted } from "./search_sorted.js";

const MARGIN = 800; // pixels above and below the window

/** @template {object} T */
export class VirtualList {
  /**
   * @param {HTMLElement} list
   * @param {(item: T) => HTMLElement} make a row
   * @param {(item: T) => number} estimate pixels of a row that was never seen
   * @param {(row: HTMLElement) => void} onLeave a row is about to leave the document
   */
  constructor(list, make, estimate, onLeave) {
    this.list = list;
    this.make = make;
    this.estimate = estimate;
    this.onLeave = onLeave;
    /** @type {T[]} */
    this.items = [];
    /** @type {Map<T, HTMLElement>} those in the document */
    this.rows = new Map();
    /** @type {WeakMap<T, number>} pixels, as they were seen */
    this.heights = new WeakMap();
    this.offsets = new Float64Array(1); // of each item from the top, and of the end
    this.first = 0;
    this.last = -1;
    this.above = spacer();
    this.below = spacer();
    this.width = 0;
    addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.resized()).observe(list);
  }

  /** @param {T[]} items */
  show(items) {
    this.items = items;
    this.place();
    this.draw(true);
  }

  clear() {
    this.rows.clear();
    this.list.replaceChildren();
  }

  /** Make the rows anew. */
  refresh() {
    for (const row of this.rows.values()) this.leave(row);
    this.rows.clear();
    this.draw(true);
  }

  /** Bring an item's row into the document and into sight. @param {number} index @param {ScrollBehavior} [behavior] */
  reveal(index, behavior = "instant") {
    const item = this.items[index];
    if (item === undefined) return;
    const far = !this.rows.has(item);
    // What comes into the document is measured, which moves what is below it: again, until that has settled.
    for (let tries = 0; far && tries < 4; tries += 1) {
      const top = this.list.getBoundingClientRect().top + scrollY;
      scrollTo({ top: top + this.offsets[index] - innerHeight / 2, behavior: "instant" });
      this.draw();
    }
    this.rows.get(item)?.scrollIntoView({ block: "nearest", behavior });
    if (far) for (const ms of [50, 150, 400]) setTimeout(() => this.keep(item), ms);
  }

  /** Have a row in sight that was jumped to, whatever was drawn above it since. @param {T} item */
  keep(item) {
    const place = this.rows.get(item)?.getBoundingClientRect();
    if (place && place.top >= 0 && place.bottom <= innerHeight) return;
    const top = this.list.getBoundingClientRect().top + scrollY;
    scrollTo({ top: top + this.offsets[this.items.indexOf(item)] - innerHeight / 2, behavior: "instant" });
    this.draw();
  }

  /** @param {boolean} [anew] whether the items have changed */
  draw(anew = false) {
    const top = -this.list.getBoundingClientRect().top;
    const first = Math.max(0, this.indexAt(top - MARGIN));
    const last = Math.min(this.items.length - 1, this.indexAt(top + innerHeight + MARGIN));
    if (!anew && first === this.first && last === this.last) return;
    [this.first, this.last] = [first, last];
    const shown = this.items.slice(first, last + 1);
    const kept = new Set(shown);
    for (const [item, row] of this.rows) {
      if (kept.has(item)) continue;
      this.rows.delete(item);
      this.leave(row);
    }
    const rows = shown.map((item) => this.row(item));
    this.put([this.above, ...rows, this.below]);
    rows.forEach((row, i) => {
      row.setAttribute("aria-posinset", String(first + i + 1));
      row.setAttribute("aria-setsize", String(this.items.length));
    });
    this.measure(shown);
  }

  /** @param {T} item */
  row(item) {
    const row = this.rows.get(item) ?? this.make(item);
    this.rows.set(item, row);
    return row;
  }

  /** @param {HTMLElement} row */
  leave(row) {
    this.onLeave(row);
    row.remove();
  }

  /** Have these children in this order, touching only what is elsewhere. @param {HTMLElement[]} children */
  put(children) {
    children.forEach((child, i) => {
      if (this.list.children[i] !== child) this.list.insertBefore(child, this.list.children[i] ?? null);
    });
    while (this.list.children.length > children.length) this.list.lastElementChild?.remove();
  }

  /** @param {T[]} shown */
  measure(shown) {
    for (const item of shown) this.heights.set(item, this.rows.get(item)?.offsetHeight ?? 0);
    this.place();
    this.above.style.height = `${this.offsets[this.first] ?? 0}px`;
    this.below.style.height = `${this.offsets[this.items.length] - (this.offsets[this.last + 1] ?? 0)}px`;
  }

  /** Where each item is. */
  place() {
    const offsets = new Float64Array(this.items.length + 1);
    this.items.forEach((item, i) => (offsets[i + 1] = offsets[i] + (this.heights.get(item) ?? this.estimate(item))));
    this.offsets = offsets;
  }

  /** @param {number} y pixels from the top of the list */
  indexAt(y) {
    return lastStarted(/** @type {any} */ (this.offsets), (/** @type {number} */ offset) => offset, y);
  }

  /** Rows are as high as their text is long: with another width all are other. */
  resized() {
    if (this.list.clientWidth === this.width) return;
    this.width = this.list.clientWidth;
    this.heights = new WeakMap();
    this.place();
    this.draw(true);
  }
}

function spacer() {
  const element = document.createElement("li");
  element.className = "spacer";
  element.setAttribute("aria-hidden", "true");
  return element;
}
