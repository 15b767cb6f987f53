/** Words and the text they make up. */

/** @typedef {import("./types.js").Segment} Segment */
/** @typedef {import("./types.js").Word} Word */

/**
 * The words of an edited text: those that stayed keep their times; new ones share the time of those they replace, in
 * proportion to their letters, and have no probability.
 * @param {Segment} segment before the edit
 * @param {string} text after it
 * @returns {Word[]}
 */
export function retimeWords(segment, text) {
  const unspaced = isUnspaced(segment.words ?? []);
  const before = (segment.words ?? []).flatMap((word) => (unspaced ? letters(word) : [word]));
  const after = (unspaced ? [...text] : text.match(/\s*\S+/g)) ?? [];
  const kept = commonWords(before.map(({ word }) => word.trim()), after.map((word) => word.trim()));
  /** @type {Word[]} */
  const result = [];
  let i = 0;
  let j = 0;
  for (const [oldIndex, newIndex] of [...kept, [before.length, after.length]]) {
    const start = i < oldIndex ? before[i].start : (result.at(-1)?.end ?? segment.start);
    const end = i < oldIndex ? before[oldIndex - 1].end : (before[oldIndex]?.start ?? segment.end);
    result.push(...spread(after.slice(j, newIndex), start, Math.max(start, end)));
    if (oldIndex < before.length) result.push({ ...before[oldIndex], word: after[newIndex] });
    i = oldIndex + 1;
    j = newIndex + 1;
  }
  return result;
}

/** Whether the language is written without spaces. @param {Word[]} words */
const isUnspaced = (words) => words.length > 1 && words.slice(1).every(({ word }) => !/^\s/.test(word));

/** A word as words of one letter. @param {Word} word */
const letters = ({ word, start, end, ...rest }) => spread([...word], start, end).map((letter) => ({ ...letter, ...rest }));

/**
 * @param {string[]} words
 * @param {number} start
 * @param {number} end
 * @returns {Word[]}
 */
function spread(words, start, end) {
  const total = words.reduce((sum, word) => sum + word.trim().length, 0);
  let done = 0;
  return words.map((word) => {
    const from = start + ((end - start) * done) / total;
    done += word.trim().length;
    return { word, start: hundredths(from), end: hundredths(start + ((end - start) * done) / total) };
  });
}

/** @param {number} seconds */
const hundredths = (seconds) => Math.round(seconds * 100) / 100;

/**
 * The longest common subsequence, as pairs of places.
 * @param {string[]} before
 * @param {string[]} after
 * @returns {[number, number][]}
 */
function commonWords(before, after) {
  const best = Array.from({ length: before.length + 1 }, () => new Uint16Array(after.length + 1));
  for (let i = before.length - 1; i >= 0; i -= 1) {
    for (let j = after.length - 1; j >= 0; j -= 1) {
      best[i][j] = before[i] === after[j] ? best[i + 1][j + 1] + 1 : Math.max(best[i + 1][j], best[i][j + 1]);
    }
  }
  /** @type {[number, number][]} */
  const pairs = [];
  for (let i = 0, j = 0; i < before.length && j < after.length; ) {
    if (before[i] === after[j]) pairs.push([i++, j++]);
    else if (best[i + 1][j] >= best[i][j + 1]) i += 1;
    else j += 1;
  }
  return pairs;
}
