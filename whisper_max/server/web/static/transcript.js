/** A transcript that grows while it is recognised and can be edited afterwards, step by step, back and forth. */

import { edited } from "./edits.js";

/** @typedef {import("./types.js").Result} Result */
/** @typedef {import("./types.js").Saved} Saved */
/** @typedef {import("./types.js").Segment} Segment */
/** @typedef {import("./types.js").Step} Step */

const STEPS = 1000; // that can be undone
const TOGETHER = 50; // milliseconds in which segments that come are gathered: thousands may come at once

/** Tells `change` when its segments did, and `edit` besides when a person made the change. */
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
    /** @type {Step[]} */
    this.steps = [];
    this.done = 0; // how many of the steps hold
    /** @type {Segment[]} that have come and are not seen yet */
    this.incoming = [];
    /** @type {number | undefined} */
    this.timer = undefined;
  }

  /** @param {Segment} segment */
  add(segment) {
    this.incoming.push(segment);
    this.timer ??= setTimeout(() => this.flush(), TOGETHER);
  }

  /** Let those that have come be seen. */
  flush() {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.incoming.length === 0) return;
    this.segments = [...this.segments, ...this.incoming];
    this.incoming = [];
    this.changed();
  }

  /** Begin anew, where none of it is finished. */
  clear() {
    this.flush();
    this.segments = [];
  }

  /**
   * Take the whole transcript; one that was there before it comes back with `undo`.
   * @param {Result} result
   */
  finish(result) {
    this.flush();
    const before = this.finished ? this.segments : result.segments;
    this.recognised = result.segments;
    this.language = result.language;
    this.duration = result.duration;
    this.finished = true;
    this.segments = before;
    if (before === result.segments) this.changed();
    else this.become(result.segments);
  }

  /**
   * Give a segment another text; a segment without text goes.
   * @param {Segment} segment one of this transcript's
   * @param {string} typed
   */
  edit(segment, typed) {
    const text = typed.trim();
    const at = this.segments.indexOf(segment);
    if (at < 0 || text === segment.text.trim()) return;
    this.become(this.segments.toSpliced(at, 1, ...(text === "" ? [] : [edited(segment, text)])));
  }

  /**
   * Have other segments, as one step.
   * @param {Segment[]} segments shares those that stay
   */
  become(segments) {
    const step = difference(this.segments, segments);
    if (step === null) return;
    this.steps = [...this.steps.slice(0, this.done), step].slice(-STEPS);
    this.done = this.steps.length;
    this.segments = segments;
    this.changed(true);
  }

  undo() {
    if (!this.canUndo) return;
    const { at, removed, added } = this.steps[--this.done];
    this.segments = this.segments.toSpliced(at, added.length, ...removed);
    this.changed(true);
  }

  redo() {
    if (!this.canRedo) return;
    const { at, removed, added } = this.steps[this.done++];
    this.segments = this.segments.toSpliced(at, removed.length, ...added);
    this.changed(true);
  }

  /** Undo all edits, which is a step too. */
  revert() {
    this.become(this.recognised);
  }

  get canUndo() {
    return this.done > 0;
  }

  get canRedo() {
    return this.done < this.steps.length;
  }

  get isEdited() {
    return this.finished && difference(this.recognised, this.segments) !== null;
  }

  /** @returns {Result} with the edits, its segments numbered from 0 */
  result() {
    const segments = this.segments.map((segment, id) => (segment.id === id ? segment : { ...segment, id }));
    const text = segments.map((segment) => segment.text).join("");
    return { text, segments, language: this.language, duration: this.duration };
  }

  /** @returns {Omit<Saved, "id" | "revision">} */
  saved() {
    const { segments, recognised, steps, done, language, duration, finished } = this;
    return { segments, recognised, steps, done, language, duration, finished };
  }

  /** Be as it was saved. @param {Saved} saved */
  restore({ segments, recognised, steps, done, language, duration, finished }) {
    Object.assign(this, { segments, recognised, steps, done, language, duration, finished });
    this.changed();
  }

  /** @param {boolean} [byHand] */
  changed(byHand = false) {
    this.dispatchEvent(new Event("change"));
    if (byHand) this.dispatchEvent(new Event("edit"));
  }
}

/**
 * What turns one list of segments into another, by what they share at their beginnings and ends.
 * @param {Segment[]} before
 * @param {Segment[]} after
 * @returns {Step | null} null where they are the same
 */
function difference(before, after) {
  const shorter = Math.min(before.length, after.length);
  let at = 0;
  while (at < shorter && before[at] === after[at]) at += 1;
  if (at === before.length && at === after.length) return null;
  let rest = 0;
  while (rest < shorter - at && before[before.length - 1 - rest] === after[after.length - 1 - rest]) rest += 1;
  return { at, removed: before.slice(at, before.length - rest), added: after.slice(at, after.length - rest) };
}
