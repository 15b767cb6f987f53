/** What may be wrong: words that the model was unsure of, and segments that the server doubts. */

/** @typedef {import("./types.js").Segment} Segment */
/** @typedef {import("./types.js").Word} Word */

const UNSURE = 0.4; // probability of a word below which it is marked

/** @param {Word} word */
export const isUnsure = ({ probability }) => probability !== undefined && probability < UNSURE;

/**
 * Why a segment is doubted, in words; empty where it is not.
 * @param {Segment} segment
 * @returns {string}
 */
export const doubtText = ({ doubt = [], edited }) => (edited ? "" : doubt.map(({ reason }) => reason).join("; "));

/**
 * Where there is something to look at.
 * @param {Segment[]} segments
 * @returns {number[]} seconds, each once, in order
 */
export function doubtfulTimes(segments) {
  const times = segments.flatMap((segment) => [
    ...(doubtText(segment) === "" ? [] : [segment.start]),
    ...(segment.words ?? []).filter(isUnsure).map(({ start }) => start),
  ]);
  return [...new Set(times)].sort((a, b) => a - b);
}
