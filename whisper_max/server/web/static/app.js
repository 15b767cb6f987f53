/** The page: what is shown when, and who talks to whom. */

import { alignAgain, canBeAligned } from "./alignment.js";
import { describe, key, listModels } from "./api.js";
import { copy } from "./clipboard.js";
import { Commands } from "./commands.js";
import { confirmed } from "./confirm.js";
import { findJob } from "./desk.js";
import { byId, clock } from "./dom.js";
import { saveAll, setUpDownloads } from "./downloads.js";
import { PageError, isCancelled } from "./errors.js";
import { leftText } from "./estimate.js";
import { setUpIntake } from "./intake.js";
import { setUpKeys } from "./keys.js";
import { Library } from "./library.js";
import { LibraryView } from "./library_view.js";
import { Live } from "./live.js";
import { hideMessage, setUpMessage, showError } from "./message.js";
import { moment, readMoment } from "./moment.js";
import { offerOptions } from "./options.js";
import { Player } from "./player.js";
import { Queue } from "./queue.js";
import { Screen } from "./screen.js";
import { Search } from "./search.js";
import { offerModels, readSettings, setUpSettings } from "./settings.js";
import { setUpTheme } from "./theme.js";
import { Transcript } from "./transcript.js";
import { TranscriptView, countWords } from "./transcript_view.js";

/** @typedef {import("./recording.js").Recording} Recording */

const player = new Player();
const view = new TranscriptView(player);
const screen = new Screen(player);
const search = new Search(view);
const commands = new Commands(player, view);
const library = new Library((error) => showError(error, () => library.retry()));
const queue = new Queue(library, (error, recording) => {
  if (error.retryAfter !== null) showError(error, () => queue.resume());
  else if (recording === open) showError(error, () => queue.enqueue(recording));
});
const list = new LibraryView(library, queue);

/** @type {Recording | null} the one that is shown */
let open = null;
/** @type {{live: Live, recording: Recording} | null} */
let talking = null;

/** Show what fits the open recording. */
function render() {
  const state = talking !== null ? "live" : open === null ? "idle" : open.isWaiting ? "working" : "done";
  document.body.dataset.state = state;
  byId("drop").hidden = state === "live";
  byId("job").hidden = state !== "working";
  byId("live").hidden = state !== "live";
  byId("player").hidden = open === null || state === "live";
  byId("again-button").hidden = state !== "done";
  for (const id of ["copy-button", "downloads"]) byId(id).hidden = state === "working";
  byId("settings").inert = state === "live";
  renderAlignment();
  if (open !== null) renderJob(open);
}

function renderAlignment() {
  const share = open?.alignment?.share;
  byId("align-button").disabled = share !== undefined;
  byId("align-button").hidden = document.body.dataset.state !== "done" || open === null || !canBeAligned(open);
  byId("align-label").textContent = share === undefined ? "Align again" : `Aligning, ${Math.floor(share * 100)} %`;
}

/** @param {Recording} recording */
function renderJob({ entry, job }) {
  const phase = [job?.phase ?? "Waiting for its turn", leftText(job?.left ?? null, clock)].filter(Boolean).join(", ");
  byId("job-name").textContent = entry.name;
  if (byId("job-phase").textContent !== phase) byId("job-phase").textContent = phase;
  if (job?.share == null) byId("job-progress").removeAttribute("value");
  else byId("job-progress").value = job.share;
}

/** What the page does when the transcript that it shows changes. */
function changed() {
  player.waveform.mark(view.segments, view.transcript?.finished ?? false);
  search.find();
  renderAlignment();
}

/** What the list says of a transcript. @this {Recording} */
function counted() {
  const { transcript, entry } = this;
  const words = countWords(transcript.segments);
  if (transcript.finished && words !== entry.words) this.update({ words });
}

