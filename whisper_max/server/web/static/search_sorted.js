/** Looking things up in what is sorted by time. */

/**
 * @template T
 * @param {T[]} items sorted by start
 * @param {(item: T) => number} start
 * @param {number} time
 * @returns {number} of the last that has started; -1 when none has
 */
export function lastStarted(items, start, time) {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (start(items[middle]) <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
