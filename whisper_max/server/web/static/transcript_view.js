/** The transcript on the page: follows the recording, seeks when a word is clicked, and is edited in place. */

import { byId, clock, icon, make } from "./dom.js";
import { languageTitle } from "./languages.js";

/** @typedef {import("./player.js").Player} Player */
/** @typedef {import("./transcript.js").Transcript} Transcript */
/** @typedef {import("./types.js").Segment} Segment */
/** @typedef {{segment: Segment, element: HTMLElement, words: HTMLElement[]}} Row */

export class TranscriptView {
  /** @param {Player} player */
  constructor(player) {
    this.player = player;
    this.list = byId("segments");
    /** @type {Transcript | null} */
    this.transcript = null;
    /** @type {Row[]} */
    this.rows = [];
    /** @type {Row | undefined} */
    this.currentRow = undefined;
    /** @type {HTMLElement | undefined} */
    this.currentWord = undefined;
    this.update = () => this.render();
    player.addEventListener("moved", () => this.follow());
    this.list.addEventListener("click", (event) => this.clicked(event));
    this.list.addEventListener("dblclick", (event) => this.startEdit(this.rowOf(event.target)));
  }

  /** @param {Transcript} transcript */
  show(transcript) {
    this.transcript?.removeEventListener("change", this.update);
    this.transcript = transcript;
    this.rows = [];
    this.list.replaceChildren();
    transcript.addEventListener("change", this.update);
    this.render();
  }

  /** Draw what changed; rows of segments that stayed are left alone. */
  render() {
    if (this.transcript === null) return;
    const { segments, finished, isEdited } = this.transcript;
    const old = new Map(this.rows.map((row) => [row.segment, row]));
    this.rows = segments.map((segment) => old.get(segment) ?? makeRow(segment));
    const kept = new Set(this.rows);
    for (const row of old.values()) if (!kept.has(row)) row.element.remove();
    this.rows.forEach((row, i) => {
      if (this.list.children[i] !== row.element) this.list.insertBefore(row.element, this.list.children[i] ?? null);
    });
    this.list.classList.toggle("editable", finished);
    byId("transcript").hidden = segments.length === 0 && !finished;
    byId("transcript-facts").textContent = facts(this.transcript);
    byId("revert-button").hidden = !isEdited;
    this.currentRow = undefined;
    this.currentWord = undefined;
    this.follow();
  }

  /** Mark what is being said now. */
  follow() {
    const time = this.player.time;
    const row = this.player.duration > 0 ? lastStarted(this.rows, ({ segment }) => segment.start, time) : undefined;
    const spoken = row && time < row.segment.end ? row : undefined;
    const words = spoken?.segment.words ?? [];
    const index = lastStartedIndex(words, (word) => word.start, time);
    const word = index >= 0 && time < words[index].end ? spoken?.words[index] : undefined;
    if (word !== this.currentWord) {
      this.currentWord?.classList.remove("now");
      word?.classList.add("now");
      this.currentWord = word;
    }
    if (spoken !== this.currentRow) {
      this.currentRow?.element.removeAttribute("aria-current");
      spoken?.element.setAttribute("aria-current", "true");
      this.currentRow = spoken;
      if (spoken && !this.player.audio.paused) spoken.element.scrollIntoView({ block: "nearest", behavior: "smooth" });
    }
  }

  /**
   * Seek to the beginning of a neighbour.
   * @param {"word" | "segment"} unit
   * @param {1 | -1} direction
   */
  step(unit, direction) {
    const starts = this.rows.flatMap(({ segment }) =>
      unit === "word" && segment.words?.length ? segment.words.map((word) => word.start) : [segment.start],
    );
    const at = lastStartedIndex(starts, (start) => start, this.player.time + 0.01);
    const target = starts[Math.max(0, Math.min(starts.length - 1, at + direction))];
    if (target !== undefined) this.player.seek(target);
  }

  /** Edit what is being said now, or else the first segment. */
  editCurrent() {
    this.startEdit(this.currentRow ?? lastStarted(this.rows, ({ segment }) => segment.start, this.player.time) ?? this.rows[0]);
  }

