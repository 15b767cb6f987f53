/** The keyboard. */

import { byId, make } from "./dom.js";

/** @typedef {import("./player.js").Player} Player */
/** @typedef {import("./transcript_view.js").TranscriptView} TranscriptView */

const SEEK = 5; // seconds for an arrow

const HELP = [
  ["Space", "play or pause"],
  ["← →", `${SEEK} seconds back or on`],
  ["Shift ← →", "a word back or on"],
  ["Shift ↑ ↓", "a segment back or on"],
  ["E, or a double click", "edit the text that is being said"],
  ["Enter", "keep an edit (Shift Enter: new line)"],
  ["Esc", "drop an edit, cancel a transcription, stop listening"],
  ["?", "this list"],
];

/**
 * @param {Player} player
 * @param {TranscriptView} view
 * @param {() => void} escape cancels or stops what is running
 */
export function setUpKeys(player, view, escape) {
  byId("help-list").append(...HELP.flatMap(([keys, what]) => [make("dt", { textContent: keys }), make("dd", { textContent: what })]));
  byId("help-button").addEventListener("click", () => byId("help").showModal());

  /** @type {Record<string, () => void>} */
  const actions = {
    " ": () => player.toggle(),
    ArrowLeft: () => player.seek(player.time - SEEK),
    ArrowRight: () => player.seek(player.time + SEEK),
    "Shift ArrowLeft": () => view.step("word", -1),
    "Shift ArrowRight": () => view.step("word", 1),
    "Shift ArrowUp": () => view.step("segment", -1),
    "Shift ArrowDown": () => view.step("segment", 1),
    e: () => view.editCurrent(),
    Escape: escape,
    "?": () => byId("help").showModal(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || byId("help").open) return;
    const focused = document.activeElement;
    if (event.key !== "Escape" && focused?.matches("input, select, textarea")) return;
    if (event.key === " " && focused?.matches("button, summary")) return; // presses it
    const arrow = event.key.startsWith("Arrow") && event.shiftKey;
    const action = actions[arrow ? `Shift ${event.key}` : event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (action === undefined) return;
    event.preventDefault();
    action();
  });
}
