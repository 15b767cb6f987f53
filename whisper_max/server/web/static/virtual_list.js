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
    for (const event of ["scroll", "resize"]) addEventListener(event, () => this.scrolled(), { passive: true });
    new ResizeObserver(() => this.resized()).observe(list);
    new ResizeObserver(() => this.scrolled()).observe(document.body); // what is above the list moves it, too
  }

  /** @param {T[]} items */
  show(items) {
    const [anchor, place] = this.anchor();
    this.items = items;
    this.place();
    this.draw(anchor, place);
  }

  clear() {
    this.rows.clear();
    this.list.replaceChildren();
  }

  /** Make the rows anew. */
  refresh() {
    const [anchor, place] = this.anchor();
    for (const row of this.rows.values()) this.leave(row);
    this.rows.clear();
    this.draw(anchor, place);
  }

  /** Bring an item's row into the document and into sight. @param {number} index @param {ScrollBehavior} [behavior] */
  reveal(index, behavior = "instant") {
    const item = this.items[index];
    if (item === undefined) return;
    if (!this.rows.has(item)) {
      scrollBy({ top: this.placeOf(index) - innerHeight / 2, behavior: "instant" });
      this.draw(item, this.placeOf(index));
    }
    this.rows.get(item)?.scrollIntoView({ block: "nearest", behavior });
  }

  /** Have the rows in the document that the window may show now. */
  scrolled() {
    const { first, last } = this.range();
    if (first !== this.first || last !== this.last) this.draw(...this.anchor());
  }

  /** The item at the top of the window, if one is, and where it is. @returns {[T | undefined, number]} */
  anchor() {
    const index = this.indexAt(-this.top);
    return [this.items[index], this.placeOf(index)];
  }

  /**
   * Draw what is near the window. Rows are measured as they come, and others than estimated move all that is below them:
   * one item stays where it is, and what is in sight with it.
   * @param {T | undefined} anchor
   * @param {number} place of the anchor, pixels from the top of the window
   */
  draw(anchor, place) {
    const { first, last } = this.range();
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
    const index = anchor === undefined ? -1 : this.items.indexOf(anchor);
    if (index >= 0) scrollBy({ top: this.placeOf(index) - place, behavior: "instant" });
  }

  /** Pixels from the top of the window to that of the list. */
  get top() {
    return this.list.getBoundingClientRect().top;
  }

  /** Pixels from the top of the window to an item. @param {number} index */
  placeOf(index) {
    return this.top + this.offsets[Math.max(0, index)];
  }

  /** The items near the window. */
  range() {
    const first = Math.max(0, this.indexAt(-this.top - MARGIN));
    const last = Math.min(this.items.length - 1, this.indexAt(-this.top + innerHeight + MARGIN));
    return { first, last };
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
    const [anchor, place] = this.anchor();
    this.width = this.list.clientWidth;
    this.heights = new WeakMap();
    this.place();
    this.draw(anchor, place);
  }
}

function spacer() {
  const element = document.createElement("li");
  element.className = "spacer";
  element.setAttribute("aria-hidden", "true");
  return element;
}
