/** The page: what is shown when, and who talks to whom. */

import { key, listModels } from "./api.js";
import { byId } from "./dom.js";
import { setUpDownloads } from "./downloads.js";
import { Job } from "./job.js";
import { setUpKeys } from "./keys.js";
import { Live } from "./live.js";
import { hideMessage, setUpMessage, showError } from "./message.js";
import { Player } from "./player.js";
import { offerModels, readSettings, setUpSettings } from "./settings.js";
import { setUpTheme } from "./theme.js";
import { Transcript } from "./transcript.js";
import { TranscriptView } from "./transcript_view.js";

/** @typedef {"idle" | "working" | "live" | "done"} State */

const player = new Player();
const view = new TranscriptView(player);

/** @type {State} */
let state = "idle";
/** @type {Job | null} */
let job = null;
/** @type {Live | null} */
let live = null;
/** @type {File | null} what was said, so that it can be transcribed as a file */
let spoken = null;

/** @param {State} next */
function enter(next) {
  state = next;
  document.body.dataset.state = next;
  byId("drop").hidden = next === "working" || next === "live";
  byId("job").hidden = next !== "working";
  byId("live").hidden = next !== "live";
  byId("player").hidden = player.address === "";
  byId("again-button").hidden = next !== "done" || spoken === null;
  for (const id of ["copy-button", "downloads"]) byId(id).hidden = next === "working";
  byId("settings").inert = next === "working" || next === "live";
}

/** @param {Transcript} transcript */
function show(transcript) {
  transcript.addEventListener("change", () => player.mark(transcript.segments));
  view.show(transcript);
}

/** @param {File} file */
async function start(file) {
  if (state === "working" || state === "live") return;
  hideMessage();
  spoken = null;
  const transcript = new Transcript(stem(file.name));
  const own = new Job(file, readSettings(), transcript);
  job = own;
  show(transcript);
  player.load(file, file.name).then(() => player.mark(transcript.segments), (error) => showError(error, () => start(file)));
  enter("working");
  try {
    await own.run();
    enter("done");
  } catch (error) {
    if (transcript.segments.length > 0) transcript.finish(transcript.result());
    enter("done");
    const cancelled = error instanceof DOMException && error.name === "AbortError";
    if (!cancelled) showError(error, () => start(file));
  } finally {
    job = null;
  }
}

async function talk() {
  if (state === "working" || state === "live") return;
  hideMessage();
  player.clear();
  view.show(new Transcript(""));
  const own = new Live();
  live = own;
  enter("live");
  try {
    await own.start(readSettings(), (error) => {
      showError(error, talk);
      stopTalking();
    });
  } catch (error) {
    live = null;
    enter("idle");
    showError(error, talk);
  }
}

async function stopTalking() {
  const own = live;
  live = null;
  if (own === null) return;
  const { transcript, recording } = await own.stop();
  spoken = new File([recording], "recording.wav", { type: recording.type });
  show(transcript);
  await player.load(recording, "Recording");
  player.mark(transcript.segments);
  enter("done");
}

function escape() {
  job?.cancel();
  stopTalking();
}

/** "a.b.wav" as "a.b". @param {string} name */
const stem = (name) => name.replace(/(.)\.[^.]*$/, "$1");

function setUpDrop() {
  const drop = byId("drop");
  const input = byId("file");
  byId("choose-button").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const [file] = input.files;
    input.value = "";
    if (file) start(file);
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) drop.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const [file] = event.dataTransfer?.files ?? [];
    if (file) start(file);
  });
}

async function loadModels() {
  try {
    offerModels(await listModels());
  } catch (error) {
    showError(error, loadModels);
  }
}

setUpSettings();
setUpMessage(key.set);
setUpDrop();
setUpDownloads(() => view.transcript);
setUpKeys(player, view, escape);
setUpTheme(() => player.recolour());
byId("talk-button").addEventListener("click", talk);
byId("stop-button").addEventListener("click", stopTalking);
byId("cancel-button").addEventListener("click", () => job?.cancel());
byId("revert-button").addEventListener("click", () => view.transcript?.revert());
byId("again-button").addEventListener("click", () => spoken && start(spoken));
byId("settings").addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
enter("idle");
loadModels();
