/** Who speaks: a colour for each, and a dialog that gives names. */

import { byId, make } from "./dom.js";
import { speakersOf, spokenBy } from "./edits.js";

/** @typedef {import("./transcript.js").Transcript} Transcript */
/** @typedef {import("./types.js").Segment} Segment */

export const COLOURS = 8;

/** @type {WeakMap<Segment[], Map<string, number>>} */
const KNOWN = new WeakMap();

/**
 * A colour for each speaker, in the order in which they begin.
 * @param {Segment[]} segments
 * @returns {Map<string, number>} from 0 to 7
 */
export function speakerColours(segments) {
  const known = KNOWN.get(segments);
  if (known !== undefined) return known;
  const colours = new Map(speakersOf(segments).map((speaker, i) => [speaker, i % COLOURS]));
  KNOWN.set(segments, colours);
  return colours;
}

/**
 * Ask who speaks in a segment, and change it.
 * @param {Transcript} transcript
 * @param {Segment} segment
 */
export function askSpeaker(transcript, segment) {
  const dialog = byId("speaker-dialog");
  const old = segment.speaker ?? "";
  byId("speaker-name").value = old;
  byId("speaker-names").replaceChildren(...speakersOf(transcript.segments).map((value) => make("option", { value })));
  byId("speaker-everywhere").checked = old !== "";
  byId("speaker-everywhere").disabled = old === "";
  byId("speaker-scope").textContent = old === "" ? "in every segment of this speaker" : `in every segment of ${old}`;
  dialog.querySelector("form").onsubmit = (/** @type {SubmitEvent} */ { submitter }) => {
    if (/** @type {HTMLButtonElement} */ (submitter).value !== "keep") return;
    const at = transcript.segments.indexOf(segment);
    if (at < 0) return;
    transcript.become(spokenBy(transcript.segments, at, byId("speaker-name").value.trim(), byId("speaker-everywhere").checked));
  };
  dialog.showModal();
  byId("speaker-name").select();
}
