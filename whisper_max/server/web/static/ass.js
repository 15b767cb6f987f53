/** Advanced SubStation Alpha, byte for byte what `whisper_max.output.ass` writes by default. */

import { cues, milliseconds, pad } from "./cues.js";
import { round } from "./python.js";
import { actor, label } from "./voices.js";

/** @typedef {import("./types.js").Result} Result */

const HEAD = `[Script Info]
; by whisper_max
ScriptType: v4.00+
WrapStyle: 2
ScaledBorderAndShadow: yes
PlayResX: 1920
PlayResY: 1080

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,64,&H00FFFFFF,&H0000FFFF,&H00000000,&H80000000,0,0,0,0,100,100,0,0,1,3,1,2,96,96,54,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
`;
const WORD_JOINER = "\u2060"; // keeps a backslash of the text from being read with what follows it

/** @param {Result} result */
export function renderAss(result) {
  const events = cues(result, escape).map((cue) => {
    const start = hundredths(cue.start);
    const end = Math.max(hundredths(cue.end), start + 1);
    return `Dialogue: 0,${time(start)},${time(end)},Default,${actor(cue.speaker)},0,0,0,,${text(escape(label(cue.speaker)) + cue.text)}\n`;
  });
  return HEAD + events.join("");
}

/** What a player would take for a tag or a line break, spelled so that it is shown. @param {string} text */
const escape = (text) => text.replaceAll("\\", `\\${WORD_JOINER}`).replaceAll("{", "\\{").replaceAll("}", "\\}");

/** A line break, as players read it. @param {string} text */
const text = (text) => text.replaceAll("\n", "\\N");

/** @param {number} seconds */
const hundredths = (seconds) => round(milliseconds(seconds) / 10);

/** @param {number} hundredths */
function time(hundredths) {
  const seconds = Math.floor(hundredths / 100);
  const minutes = Math.floor(seconds / 60);
  return `${Math.floor(minutes / 60)}:${pad(minutes % 60, 2)}:${pad(seconds % 60, 2)}.${pad(hundredths % 100, 2)}`;
}