  /** @param {Event} event */
  clicked(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const row = this.rowOf(target);
    if (row === undefined || target.closest("textarea")) return;
    if (target.closest(".edit-button")) return this.startEdit(row);
    const word = target.closest(".word");
    if (word) this.player.seek(Number(/** @type {HTMLElement} */ (word).dataset.start));
    else if (target.closest(".segment-time")) this.player.seek(row.segment.start);
  }

  /** @param {EventTarget | null} target */
  rowOf(target) {
    const element = /** @type {HTMLElement} */ (target).closest("li");
    return this.rows.find((row) => row.element === element);
  }

  /** @param {Row | undefined} row */
  startEdit(row) {
    if (row === undefined || !this.transcript?.finished || row.element.querySelector("textarea")) return;
    this.player.pause();
    const text = /** @type {HTMLElement} */ (row.element.querySelector(".segment-text"));
    const label = `Text at ${clock(row.segment.start)}`;
    const field = make("textarea", { value: row.segment.text.trim(), rows: 1, ariaLabel: label, spellcheck: true });
    let open = true;
    const end = (/** @type {boolean} */ keep, /** @type {boolean} */ refocus) => {
      if (!open) return; // leaving the page blurs the field
      open = false;
      const place = this.rows.indexOf(row);
      field.replaceWith(text);
      if (keep) this.transcript?.edit(row.segment, field.value);
      if (refocus) this.rows[Math.min(place, this.rows.length - 1)]?.element.querySelector("button")?.focus();
    };
    field.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Escape" || (event.key === "Enter" && !event.shiftKey && !event.isComposing)) {
        event.preventDefault();
        event.stopPropagation();
        end(event.key === "Enter", true);
      }
    });
    field.addEventListener("blur", () => end(true, false));
    field.addEventListener("input", () => fit(field));
    text.replaceWith(field);
    fit(field);
    field.focus();
  }
}

/**
 * @param {Segment} segment
 * @returns {Row}
 */
function makeRow(segment) {
  const time = clock(segment.start);
  const words = (segment.words ?? []).map((word) =>
    make("span", { className: "word", textContent: word.word.trim(), dataset: { start: word.start } }),
  );
  const pieces = words.flatMap((element, i) => [leadingSpace(segment.words?.[i].word), element]);
  const text = make("p", { className: "segment-text" }, ...(words.length > 0 ? pieces : [segment.text.trim()]));
  const element = make(
    "li",
    { className: segment.edited ? "segment edited" : "segment" },
    make("button", { type: "button", className: "segment-time clock", textContent: time, ariaLabel: `Play from ${time}` }),
    text,
    make("button", { type: "button", className: "icon-button edit-button", title: "Edit (E)", ariaLabel: `Edit the text at ${time}` }, icon("edit")),
  );
  return { segment, element, words };
}

/** @param {string} [word] */
const leadingSpace = (word = "") => word.slice(0, word.length - word.trimStart().length);

/** @param {Transcript} transcript */
function facts({ segments, language, duration, finished }) {
  if (finished && segments.length === 0) return "No speech was found.";
  const count = segments.reduce((sum, segment) => sum + (segment.text.match(/\S+/g)?.length ?? 0), 0);
  const parts = [`${count} word${count === 1 ? "" : "s"}`];
  if (duration > 0) parts.push(clock(duration));
  if (language !== "") parts.push(languageTitle(language));
  return parts.join(" · ");
}

/** Make a text field as high as its text. @param {HTMLTextAreaElement} field */
function fit(field) {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + 2}px`;
}

/**
 * @template T
 * @param {T[]} items sorted by start
 * @param {(item: T) => number} start
 * @param {number} time
 * @returns {T | undefined}
 */
function lastStarted(items, start, time) {
  return items[lastStartedIndex(items, start, time)];
}

/**
 * @template T
 * @param {T[]} items sorted by start
 * @param {(item: T) => number} start
 * @param {number} time
 * @returns {number} -1 when none has started
 */
function lastStartedIndex(items, start, time) {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (start(items[middle]) <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
