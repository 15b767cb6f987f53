/** A segment as a row of the list. */

import { isUnsure, doubtText } from "./doubts.js";
import { clock, icon, make } from "./dom.js";

/** @typedef {import("./types.js").Segment} Segment */

/**
 * @param {Segment} segment
 * @param {number | undefined} colour of its speaker
 * @param {Set<number>} hits words that are searched for
 * @returns {HTMLElement}
 */
export function makeRow(segment, colour, hits) {
  const time = clock(segment.start);
  const doubt = doubtText(segment);
  const classes = ["segment", ...(segment.edited ? ["edited"] : []), ...(doubt ? ["doubtful"] : []), ...(hits.has(-1) ? ["hit"] : [])];
  const head = segment.speaker === undefined ? [] : [speakerButton(segment.speaker, colour ?? 0)];
  const tail = doubt ? [make("p", { className: "doubt", textContent: `Doubtful: ${doubt}` })] : [];
  return make(
    "li",
    { className: classes.join(" ") },
    make("button", { type: "button", className: "segment-time clock", textContent: time, ariaLabel: `Play from ${time}` }),
    make("div", { className: "segment-body" }, ...head, make("p", { className: "segment-text", dir: "auto" }, ...pieces(segment, hits)), ...tail),
    make("button", { type: "button", className: "icon-button edit-button", title: "Edit (E)", ariaLabel: `Edit the text at ${time}` }, icon("edit")),
  );
}

/** @param {string} name @param {number} colour */
function speakerButton(name, colour) {
  return make("button", { type: "button", className: `speaker speaker-${colour}`, dir: "auto", textContent: name, title: "Who speaks (P)" });
}

/** @param {Segment} segment @param {Set<number>} hits @returns {(Node | string)[]} */
function pieces({ words, text }, hits) {
  if (!words?.length) return [text.trim()];
  return words.flatMap((word, i) => {
    const unsure = isUnsure(word);
    const className = ["word", ...(unsure ? ["unsure"] : []), ...(hits.has(i) ? ["hit"] : [])].join(" ");
    const title = unsure ? `${Math.round((word.probability ?? 0) * 100)} % sure` : "";
    const span = make("span", { className, title, textContent: word.word.trim(), dataset: { start: word.start } });
    return [word.word.slice(0, word.word.length - word.word.trimStart().length), span];
  });
}
