/** What keys and buttons do to the transcript that is open, at the place that is played. */

import { doubtfulTimes } from "./doubts.js";
import { mergeWithNext, retime, speakersOf, splitAtWord, spokenBy, withoutSegment } from "./edits.js";
import { snap } from "./snap.js";
import { askSpeaker } from "./speakers.js";

/** @typedef {import("./player.js").Player} Player */
/** @typedef {import("./transcript_view.js").TranscriptView} TranscriptView */

const REACH = 0.15; // seconds from which a border goes to a word or to silence

export class Commands {
  /** @param {Player} player @param {TranscriptView} view */
  constructor(player, view) {
    this.player = player;
    this.view = view;
    player.waveform.addEventListener("retime", (/** @type {any} */ { detail }) => this.drag(detail.at, detail.edge, detail.time));
  }

  /** The transcript, where it can be edited. */
  get transcript() {
    return this.view.transcript?.finished ? this.view.transcript : null;
  }

  undo() {
    this.transcript?.undo();
  }

  redo() {
    this.transcript?.redo();
  }

  /** Split the segment before the word that is nearest. */
  split() {
    const { segments, current } = this.view;
    const words = segments[current]?.words ?? [];
    const gaps = words.map((word) => Math.abs(word.start - this.player.time));
    this.transcript?.become(splitAtWord(segments, current, gaps.indexOf(Math.min(...gaps))));
  }

  merge() {
    const { segments, current } = this.view;
    if (segments.length > 1) this.transcript?.become(mergeWithNext(segments, Math.max(0, current)));
  }

  remove() {
    const { segments, current } = this.view;
    if (segments[current] !== undefined) this.transcript?.become(withoutSegment(segments, current));
  }

  /** Let the segment, or the next where none is said, begin here. @param {boolean} exactly */
  begin(exactly) {
    const { segments, current } = this.view;
    const at = current >= 0 && this.player.time < segments[current].end ? current : current + 1;
    this.move(at, "start", exactly);
  }

  /** Let the segment that began last end here. @param {boolean} exactly */
  end(exactly) {
    this.move(this.view.current, "end", exactly);
  }

  /** @param {number} at @param {"start" | "end"} edge @param {boolean} exactly */
  move(at, edge, exactly) {
    const { segments } = this.view;
    if (segments[at] === undefined) return;
    const around = segments.slice(Math.max(0, at - 1), at + 2).map((segment) => ({ ...segment, start: NaN, end: NaN })); // its own borders don't hold it
    const { time, waveform } = this.player;
    this.retime(at, edge, exactly ? time : snap(time, REACH, around, waveform.peaks));
  }

  /** Move a border; where two segments meet, that of both. @param {number} at @param {"start" | "end"} edge @param {number} time */
  drag(at, edge, time) {
    const { segments } = this.view;
    const first = edge === "start" ? at - 1 : at;
    const [before, after] = [segments[first], segments[first + 1]];
    if (before === undefined || after === undefined || before.end !== after.start) return this.retime(at, edge, time);
    const moved = retime(segments, first + 1, "start", time, this.player.duration);
    this.transcript?.become(retime(moved, first, "end", moved[first + 1].start, this.player.duration));
  }

  /** @param {number} at @param {"start" | "end"} edge @param {number} time */
  retime(at, edge, time) {
    if (this.view.segments[at] === undefined) return;
    this.transcript?.become(retime(this.view.segments, at, edge, time, this.player.duration));
  }

  askSpeaker() {
    const segment = this.view.segments[Math.max(0, this.view.current)];
    if (segment !== undefined && this.transcript !== null) askSpeaker(this.transcript, segment);
  }

  /** Say that a speaker speaks here. @param {number} number from 1, of those that there are; one more is new */
  speaker(number) {
    const { segments } = this.view;
    const at = Math.max(0, this.view.current);
    const known = speakersOf(segments);
    if (segments[at] === undefined || number > known.length + 1) return;
    this.transcript?.become(spokenBy(segments, at, known[number - 1] ?? newSpeaker(known), false));
  }

  /** @param {1 | -1} direction */
  doubt(direction) {
    this.view.goToNeighbour(doubtfulTimes(this.view.segments), direction);
  }
}

/** A name that is none of those. @param {string[]} known */
function newSpeaker(known) {
  let number = known.length + 1;
  while (known.includes(`Speaker ${number}`)) number += 1;
  return `Speaker ${number}`;
}
