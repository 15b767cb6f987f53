/** The keyboard. */

import { byId, make } from "./dom.js";

/** @typedef {import("./commands.js").Commands} Commands */
/** @typedef {import("./player.js").Player} Player */
/** @typedef {import("./transcript_view.js").TranscriptView} TranscriptView */

const SEEK = 5; // seconds for an arrow

const HELP = [
  ["Space", "play or pause"],
  ["← →", `${SEEK} seconds back or on`],
  ["Shift ← →", "a word back or on"],
  ["Shift ↑ ↓", "a segment back or on"],
  ["N, Shift N", "the next or last place that is doubtful"],
  ["E, or a double click", "edit the text that is being said"],
  ["Enter, Esc", "keep an edit, drop it (Shift Enter: new line)"],
  ["Ctrl Enter", "keep it and split the segment at the cursor"],
  ["S", "split the segment at the nearest word"],
  ["M", "merge the segment with the next"],
  ["I, O", "let the segment begin, or end, here: at a word or silence (with Shift: exactly here)"],
  ["Delete", "remove the segment"],
  ["P, 1 … 9", "who speaks: ask, or take that speaker"],
  ["Ctrl Z, Ctrl Shift Z", "undo, redo"],
  ["Ctrl F", "search and replace"],
  ["+ −", "magnify the waveform, or less"],
  ["L", "copy a link to this moment"],
  ["Esc", "cancel a transcription, stop listening"],
  ["?", "this list"],
];

/**
 * @param {Player} player
 * @param {TranscriptView} view
 * @param {Commands} commands
 * @param {{escape: () => void, search: () => void, link: () => void}} others
 */
export function setUpKeys(player, view, commands, { escape, search, link }) {
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
    n: () => commands.doubt(1),
    "Shift n": () => commands.doubt(-1),
    e: () => view.editCurrent(),
    s: () => commands.split(),
    m: () => commands.merge(),
    i: () => commands.begin(false),
    o: () => commands.end(false),
    "Shift i": () => commands.begin(true),
    "Shift o": () => commands.end(true),
    Delete: () => commands.remove(),
    p: () => commands.askSpeaker(),
    ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7, 8, 9].map((number) => [String(number), () => commands.speaker(number)])),
    "+": () => player.waveform.zoom(2),
    "=": () => player.waveform.zoom(2),
    "-": () => player.waveform.zoom(0.5),
    l: link,
    "Ctrl z": () => commands.undo(),
    "Ctrl Shift z": () => commands.redo(),
    "Ctrl y": () => commands.redo(),
    "Ctrl f": search,
    Escape: escape,
    "?": () => byId("help").showModal(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.altKey || document.querySelector("dialog[open]")) return;
    const focused = document.activeElement;
    const control = event.ctrlKey || event.metaKey;
    const typing = focused?.matches("input, select, textarea");
    if (event.key !== "Escape" && typing) return;
    if (event.key === " " && focused?.matches("button, summary")) return; // presses it
    if (control && event.key.toLowerCase() === "f" && byId("transcript").hidden) return; // nothing of ours to search
    const action = actions[nameOf(event, control)];
    if (action === undefined) return;
    event.preventDefault();
    action();
  });
}

/** A key with what is held, as in the table: letters are small there, and signs need no Shift. @param {KeyboardEvent} event @param {boolean} control */
function nameOf({ key, shiftKey }, control) {
  const letter = /^\p{L}$/u.test(key);
  const shift = shiftKey && (letter || key.startsWith("Arrow"));
  return `${control ? "Ctrl " : ""}${shift ? "Shift " : ""}${letter ? key.toLowerCase() : key}`;
}
