/** Times anew for a text that was edited: the server listens for it in the recording. */

import { align } from "./api.js";
import { cueText } from "./cues.js";
import { PageError } from "./errors.js";
import { escapeVtt } from "./formats.js";

/** @typedef {import("./recording.js").Recording} Recording */
/** @typedef {import("./types.js").Segment} Segment */

const NO_TIME = "00:00.000 --> 00:00.000";
const NOT_TAKEN = ["channels", "speakers"]; // settings; who speaks is known by now

/** Whether there is an edited text, and a recording that says it. @param {Recording} recording */
export const canBeAligned = ({ entry, transcript: { segments, finished } }) =>
  finished && entry.size > 0 && entry.settings.task !== "translate" && segments.some(({ edited }) => edited);

/**
 * Give edited segments the times at which the recording says them, as one step.
 * @param {Recording} recording
 * @param {Promise<Blob>} file
 */
export async function alignAgain(recording, file) {
  const { entry, transcript } = recording;
  const sent = transcript.segments.filter(({ text }) => text.trim() !== "");
  const abort = new AbortController();
  recording.aligns({ share: 0, cancel: () => abort.abort() });
  const progressed = (/** @type {number} */ share) => recording.aligns({ share, cancel: () => abort.abort() });
  /** @type {Segment[]} */
  const timed = [];
  try {
    await align(await file, entry.name, settingsOf(recording), textOf(sent), {
      onUpload: () => {},
      onProgress: (done, total) => total > 0 && progressed(done / total),
      onSegment: (segment) => void timed.push(segment),
      signal: abort.signal,
    });
  } finally {
    recording.aligns(null);
  }
  if (timed.length !== sent.length) throw new PageError("The server has timed another text.", "Edit the text and try again.");
  transcript.become(retimed(transcript.segments, new Map(sent.map((segment, i) => [segment, timed[i]]))));
}

/** @param {Recording} recording @returns {import("./types.js").Settings} */
function settingsOf({ entry: { settings }, transcript }) {
  const more = Object.entries(settings.more ?? {}).filter(([name]) => !NOT_TAKEN.includes(name));
  return { ...settings, language: transcript.language || settings.language, more: Object.fromEntries(more) };
}

/** A cue for each segment. @param {Segment[]} segments */
const textOf = (segments) => `WEBVTT\n\n${segments.map(({ text }) => `${NO_TIME}\n${cueText(escapeVtt(text.trim()))}\n\n`).join("")}`;

/**
 * Segments whose edited ones have other times; those that were changed since have not.
 * @param {Segment[]} segments
 * @param {Map<Segment, Segment>} timed each that was sent, as it was timed
 * @returns {Segment[]} in the same order
 */
export function retimed(segments, timed) {
  let earliest = 0;
  return segments.map((segment) => {
    const found = segment.edited ? timed.get(segment) : undefined;
    const after = (/** @type {number} */ time) => Math.max(time, earliest);
    const result = found === undefined ? segment : { ...segment, start: after(found.start), end: after(found.end), words: wordsOf(segment, found, after) };
    earliest = Math.max(earliest, result.start);
    return result;
  });
}

/** @param {Segment} segment @param {Segment} found @param {(time: number) => number} after @returns {import("./types.js").Word[]} */
function wordsOf({ text, speaker }, { words = [] }, after) {
  const lead = text.slice(0, text.length - text.trimStart().length);
  return words.map((word, i) => ({
    ...word,
    word: i === 0 ? lead + word.word.trimStart() : word.word,
    start: after(word.start),
    end: after(word.end),
    ...(speaker === undefined ? {} : { speaker }),
  }));
}
