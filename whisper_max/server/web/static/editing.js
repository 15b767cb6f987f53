/** Editing the text of a segment in its row. */

import { clock, make } from "./dom.js";
import { splitAtText } from "./edits.js";

/** @typedef {import("./transcript.js").Transcript} Transcript */
/** @typedef {import("./types.js").Segment} Segment */

/**
 * Put a text field where the text of a row is.
 * @param {HTMLElement} row
 * @param {Segment} segment
 * @param {Transcript} transcript
 * @param {(refocus: boolean) => void} onEnd
 * @returns {() => void} keeps what was typed, and ends
 */
export function editRow(row, segment, transcript, onEnd) {
  const text = /** @type {HTMLElement} */ (row.querySelector(".segment-text"));
  const label = `Text at ${clock(segment.start)}`;
  const field = make("textarea", { value: segment.text.trim(), rows: 1, dir: "auto", ariaLabel: label, spellcheck: true });
  let open = true;
  const end = (/** @type {() => void} */ act, /** @type {boolean} */ refocus) => {
    if (!open) return; // leaving the page blurs the field
    open = false;
    field.replaceWith(text);
    act();
    onEnd(refocus);
  };
  const keep = () => transcript.edit(segment, field.value);
  const split = () => {
    const at = transcript.segments.indexOf(segment);
    const caret = field.selectionStart;
    if (at >= 0) transcript.become(splitAtText(transcript.segments, at, field.value.slice(0, caret), field.value.slice(caret)));
  };
  field.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const enter = event.key === "Enter" && !event.shiftKey && !event.isComposing;
    if (event.key !== "Escape" && !enter) return;
    event.preventDefault();
    event.stopPropagation();
    if (enter) end(event.ctrlKey || event.metaKey ? split : keep, true);
    else end(() => {}, true);
  });
  field.addEventListener("blur", () => end(keep, false));
  field.addEventListener("input", () => fit(field));
  text.replaceWith(field);
  fit(field);
  field.focus();
  return () => end(keep, false);
}

/** Make a text field as high as its text. @param {HTMLTextAreaElement} field */
function fit(field) {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + 2}px`;
}
