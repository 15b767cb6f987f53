/** Where a border of a segment likes to be: between words, and where silence begins and ends. */

import { LOUDEST, PEAKS } from "./peaks.js";

/** @typedef {import("./types.js").Segment} Segment */

const QUIET = 0.05 * LOUDEST;
const PAUSE = 0.08; // seconds of it, at least

/**
 * The nearest good place within reach.
 * @param {number} time seconds
 * @param {number} reach seconds
 * @param {Segment[]} segments those around it
 * @param {Uint8Array | null} peaks
 * @returns {number} the time itself where nothing is near
 */
export function snap(time, reach, segments, peaks) {
  const borders = segments.flatMap(({ words, start, end }) => [start, end, ...(words ?? []).flatMap((word) => [word.start, word.end])]);
  const places = [...borders, ...(peaks === null ? [] : silenceEdges(peaks, time - reach, time + reach))];
  const distance = (/** @type {number} */ place) => Math.abs(place - time);
  const nearest = places.reduce((best, place) => (distance(place) < distance(best) ? place : best), Infinity);
  return distance(nearest) <= reach ? nearest : time;
}

/**
 * Times at which silence begins or ends.
 * @param {Uint8Array} peaks
 * @param {number} from seconds
 * @param {number} to seconds
 * @returns {number[]}
 */
export function silenceEdges(peaks, from, to) {
  const long = Math.round(PAUSE * PEAKS);
  const first = Math.max(0, Math.floor(from * PEAKS) - long);
  const last = Math.min(peaks.length, Math.ceil(to * PEAKS) + long);
  const edges = [];
  let quietSince = peaks[first] < QUIET ? first : -1;
  for (let i = first; i <= last; i += 1) {
    const quiet = i < last && peaks[i] < QUIET;
    if (quiet && quietSince < 0) quietSince = i;
    if (quiet || quietSince < 0) continue;
    if (i - quietSince >= long) edges.push(quietSince / PEAKS, i / PEAKS);
    quietSince = -1;
  }
  return edges.filter((edge) => edge >= from && edge <= to);
}
