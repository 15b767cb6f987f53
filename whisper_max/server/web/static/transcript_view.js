/** The transcript on the page: follows the recording, seeks when a word is clicked, and is edited in place. */

import { byId, clock } from "./dom.js";
import { editRow } from "./editing.js";
import { languageTitle } from "./languages.js";
import { makeRow } from "./rows.js";
import { lastStarted } from "./search_sorted.js";
import { askSpeaker, speakerColours } from "./speakers.js";
import { VirtualList } from "./virtual_list.js";

/** @typedef {import("./player.js").Player} Player */
/** @typedef {import("./transcript.js").Transcript} Transcript */
/** @typedef {import("./types.js").Segment} Segment */

const LETTER = 8; // pixels, about
const LINE = 26;
const ROW = 22; // what a row has besides its lines
const BESIDES = 120; // pixels of a row that are not text

/** @type {Set<number>} */
const NO_HITS = new Set();

export class TranscriptView {
  /** @param {Player} player */
  constructor(player) {
    this.player = player;
    this.list = byId("segments");
    /** @type {Transcript | null} */
    this.transcript = null;
    /** @type {Map<Segment, Set<number>>} words that are searched for; -1: the segment */
    this.hits = new Map();
    /** @type {(() => void) | null} keeps what is being typed */
    this.endEdit = null;
    this.colours = "";
    this.rows = new VirtualList(
      this.list,
      (/** @type {Segment} */ segment) => this.makeRow(segment),
      (segment) => ROW + LINE * Math.ceil((segment.text.length * LETTER) / Math.max(100, this.list.clientWidth - BESIDES)),
      (row) => row.querySelector("textarea") && this.endEdit?.(),
    );
    this.update = () => this.render();
    player.addEventListener("moved", () => this.follow());
    this.list.addEventListener("click", (/** @type {Event} */ event) => this.clicked(event));
    this.list.addEventListener("dblclick", (/** @type {Event} */ event) => this.startEdit(this.segmentOf(event.target)));
  }

  /** @param {Transcript} transcript */
  show(transcript) {
    this.endEdit?.();
    this.transcript?.removeEventListener("change", this.update);
    this.transcript = transcript;
    this.hits = new Map();
    this.rows.clear();
    transcript.addEventListener("change", this.update);
    this.render();
  }

  get segments() {
    return this.transcript?.segments ?? [];
  }

  /** Draw what changed; rows of segments that stayed are left alone. */
  render() {
    const { transcript, segments } = this;
    if (transcript === null) return;
    this.list.classList.toggle("editable", transcript.finished);
    byId("transcript").hidden = segments.length === 0 && !transcript.finished;
    byId("transcript-facts").textContent = facts(transcript);
    byId("undo-button").disabled = !transcript.canUndo;
    byId("redo-button").disabled = !transcript.canRedo;
    byId("revert-button").hidden = !transcript.isEdited;
    const colours = [...speakerColours(segments).keys()].join("\n");
    this.rows.show(segments);
    if (colours !== this.colours) this.rows.refresh(); // who is first has the first colour
    this.colours = colours;
    this.follow();
  }

  /** @param {Map<Segment, Set<number>>} hits */
  mark(hits) {
    this.hits = hits;
    this.rows.refresh();
    this.follow();
  }

  /** @param {Segment} segment */
  makeRow(segment) {
    const colour = segment.speaker === undefined ? undefined : speakerColours(this.segments).get(segment.speaker);
    return makeRow(segment, colour, this.hits.get(segment) ?? NO_HITS);
  }

  /** The segment that began last, be it over; -1 before the first. */
  get current() {
    return lastStarted(this.segments, ({ start }) => start, this.player.time + 0.001);
  }

