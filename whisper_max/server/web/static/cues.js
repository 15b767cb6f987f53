/** From segments to the cues of subtitles, as `whisper_max.output.subtitles` lays them out by default. */

import { length, round, splitLines, strip } from "./python.js";
import { label } from "./voices.js";

/** @typedef {import("./types.js").Result} Result */
/** @typedef {import("./types.js").Segment} Segment */
/** @typedef {import("./types.js").Word} Word */
/** @typedef {{start: number, end: number}} Span */
/** @typedef {{start: number, end: number, text: string, speaker?: string}} Cue */

const LIMIT = 1000; // characters in a line of a cue, and words in a cue
const HEARD = 0.1; // seconds that a cue of words gets where the times give none
const SEEN = 1; // the same for a whole segment

/**
 * One cue per segment, of its words where there are any, else of its text; none is without text or length.
 * @param {Result} result
 * @param {(text: string) => string} escape makes spoken text safe for the format
 * @returns {Cue[]}
 */
export function cues(result, escape) {
  const spoken = result.segments.filter((segment) => strip(segment.text) !== "" || segment.words?.length);
  if (spoken.length === 0) return [];
  const limit = result.duration || Infinity;
  if (!spoken[0].words) {
    const whole = spoken.map(({ start, end, text, speaker }) => ({ start, end, text: cueText(escape(strip(text))), speaker }));
    return withLengths(whole, SEEN, limit);
  }
  const laidOut = spoken.flatMap((segment) => {
    const words = wordsOf(segment);
    const groups = Array.from({ length: Math.ceil(words.length / LIMIT) }, (_, i) => words.slice(i * LIMIT, (i + 1) * LIMIT));
    return groups.flatMap(turns).map((turn) => cueOfWords(turn, escape));
  });
  if (laidOut.some(({ speaker }) => speaker !== undefined)) laidOut.sort((a, b) => a.start - b.start); // speakers may speak over each other
  return withLengths(laidOut, HEARD, limit);
}

/** Words in a row that one speaker says each. @param {Word[]} words @returns {Word[][]} */
function turns(words) {
  const borders = [0, ...words.flatMap(({ speaker }, i) => (i > 0 && speaker !== words[i - 1].speaker ? [i] : [])), words.length];
  return borders.slice(1).map((border, i) => words.slice(borders[i], border));
}

/**
 * The segment's words; text for which no words were found counts as one.
 * @param {Segment} segment
 * @returns {Word[]}
 */
function wordsOf(segment) {
  if (segment.words?.length || strip(segment.text) === "") return segment.words ?? [];
  return [{ word: segment.text, start: segment.start, end: segment.end, speaker: segment.speaker }];
}

/**
 * @param {Word[]} words
 * @param {(text: string) => string} escape
 * @returns {Cue}
 */
function cueOfWords(words, escape) {
  let text = "";
  let lineLength = 0;
  let begun = false;
  const { speaker } = words[0];
  for (const { word } of words) {
    if (lineLength > 0 && lineLength <= LIMIT - length(word)) {
      text += escape(word);
      lineLength += length(word);
      continue;
    }
    const first = strip(word);
    text += (lineLength > 0 ? "\n" : "") + escape(first);
    lineLength = length(first) + (begun ? 0 : length(label(speaker)));
    begun = true;
  }
  return { start: words[0].start, end: words[words.length - 1].end, text: cueText(text), speaker };
}

/** Without what ends or splits a cue. @param {string} text */
export function cueText(text) {
  return splitLines(text.replace(/-{2,}>/g, "->"))
    .filter((line) => strip(line) !== "")
    .join("\n");
}

/**
 * Those with text, each of some length.
 * @param {Cue[]} cues
 * @param {number} wanted
 * @param {number} limit
 * @returns {Cue[]}
 */
function withLengths(cues, wanted, limit) {
  const shown = cues.filter((cue) => cue.text !== "");
  const spans = lengthened(shown, wanted, limit);
  return shown.map((cue, i) => ({ ...cue, ...spans[i] }));
}

/**
 * Spans in order, each of a millisecond or more (`whisper_max.output.lengths`): those without length share the pause
 * after them, then up to half of the next span or, at the end, of the one before.
 * @param {Span[]} given
 * @param {number} wanted seconds for each that has none, where there is room
 * @param {number} limit seconds after which none ends that had no length
 * @returns {Span[]}
 */
function lengthened(given, wanted, limit) {
  const before = given.map(({ start, end }) => ({ start: milliseconds(start), end: milliseconds(end) }));
  const spans = before.map((span) => ({ ...span }));
  const each = milliseconds(wanted);
  let first = 0;
  while (first < spans.length) {
    const crowded = (/** @type {number} */ i) => i === first || spans[i].start < spans[first].start + (i - first) * each;
    let stop = first;
    while (stop < spans.length && !lasts(spans[stop]) && crowded(stop)) stop += 1;
    if (stop > first) spread(spans, first, stop, each, limit * 1000);
    first = Math.max(stop, first + 1);
  }
  const same = (/** @type {number} */ i) => spans[i].start === before[i].start && spans[i].end === before[i].end;
  return given.map(({ start, end }, i) => (same(i) ? { start, end } : { start: spans[i].start / 1000, end: spans[i].end / 1000 }));
}

/** @param {Span} span in milliseconds */
const lasts = ({ start, end }) => end > start;

/**
 * Give spans `first` to `stop`, which have no length, an equal part of what there is, all in whole milliseconds.
 * @param {Span[]} spans
 * @param {number} first
 * @param {number} stop
 * @param {number} wanted
 * @param {number} limit
 */
function spread(spans, first, stop, wanted, limit) {
  const count = stop - first;
  let begin = spans[first].start;
  let end = begin + count * wanted;
  const next = spans[stop];
  const previous = spans[first - 1];
  if (next) {
    if (begin <= next.start && next.start < end) {
      end = Math.min(end, Math.floor((next.start + next.end) / 2));
      next.start = Math.max(next.start, end);
    }
  } else if (previous && lasts(previous) && previous.end <= begin) {
    const middle = Math.ceil((previous.start + previous.end) / 2);
    [begin, end] = [Math.max(begin - (end - begin), middle), begin];
    previous.end = Math.min(previous.end, begin);
  } else if (end > limit) {
    end = Math.floor(limit);
    begin = Math.max(0, Math.min(begin, end - count * wanted));
  }
  const room = Math.max(end - begin, count);
  const border = (/** @type {number} */ number) => begin + Math.floor((room * number) / count);
  for (let i = first; i < stop; i += 1) spans[i] = { start: border(i - first), end: border(i - first + 1) };
}

/** @param {number} seconds */
export const milliseconds = (seconds) => round(seconds * 1000);

/**
 * `MM:SS.mmm`, with `HH:` before it from one hour on or when asked for.
 * @param {number} seconds
 * @param {boolean} [alwaysHours]
 * @param {string} [marker]
 * @returns {string}
 */
export function timestamp(seconds, alwaysHours = false, marker = ".") {
  const ms = milliseconds(seconds);
  const hours = Math.floor(ms / 3_600_000);
  const head = alwaysHours || hours > 0 ? `${pad(hours, 2)}:` : "";
  return `${head}${pad(Math.floor(ms / 60_000) % 60, 2)}:${pad(Math.floor(ms / 1000) % 60, 2)}${marker}${pad(ms % 1000, 3)}`;
}

/** @param {number} value @param {number} width */
export const pad = (value, width) => String(value).padStart(width, "0");
