/** A transcript that grows while it is recognised and can be edited afterwards. */

import { retimeWords } from "./words.js";

/** @typedef {import("./types.js").Result} Result */
/** @typedef {import("./types.js").Segment} Segment */

export class Transcript extends EventTarget {
  /** @param {string} name of the recording, without its extension */
  constructor(name) {
    super();
    this.name = name;
    this.language = "";
    this.duration = 0;
    this.finished = false;
    /** @type {Segment[]} */
    this.segments = [];
    /** @type {Segment[]} */
    this.recognised = [];
  }

  /** @param {Segment} segment */
  add(segment) {
    this.segments = [...this.segments, segment];
    this.changed();
  }

  /** @param {Result} result */
  finish(result) {
    this.segments = result.segments;
    this.recognised = result.segments;
    this.language = result.language;
    this.duration = result.duration;
    this.finished = true;
    this.changed();
  }

  /**
   * Give a segment another text; a segment without text goes.
   * @param {Segment} segment one of this transcript's
   * @param {string} typed
   */
  edit(segment, typed) {
    const text = typed.trim();
    if (text === segment.text.trim()) return;
    this.segments = this.segments.flatMap((other) => {
      if (other !== segment) return [other];
      return text === "" ? [] : [edited(segment, text)];
    });
    this.changed();
  }

  /** Undo all edits. */
  revert() {
    this.segments = this.recognised;
    this.changed();
  }

  get isEdited() {
    return this.finished && this.segments !== this.recognised;
  }

  /** @returns {Result} with the edits */
  result() {
    const text = this.segments.map((segment) => segment.text).join("");
    return { text, segments: this.segments, language: this.language, duration: this.duration };
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/**
 * What was measured on the recognised text says nothing about the new one, so it goes.
 * @param {Segment} segment
 * @param {string} text
 * @returns {Segment}
 */
function edited(segment, text) {
  const lead = segment.text.slice(0, segment.text.length - segment.text.trimStart().length);
  const { id, start, end, words } = segment;
  const result = { id, start, end, text: lead + text, edited: true };
  return words ? { ...result, words: retimeWords(segment, lead + text) } : result;
}