/** @param {Recording} recording @param {number} [time] seconds to begin at */
async function show(recording, time = 0) {
  if (talking !== null) return;
  if (open === recording) return view.goTo(time || player.time);
  open?.transcript.removeEventListener("change", changed);
  open = recording;
  list.mark(recording);
  history.replaceState(null, "", moment(recording.entry));
  player.clear();
  render();
  await library.read(recording);
  if (open !== recording) return;
  search.close();
  recording.transcript.addEventListener("change", changed);
  view.show(recording.transcript);
  screen.show(recording.transcript);
  changed();
  const [file, peaks] = await Promise.all([library.file(recording), library.peaks(recording)]);
  if (open !== recording) return;
  await player.load(file, recording.entry.name, peaks);
  if (open !== recording) return;
  if (player.duration > 0 && recording.entry.duration === 0) recording.update({ duration: player.duration });
  screen.stale();
  changed();
  if (time > 0) view.goTo(time);
}

/** Show none. */
function close() {
  open?.transcript.removeEventListener("change", changed);
  open = null;
  player.clear();
  view.show(new Transcript(""));
  list.mark(null);
  history.replaceState(null, "", location.pathname + location.search);
  render();
}

/** @param {Recording} recording */
function follow(recording) {
  recording.transcript.addEventListener("change", counted.bind(recording));
  for (const event of ["change", "progress"]) recording.addEventListener(event, () => recording === open && render());
  return recording;
}

/** @param {File[]} files @param {number} leftOut */
function take(files, leftOut) {
  hideMessage();
  const settings = readSettings();
  const added = [...files].reverse().map((file) => follow(library.add(file, file.name, settings, "queued"))).reverse();
  if (leftOut > 0) showError(new PageError(`${leftOut} of the files are no recordings.`, "They were left out."), null);
  if (added.length === 1 || open === null) if (added[0] !== undefined) show(added[0]);
  queue.advance();
}

/** @param {Recording} recording */
async function again(recording) {
  await library.read(recording);
  hideMessage();
  recording.update({ settings: readSettings() });
  queue.enqueue(recording);
}

/** Time the edited text anew. @param {Recording} recording */
async function align(recording) {
  hideMessage();
  try {
    await alignAgain(recording, library.file(recording));
  } catch (error) {
    if (!isCancelled(error)) showError(error, () => align(recording));
  }
}

/** @param {Recording} recording */
async function remove(recording) {
  const text = "The recording and its transcript, with all edits, are deleted from this browser. Nobody else has them.";
  if (!(await confirmed(`Remove ${recording.entry.name}?`, text, "Remove"))) return;
  if (recording === open) close();
  library.remove(recording);
  queue.advance();
}

async function talk() {
  if (talking !== null) return;
  hideMessage();
  close();
  const recording = follow(library.add(new Blob([], { type: "audio/wav" }), "recording.wav", readSettings(), "live"));
  const live = new Live((number, piece) => {
    library.write(recording, () => library.store.putPiece(recording.id, number, piece));
    Object.assign(recording.transcript, live.result());
    library.save(recording);
  });
  talking = { live, recording };
  render();
  try {
    await live.start(recording.entry.settings, (error) => {
      showError(error, talk);
      stopTalking();
    });
  } catch (error) {
    talking = null;
    library.remove(recording);
    render();
    showError(error, talk);
  }
}

async function stopTalking() {
  if (talking === null) return;
  const { live, recording } = talking;
  const file = await live.stop();
  if (talking?.live !== live) return; // Stop was pressed twice
  talking = null;
  library.saveFile(recording, file);
  recording.transcript.finish(live.result());
  recording.update({ status: "done", size: file.size, type: file.type, duration: live.seconds });
  await show(recording);
}

function escape() {
  if (talking !== null) stopTalking();
  else if (open !== null) queue.cancel(open);
  open?.alignment?.cancel();
}

/** Open what the address names. */
async function goToAddress() {
  const { recording, job, time } = readMoment(location.hash);
  const found = library.recordings.find(({ entry }) => entry.id === recording || (job !== null && entry.job === job));
  if (found !== undefined) return show(found, time);
  if (job !== null) return openJob(job, time).catch((error) => showError(error, goToAddress));
  if (recording !== null) showError(new PageError("The recording of this link is not in this browser.", "Links open where the recording was made."), null);
}

