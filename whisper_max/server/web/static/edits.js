/** Changes of segments as plain functions: each makes new ones and leaves the old. Ids are given anew on the way out. */

import { retimeWords } from "./words.js";

/** @typedef {import("./types.js").Segment} Segment */
/** @typedef {import("./types.js").Word} Word */

export const SHORTEST = 0.02; // seconds of a segment whose times are moved

/**
 * A segment with another text. What was measured on the recognised one says nothing about it, so it goes.
 * @param {Segment} segment
 * @param {string} text
 * @returns {Segment}
 */
export function edited(segment, text) {
  const whole = lead(segment) + text.trim();
  return { ...kept(segment), text: whole, ...(segment.words ? { words: retimeWords(segment, whole) } : {}) };
}

/**
 * Split a segment where a word of it begins.
 * @param {Segment[]} segments
 * @param {number} at which segment
 * @param {number} word the first of the second part, from 1
 * @returns {Segment[]} the same list where there is nothing to split
 */
export function splitAtWord(segments, at, word) {
  const segment = segments[at];
  const words = segment?.words ?? [];
  if (word <= 0 || word >= words.length) return segments;
  const part = (/** @type {Word[]} */ own, /** @type {number} */ start, /** @type {number} */ end) => ({
    ...kept(segment),
    start,
    end: Math.max(start, end),
    text: own.map((each) => each.word).join(""),
    words: own,
  });
  const first = part(words.slice(0, word), segment.start, words[word - 1].end);
  const second = part(words.slice(word), words[word].start, segment.end);
  return segments.toSpliced(at, 1, first, second);
}

/**
 * Split a segment at a place of its text, as typed; a segment without words is split in proportion to its letters.
 * @param {Segment[]} segments
 * @param {number} at which segment
 * @param {string} before
 * @param {string} after
 * @returns {Segment[]}
 */
export function splitAtText(segments, at, before, after) {
  const [first, second] = [before.trim(), after.trim()];
  if (first === "" || second === "") return segments;
  const joined = `${first}${isSpaced(segments[at]) || /\s$/.test(before) || /^\s/.test(after) ? " " : ""}${second}`;
  const whole = joined === segments[at].text.trim() ? segments[at] : edited(segments[at], joined);
  let letters = 0;
  const border = [...first.replace(/\s/g, "")].length;
  const word = (whole.words ?? []).findIndex((each) => (letters += [...each.word.replace(/\s/g, "")].length) > border);
  if (word > 0) return splitAtWord(segments.toSpliced(at, 1, whole), at, word);
  const middle = whole.start + ((whole.end - whole.start) * first.length) / joined.length;
  const part = (/** @type {string} */ text, /** @type {number} */ start, /** @type {number} */ end) => {
    const { words: _, ...rest } = kept(whole);
    return { ...rest, text: lead(whole) + text, start, end };
  };
  return segments.toSpliced(at, 1, part(first, whole.start, middle), part(second, middle, whole.end));
}

/**
 * Make one segment of it and the next.
 * @param {Segment[]} segments
 * @param {number} at the first of the two
 * @returns {Segment[]} the same list where there is no next
 */
export function mergeWithNext(segments, at) {
  const [first, second] = segments.slice(at, at + 2);
  if (second === undefined) return segments;
  const gap = /^\s/.test(second.text) || !isSpaced(first) ? "" : " ";
  const merged = { ...kept(first), end: Math.max(first.end, second.end), text: first.text + gap + second.text };
  const words = first.words && second.words ? { words: [...first.words, ...second.words] } : {};
  const { words: _, ...plain } = merged;
  return segments.toSpliced(at, 2, { ...plain, ...words });
}

/**
 * Move the start or the end of a segment; its words stay within it, and its neighbours beside it.
 * @param {Segment[]} segments
 * @param {number} at which segment
 * @param {"start" | "end"} edge
 * @param {number} time seconds
 * @param {number} duration of the recording
 * @returns {Segment[]}
 */
export function retime(segments, at, edge, time, duration) {
  const segment = segments[at];
  const before = segments[at - 1];
  const after = segments[at + 1];
  const least = edge === "start" ? (before ? before.start + SHORTEST : 0) : segment.start + SHORTEST;
  const most = edge === "start" ? segment.end - SHORTEST : after ? after.end - SHORTEST : Math.max(duration, segment.end);
  if (least > most) return segments;
  const moved = hundredths(Math.min(Math.max(time, least), most));
  if (moved === segment[edge]) return segments;
  const changed = [within({ ...segment, [edge]: moved, edited: true })];
  let from = at;
  if (edge === "start" && before && before.end > moved) changed.unshift(within({ ...before, end: moved, edited: true })), (from -= 1);
  if (edge === "end" && after && after.start < moved) changed.push(within({ ...after, start: moved, edited: true }));
  return segments.toSpliced(from, changed.length, ...changed);
}

/** A segment whose words are inside of its times. @param {Segment} segment @returns {Segment} */
function within(segment) {
  const { start, end, words } = segment;
  if (!words) return segment;
  const inside = (/** @type {number} */ time) => Math.min(Math.max(time, start), end);
  return { ...segment, words: words.map((word) => ({ ...word, start: inside(word.start), end: inside(word.end) })) };
}

/** @param {Segment[]} segments @param {number} at */
export const withoutSegment = (segments, at) => segments.toSpliced(at, 1);

/**
 * Say who speaks: in one segment, or in all of a speaker's.
 * @param {Segment[]} segments
 * @param {number} at which segment
 * @param {string} name empty: nobody is known
 * @param {boolean} everywhere
 * @returns {Segment[]}
 */
export function spokenBy(segments, at, name, everywhere) {
  const old = segments[at].speaker;
  const speaker = name === "" ? {} : { speaker: name };
  return segments.map((segment, i) => {
    const isMeant = (/** @type {string | undefined} */ other) => (i === at && other === undefined) || ((i === at || (everywhere && old !== undefined)) && other === old);
    const words = segment.words?.map((word) => (isMeant(word.speaker) && (word.speaker ?? "") !== name ? { ...without(word), ...speaker } : word));
    const changed = isMeant(segment.speaker) && (segment.speaker ?? "") !== name;
    if (!changed && (words ?? []).every((word, k) => word === segment.words?.[k])) return segment;
    return { ...(changed ? { ...without(segment), ...speaker } : segment), ...(words ? { words } : {}) };
  });
}

/** Said by nobody that is known. @template {{speaker?: string}} T @param {T} said @returns {Omit<T, "speaker">} */
function without({ speaker: _, ...rest }) {
  return rest;
}

/** @param {Segment[]} segments @returns {string[]} in their order */
export const speakersOf = (segments) => [...new Set(segments.flatMap(({ speaker }) => (speaker ? [speaker] : [])))];

/** What stays true of a segment that is edited. @param {Segment} segment @returns {Segment} */
function kept({ id, start, end, text, words, speaker }) {
  return { id, start, end, text, edited: true, ...(words ? { words } : {}), ...(speaker === undefined ? {} : { speaker }) };
}

/** @param {Segment} segment */
const lead = ({ text }) => text.slice(0, text.length - text.trimStart().length);

/** Whether its words have spaces between them. @param {Segment} segment */
const isSpaced = ({ text, words }) => /\S\s+\S/.test(text) || (words ?? []).length < 2;

/** @param {number} seconds */
const hundredths = (seconds) => Math.round(seconds * 100) / 100;
