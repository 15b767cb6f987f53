/** Who speaks, as formats of text say it (`whisper_max.output.speakers`). */

import { oneSpaced } from "./python.js";

/** What stands before a text to say whose it is: "Speaker 1: ", or nothing. @param {string | undefined} speaker */
export const label = (speaker) => (speaker === undefined ? "" : `${oneSpaced(speaker)}: `);

/** The tag of a voice in WebVTT, which lasts to the end of its cue. @param {string | undefined} speaker */
export function voice(speaker) {
  if (speaker === undefined) return "";
  return `<v ${oneSpaced(speaker).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")}>`;
}

/** For the column of names in ass, which ends with a comma. @param {string | undefined} speaker */
export const actor = (speaker) => (speaker === undefined ? "" : oneSpaced(speaker).replaceAll(",", ";"));