/** Take a transcript from the server's desk, without its recording. @param {string} id @param {number} time */
async function openJob(id, time) {
  const job = await findJob(id);
  if (job === null) throw new PageError("The server does not have the transcript of this link.", "It may have expired, or belong to another key.");
  const recording = follow(library.add(new Blob([]), job.file_name || id, readSettings(), "queued"));
  recording.update({ job: id });
  queue.advance();
  await show(recording, time);
}

/** Put a link to this moment on the clipboard. */
function copyLink() {
  if (open !== null) copy(new URL(moment(open.entry, player.time), location.href).href, byId("link-label"));
}

async function downloadAll() {
  const recordings = library.recordings.filter(({ status }) => status === "done" || status === "partial");
  await Promise.all(recordings.map((recording) => library.read(recording)));
  await saveAll(recordings.map(({ transcript }) => transcript));
}

async function askServer() {
  try {
    offerModels(await listModels());
    const { fields, hasDesk } = await describe();
    offerOptions(fields);
    queue.hasDesk = hasDesk;
    queue.resume();
  } catch (error) {
    showError(error, askServer);
  }
}

async function start() {
  queue.paused = true; // until it is known what the server offers
  await library.open();
  for (const recording of library.recordings) {
    follow(recording);
    if (recording.status === "working") recording.update({ status: "queued" }); // the page was closed meanwhile
  }
  if (readMoment(location.hash).job === null) goToAddress();
  document.body.dataset.ready = "true";
  await askServer();
  if (readMoment(location.hash).job !== null) goToAddress(); // which may have to ask the server
}

setUpSettings();
setUpMessage(key.set);
setUpIntake(take);
setUpDownloads(() => view.transcript);
setUpKeys(player, view, commands, { escape, search: () => search.open(), link: copyLink });
setUpTheme(() => player.waveform.redraw());
list.addEventListener("open", (/** @type {any} */ { detail }) => show(detail));
list.addEventListener("remove", (/** @type {any} */ { detail }) => remove(detail));
list.addEventListener("again", (/** @type {any} */ { detail }) => again(detail));
library.addEventListener("conflict", (/** @type {any} */ { detail }) => {
  follow(detail.copy);
  if (detail.recording === open) show(detail.copy);
  showError(new PageError("Another tab has changed this transcript.", "Yours goes on as a recording of its own: nothing is lost."), null);
});
library.addEventListener("busy", () => (document.body.dataset.saved = String(!library.isBusy)));
byId("talk-button").addEventListener("click", talk);
byId("stop-button").addEventListener("click", stopTalking);
byId("cancel-button").addEventListener("click", escape);
byId("undo-button").addEventListener("click", () => commands.undo());
byId("redo-button").addEventListener("click", () => commands.redo());
byId("revert-button").addEventListener("click", () => view.transcript?.revert());
byId("again-button").addEventListener("click", () => open && again(open));
byId("align-button").addEventListener("click", () => open && align(open));
player.addEventListener("drawn", (/** @type {any} */ { detail }) => open && library.savePeaks(open, detail));
byId("link-button").addEventListener("click", copyLink);
byId("download-all").addEventListener("click", downloadAll);
byId("settings").addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
addEventListener("hashchange", goToAddress);
addEventListener("visibilitychange", () => library.flush());
addEventListener("beforeunload", (event) => {
  view.endEdit?.();
  library.flush();
  if (talking !== null || library.isBusy) event.preventDefault(); // the browser asks
});
const sizes = new ResizeObserver(() => {
  const { style } = document.documentElement;
  style.setProperty("--player", `${byId("player").offsetHeight}px`);
  style.setProperty("--search", `${byId("search").offsetHeight}px`);
});
for (const id of ["player", "search"]) sizes.observe(byId(id));
render();
start();
