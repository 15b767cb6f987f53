/**
 * A transcript as text in each format, byte for byte what `whisper_max.output` writes with its default layout (json:
 * value for value, since the two languages spell numbers differently).
 */

import { renderAss } from "./ass.js";
import { cueText, cues, milliseconds, pad, timestamp } from "./cues.js";
import { oneSpaced, splitLines, strip } from "./python.js";
import { label, voice } from "./voices.js";

/** @typedef {import("./types.js").Result} Result */

/** @type {Readonly<Record<string, {mime: string, title: string, render: (result: Result) => string}>>} */
export const FORMATS = Object.freeze({
  txt: { mime: "text/plain", title: "Plain text", render: renderTxt },
  srt: { mime: "application/x-subrip", title: "Subtitles", render: renderSrt },
  vtt: { mime: "text/vtt", title: "Web captions", render: renderVtt },
  tsv: { mime: "text/tab-separated-values", title: "Table, tabs", render: renderTsv },
  csv: { mime: "text/csv", title: "Table, commas", render: renderCsv },
  lrc: { mime: "text/plain", title: "Lyrics", render: renderLrc },
  ass: { mime: "text/x-ssa", title: "Styled subtitles", render: renderAss },
  json: { mime: "application/json", title: "Everything", render: renderJson },
});

/** @param {Result} result */
function renderTxt(result) {
  return result.segments.map((segment) => `${label(segment.speaker)}${strip(segment.text)}\n`).join("");
}

/** @param {Result} result */
function renderSrt(result) {
  const stamp = (/** @type {number} */ seconds) => timestamp(seconds, true, ",");
  return cues(result, (text) => text)
    .map((cue, i) => `${i + 1}\n${stamp(cue.start)} --> ${stamp(cue.end)}\n${cueText(label(cue.speaker))}${cue.text}\n\n`)
    .join("");
}

/** Text that is none of WebVTT's tags or entities. @param {string} text */
export const escapeVtt = (text) => text.replace(/&(?=#?[\p{L}\p{N}_]+;)/gu, "&amp;").replaceAll("<", "&lt;");

/** @param {Result} result */
function renderVtt(result) {
  const body = cues(result, escapeVtt).map(
    (cue) => `${timestamp(cue.start)} --> ${timestamp(cue.end)}\n${voice(cue.speaker)}${cue.text}\n\n`,
  );
  return `WEBVTT\n\n${body.join("")}`;
}

/** @param {Result} result */
function renderTsv(result) {
  const apart = toldApart(result);
  const rows = result.segments.map((segment) => {
    const text = oneLine(strip(segment.text).replaceAll("\t", " "));
    const who = apart ? `${oneSpaced(segment.speaker ?? "")}\t` : "";
    return `${milliseconds(segment.start)}\t${milliseconds(segment.end)}\t${who}${text}\n`;
  });
  return `start\tend\t${apart ? "speaker\t" : ""}text\n${rows.join("")}`;
}

/** @param {Result} result */
function renderCsv(result) {
  const apart = toldApart(result);
  const rows = result.segments.map((segment) => {
    const who = apart ? `${quoted(oneSpaced(segment.speaker ?? ""))},` : "";
    return `${milliseconds(segment.start)},${milliseconds(segment.end)},${who}${quoted(segment.text)}\n`;
  });
  return `start,end,${apart ? "speaker," : ""}text\n${rows.join("")}`;
}

/** @param {Result} result */
function renderLrc(result) {
  const spoken = result.segments.filter((segment) => strip(segment.text) !== "");
  const lines = spoken.map(({ start, text, speaker }) => `[${lrcTimestamp(start)}]${labelled(oneLine(text), speaker)}\n`);
  return `[by:whisper_max]\n${lines.join("")}`;
}

/** @param {Result} result */
function renderJson(result) {
  return JSON.stringify({ text: result.text, segments: result.segments, language: result.language });
}

/** Whether it is known of something who says it. @param {Result} result */
const toldApart = (result) => result.segments.some(({ speaker }) => speaker !== undefined);

/** A text as RFC 4180 has it. @param {string} text */
const quoted = (text) => `"${text.replaceAll('"', '""')}"`;

/** A line as it is, or without the space at its start after the name of who says it. @param {string} text @param {string} [speaker] */
const labelled = (text, speaker) => (speaker === undefined ? text : label(speaker) + strip(text));

/** @param {string} text */
const oneLine = (text) => splitLines(text).join(" ");

/** @param {number} seconds */
function lrcTimestamp(seconds) {
  const ms = milliseconds(seconds);
  return `${pad(Math.floor(ms / 60_000), 2)}:${pad(Math.floor(ms / 1000) % 60, 2)}.${pad(Math.floor((ms % 1000) / 10), 2)}`;
}
