/**
 * A transcript as text in each format, byte for byte what `whisper_max.output` writes with its default layout (json:
 * value for value, since the two languages spell numbers differently).
 */

import { length, round, splitLines, strip } from "./python.js";

/** @typedef {import("./types.js").Result} Result */
/** @typedef {import("./types.js").Segment} Segment */
/** @typedef {import("./types.js").Word} Word */
/** @typedef {{start: number, end: number, text: string}} Cue */

const LIMIT = 1000; // characters in a line of a cue, and words in a cue

/** @type {Readonly<Record<string, {mime: string, title: string, render: (result: Result) => string}>>} */
export const FORMATS = Object.freeze({
  txt: { mime: "text/plain", title: "Plain text", render: renderTxt },
  srt: { mime: "application/x-subrip", title: "Subtitles", render: renderSrt },
  vtt: { mime: "text/vtt", title: "Web captions", render: renderVtt },
  tsv: { mime: "text/tab-separated-values", title: "Table, tabs", render: renderTsv },
  csv: { mime: "text/csv", title: "Table, commas", render: renderCsv },
  lrc: { mime: "text/plain", title: "Lyrics", render: renderLrc },
  json: { mime: "application/json", title: "Everything", render: renderJson },
});

/** @param {Result} result */
function renderTxt(result) {
  return result.segments.map((segment) => `${strip(segment.text)}\n`).join("");
}

/** @param {Result} result */
function renderSrt(result) {
  const stamp = (/** @type {number} */ seconds) => timestamp(seconds, true, ",");
  return cues(result.segments, (text) => text)
    .map((cue, i) => `${i + 1}\n${stamp(cue.start)} --> ${stamp(cue.end)}\n${cue.text}\n\n`)
    .join("");
}

/** @param {Result} result */
function renderVtt(result) {
  const escape = (/** @type {string} */ text) =>
    text.replace(/&(?=#?[\p{L}\p{N}_]+;)/gu, "&amp;").replaceAll("<", "&lt;");
  const body = cues(result.segments, escape).map(
    (cue) => `${timestamp(cue.start)} --> ${timestamp(cue.end)}\n${cue.text}\n\n`,
  );
  return `WEBVTT\n\n${body.join("")}`;
}

/** @param {Result} result */
function renderTsv(result) {
  const rows = result.segments.map((segment) => {
    const text = oneLine(strip(segment.text).replaceAll("\t", " "));
    return `${milliseconds(segment.start)}\t${milliseconds(segment.end)}\t${text}\n`;
  });
  return `start\tend\ttext\n${rows.join("")}`;
}

/** @param {Result} result */
function renderCsv(result) {
  const rows = result.segments.map((segment) => {
    const text = segment.text.replaceAll('"', '""');
    return `${milliseconds(segment.start)},${milliseconds(segment.end)},"${text}"\n`;
  });
  return `start,end,text\n${rows.join("")}`;
}

/** @param {Result} result */
function renderLrc(result) {
  const lines = result.segments.map((segment) => `[${lrcTimestamp(segment.start)}]${oneLine(segment.text)}\n`);
  return `[by:whisper_max]\n${lines.join("")}`;
}

/** @param {Result} result */
function renderJson(result) {
  return JSON.stringify({ text: result.text, segments: result.segments, language: result.language });
}

/**
 * One cue per segment: of its words where there are any, else of its text.
 * @param {Segment[]} segments
 * @param {(text: string) => string} escape
 * @returns {Cue[]}
 */
function cues(segments, escape) {
  if (segments.length === 0) return [];
  if (!segments[0].words) {
    return segments.map(({ start, end, text }) => ({ start, end, text: cueText(escape(strip(text))) }));
  }
  return segments.flatMap((segment) => {
    const words = wordsOf(segment);
    const groups = Array.from({ length: Math.ceil(words.length / LIMIT) }, (_, i) => words.slice(i * LIMIT, (i + 1) * LIMIT));
    return groups.map((group) => cueOfWords(group, escape));
  });
}

/**
 * The segment's words; text for which no words were found counts as one.
 * @param {Segment} segment
 * @returns {Word[]}
 */
function wordsOf(segment) {
  if (segment.words?.length || strip(segment.text) === "") return segment.words ?? [];
  return [{ word: segment.text, start: segment.start, end: segment.end }];
}

/**
 * @param {Word[]} words
 * @param {(text: string) => string} escape
 * @returns {Cue}
 */
function cueOfWords(words, escape) {
  let text = "";
  let lineLength = 0;
  for (const { word } of words) {
    if (lineLength > 0 && lineLength <= LIMIT - length(word)) {
      text += escape(word);
      lineLength += length(word);
      continue;
    }
    const first = strip(word);
    text += (lineLength > 0 ? "\n" : "") + escape(first);
    lineLength = length(first);
  }
  return { start: words[0].start, end: words[words.length - 1].end, text: cueText(text) };
}

/** Without what ends or splits a cue. @param {string} text */
function cueText(text) {
  return splitLines(text.replace(/-{2,}>/g, "->"))
    .filter((line) => strip(line) !== "")
    .join("\n");
}

/** @param {string} text */
const oneLine = (text) => splitLines(text).join(" ");

/** @param {number} seconds */
const milliseconds = (seconds) => round(seconds * 1000);

/**
 * `MM:SS.mmm`, with `HH:` before it from one hour on or when asked for.
 * @param {number} seconds
 * @param {boolean} [alwaysHours]
 * @param {string} [marker]
 * @returns {string}
 */
export function timestamp(seconds, alwaysHours = false, marker = ".") {
  const ms = milliseconds(seconds);
  const hours = Math.floor(ms / 3_600_000);
  const head = alwaysHours || hours > 0 ? `${pad(hours, 2)}:` : "";
  return `${head}${pad(Math.floor(ms / 60_000) % 60, 2)}:${pad(Math.floor(ms / 1000) % 60, 2)}${marker}${pad(ms % 1000, 3)}`;
}

/** @param {number} seconds */
function lrcTimestamp(seconds) {
  const ms = milliseconds(seconds);
  return `${pad(Math.floor(ms / 60_000), 2)}:${pad(Math.floor(ms / 1000) % 60, 2)}.${pad(Math.floor((ms % 1000) / 10), 2)}`;
}

/** @param {number} value @param {number} width */
const pad = (value, width) => String(value).padStart(width, "0");