  /** Mark what is being said now. */
  follow() {
    const { time } = this.player;
    const at = this.current;
    const segment = this.segments[at];
    const spoken = segment !== undefined && time < segment.end ? segment : undefined;
    const row = spoken && this.rows.rows.get(spoken);
    const words = spoken?.words ?? [];
    const index = lastStarted(words, (word) => word.start, time);
    const word = index >= 0 && time < words[index].end ? row?.querySelectorAll(".word")[index] : undefined;
    for (const old of this.list.querySelectorAll(".word.now")) if (old !== word) old.classList.remove("now");
    word?.classList.add("now");
    for (const old of this.list.querySelectorAll("[aria-current]")) if (old !== row) old.removeAttribute("aria-current");
    if (spoken === undefined) return;
    const isNew = row === undefined || !row.hasAttribute("aria-current");
    if (isNew && !this.player.media.paused) this.rows.reveal(at, "auto");
    this.rows.rows.get(spoken)?.setAttribute("aria-current", "true");
  }

  /** Go to a time, and have its segment in sight. @param {number} time */
  goTo(time) {
    this.player.seek(time);
    this.rows.reveal(lastStarted(this.segments, ({ start }) => start, time + 0.001));
    this.follow();
  }

  /**
   * Seek to the beginning of a neighbour.
   * @param {"word" | "segment"} unit
   * @param {1 | -1} direction
   */
  step(unit, direction) {
    const starts = this.segments.flatMap((segment) =>
      unit === "word" && segment.words?.length ? segment.words.map((word) => word.start) : [segment.start],
    );
    this.goToNeighbour(starts, direction);
  }

  /** @param {number[]} times sorted @param {1 | -1} direction @returns {boolean} whether there is one */
  goToNeighbour(times, direction) {
    const now = this.player.time;
    const target = direction > 0 ? times.find((time) => time > now + 0.01) : times.findLast((time) => time < now - 0.01);
    if (target === undefined) return false;
    this.goTo(target);
    return true;
  }

  /** Edit what is being said now, or else the first segment. */
  editCurrent() {
    this.startEdit(this.segments[Math.max(0, this.current)]);
  }

  /** @param {Event} event */
  clicked(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const segment = this.segmentOf(target);
    if (segment === undefined || target.closest("textarea")) return;
    if (target.closest(".edit-button")) return this.startEdit(segment);
    if (target.closest(".speaker") && this.transcript?.finished) return askSpeaker(this.transcript, segment);
    const word = target.closest(".word");
    if (word) this.player.seek(Number(/** @type {HTMLElement} */ (word).dataset.start));
    else if (target.closest(".segment-time")) this.player.seek(segment.start);
  }

  /** @param {EventTarget | null} target */
  segmentOf(target) {
    const element = /** @type {HTMLElement} */ (target).closest("li");
    return [...this.rows.rows].find(([, row]) => row === element)?.[0];
  }

  /** @param {Segment | undefined} segment */
  startEdit(segment) {
    const { transcript } = this;
    if (segment === undefined || !transcript?.finished) return;
    const at = this.segments.indexOf(segment);
    this.rows.reveal(at);
    const row = this.rows.rows.get(segment);
    if (row === undefined || row.querySelector("textarea")) return;
    this.player.pause();
    this.endEdit = editRow(row, segment, transcript, (refocus) => {
      this.endEdit = null;
      if (refocus) this.rows.rows.get(this.segments[Math.min(at, this.segments.length - 1)])?.querySelector("button")?.focus();
    });
  }
}

/** @type {WeakMap<Segment, number>} */
const COUNTS = new WeakMap();

/** Words of a segment. @param {Segment} segment */
function count(segment) {
  const known = COUNTS.get(segment) ?? segment.text.match(/\S+/g)?.length ?? 0;
  COUNTS.set(segment, known);
  return known;
}

/** @param {Segment[]} segments */
export const countWords = (segments) => segments.reduce((sum, segment) => sum + count(segment), 0);

/** @param {Transcript} transcript */
function facts({ segments, language, duration, finished }) {
  if (finished && segments.length === 0) return "No speech was found.";
  const words = countWords(segments);
  const parts = [`${words} word${words === 1 ? "" : "s"}`];
  if (duration > 0) parts.push(clock(duration));
  if (language !== "") parts.push(languageTitle(language));
  return parts.join(" · ");
}
