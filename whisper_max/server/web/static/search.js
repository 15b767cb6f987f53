/** Search and replace in the transcript. */

import { byId } from "./dom.js";
import { edited } from "./edits.js";

/** @typedef {import("./transcript_view.js").TranscriptView} TranscriptView */
/** @typedef {import("./types.js").Segment} Segment */
/** @typedef {{text: string, matchCase: boolean, wholeWords: boolean}} Query */
/** @typedef {{at: number, from: number, to: number}} Match a place in a segment's text */

/**
 * @param {Query} query
 * @returns {RegExp | null} null where nothing is searched for
 */
export function pattern({ text, matchCase, wholeWords }) {
  if (text === "") return null;
  const plain = text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const bounded = wholeWords ? `(?<![\\p{L}\\p{N}_])${plain}(?![\\p{L}\\p{N}_])` : plain;
  return new RegExp(bounded, matchCase ? "gu" : "giu");
}

/** @param {Segment[]} segments @param {RegExp} wanted @returns {Match[]} */
export function findAll(segments, wanted) {
  return segments.flatMap(({ text }, at) =>
    [...text.matchAll(wanted)].map((match) => ({ at, from: match.index, to: match.index + match[0].length })),
  );
}

/**
 * Replace places by a text, as it is.
 * @param {Segment[]} segments
 * @param {Match[]} matches in order
 * @param {string} by
 * @returns {Segment[]} without those that have no text left
 */
export function replace(segments, matches, by) {
  /** @type {Map<number, string>} */
  const texts = new Map();
  for (const { at, from, to } of [...matches].reverse()) {
    const text = texts.get(at) ?? segments[at].text;
    texts.set(at, text.slice(0, from) + by + text.slice(to));
  }
  return segments.flatMap((segment, at) => {
    const text = texts.get(at);
    if (text === undefined || text === segment.text) return [segment];
    return text.trim() === "" ? [] : [edited(segment, text)];
  });
}

/** The words that a place in the text touches; -1 where the segment has none. @param {Segment} segment @param {Match} match */
function wordsAt({ words }, { from, to }) {
  if (!words?.length) return [-1];
  let end = 0;
  return words.flatMap(({ word }, i) => {
    const start = end;
    end += word.length;
    return start < to && end > from && start + word.length - word.trimStart().length < to ? [i] : [];
  });
}

export class Search {
  /** @param {TranscriptView} view */
  constructor(view) {
    this.view = view;
    /** @type {Match[]} */
    this.matches = [];
    this.place = -1; // of the match that is shown
    this.panel = byId("search");
    for (const id of ["search-text", "search-case", "search-words"]) byId(id).addEventListener("input", () => this.find());
    byId("search-next").addEventListener("click", () => this.step(1));
    byId("search-previous").addEventListener("click", () => this.step(-1));
    byId("replace-one").addEventListener("click", () => this.replaceOne());
    byId("replace-all").addEventListener("click", () => this.replaceAll());
    byId("search-close").addEventListener("click", () => this.close());
    byId("search-button").addEventListener("click", () => (this.panel.hidden ? this.open() : this.close()));
    this.panel.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.key(event));
    this.panel.addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
  }

  open() {
    if (byId("transcript").hidden) return;
    this.panel.hidden = false;
    byId("search-button").setAttribute("aria-expanded", "true");
    if (this.panel.getBoundingClientRect().bottom > innerHeight) this.panel.scrollIntoView({ block: "nearest" });
    byId("search-text").focus({ preventScroll: true }); // it sticks to the player
    byId("search-text").select();
    this.find();
  }

  close() {
    if (this.panel.hidden) return;
    this.panel.hidden = true;
    byId("search-button").setAttribute("aria-expanded", "false");
    this.matches = [];
    this.view.mark(new Map());
    byId("search-button").focus({ preventScroll: true });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const typing = /** @type {HTMLElement} */ (event.target).matches("input[type=search], input[type=text]");
    if (event.key !== "Escape" && !(event.key === "Enter" && typing)) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "Escape") this.close();
    else this.step(event.shiftKey ? -1 : 1);
  }

  /** Find what is typed, in the transcript as it is now. */
  find() {
    if (this.panel.hidden) return;
    const query = { text: byId("search-text").value, matchCase: byId("search-case").checked, wholeWords: byId("search-words").checked };
    const wanted = pattern(query);
    this.matches = wanted === null ? [] : findAll(this.view.segments, wanted);
    this.place = -1;
    /** @type {Map<Segment, Set<number>>} */
    const hits = new Map();
    for (const match of this.matches) {
      const segment = this.view.segments[match.at];
      hits.set(segment, new Set([...(hits.get(segment) ?? []), ...wordsAt(segment, match)]));
    }
    this.view.mark(hits);
    this.tell();
  }

  /** @param {1 | -1} direction */
  step(direction) {
    const { length } = this.matches;
    if (length > 0) this.show(this.place < 0 ? this.nearest(direction) : (this.place + direction + length) % length);
  }

  /** @param {number} place of a match */
  show(place) {
    this.place = place;
    const match = this.matches[place];
    const segment = this.view.segments[match.at];
    this.view.goTo(segment.words?.[wordsAt(segment, match)[0]]?.start ?? segment.start);
    this.tell();
  }

  /** The first match from here. @param {1 | -1} direction */
  nearest(direction) {
    const at = Math.max(0, this.view.current);
    const after = this.matches.findIndex((match) => match.at >= at);
    if (direction > 0) return Math.max(0, after);
    return (after < 0 ? this.matches.length : after || this.matches.length) - 1;
  }

  /** Replace the match that is shown, and show the next one after it. */
  replaceOne() {
    if (this.place < 0) return this.step(1);
    const { at, from } = this.matches[this.place];
    const end = from + byId("replace-text").value.length;
    this.change([this.matches[this.place]]);
    const next = this.matches.findIndex((match) => match.at > at || (match.at === at && match.from >= end));
    if (this.matches.length > 0) this.show(Math.max(0, next));
  }

  replaceAll() {
    const { length } = this.matches;
    this.change(this.matches);
    byId("search-count").textContent = `${length} replaced`;
  }

  /** @param {Match[]} matches */
  change(matches) {
    const { transcript } = this.view;
    if (!transcript?.finished || matches.length === 0) return;
    transcript.become(replace(transcript.segments, matches, byId("replace-text").value));
    this.find();
  }

  tell() {
    const { length } = this.matches;
    byId("search-count").textContent = byId("search-text").value === "" ? "" : this.place < 0 ? `${length} found` : `${this.place + 1} of ${length}`;
  }
}
