/** All recordings of this browser: kept as they change, and read again when the page is opened anew. */

import { PageError } from "./errors.js";
import { MemoryStore } from "./memory_store.js";
import { Recording } from "./recording.js";
import { Conflict, Store } from "./store.js";
import { wavFile } from "./wav.js";
import { RATE } from "./microphone.js";

/** @typedef {import("./types.js").Saved} Saved */
/** @typedef {import("./types.js").Settings} Settings */
/** @typedef {import("./types.js").Status} Status */

const PAUSE = 300; // milliseconds after a change before it is saved

/** Tells `change` when the list did, and `busy` when there is something to save, or nothing any more. */
export class Library extends EventTarget {
  /** @param {(error: unknown) => void} onError something could not be kept */
  constructor(onError) {
    super();
    this.onError = onError;
    /** @type {Recording[]} the newest first */
    this.recordings = [];
    /** @type {Store | MemoryStore} */
    this.store = new MemoryStore();
    this.keeps = false; // beyond this page's life
    /** @type {Map<Recording, number>} timers of those that are to be saved */
    this.unsaved = new Map();
    /** @type {Map<() => Promise<void>, Recording>} what could not be written, and whose it is */
    this.failed = new Map();
    this.writing = Promise.resolve();
    this.writes = 0;
  }

  /** Read the list. */
  async open() {
    try {
      this.store = await Store.open();
      this.keeps = true;
    } catch {
      this.onError(new PageError("This browser keeps no recordings.", "Download what you need before you close the page."));
    }
    const entries = await this.store.list();
    const known = new Set(this.recordings.map(({ id }) => id));
    const found = entries.filter(({ id }) => !known.has(id)).map((entry) => this.watch(new Recording(entry)));
    this.recordings = [...this.recordings, ...found];
    for (const recording of found) {
      if (recording.status === "live") await this.recover(recording);
    }
    this.changed();
  }

  /** Whether closing the page now would lose something. */
  get isBusy() {
    return this.unsaved.size > 0 || this.writes > 0 || this.failed.size > 0 || (!this.keeps && this.recordings.length > 0);
  }

  /** @param {string} id */
  find(id) {
    return this.recordings.find((recording) => recording.id === id);
  }

  /**
   * @param {Blob} file
   * @param {string} name
   * @param {Settings} settings
   * @param {Status} status
   */
  add(file, name, settings, status) {
    const recording = this.watch(Recording.make(file, name, settings, status));
    this.recordings = [recording, ...this.recordings];
    this.save(recording);
    if (status !== "live") this.saveFile(recording, file);
    navigator.storage?.persist?.();
    this.changed();
    return recording;
  }

  /** @param {Recording} recording @param {Blob} file */
  saveFile(recording, file) {
    recording.file = file;
    this.write(recording, async () => {
      await this.store.putFile(recording.id, file);
      if (this.keeps) recording.file = null;
    });
  }

  /** The file of a recording. @param {Recording} recording @returns {Promise<Blob>} */
  async file(recording) {
    const file = recording.file ?? (await this.store.file(recording.id));
    return file ?? new Blob([], { type: recording.entry.type });
  }

  /** What its waveform is drawn from, once that is known. @param {Recording} recording @returns {Promise<Uint8Array | undefined>} */
  peaks(recording) {
    return this.store.peaks(recording.id);
  }

  /** @param {Recording} recording @param {Uint8Array} peaks */
  savePeaks(recording, peaks) {
    this.write(recording, () => this.store.putPeaks(recording.id, peaks));
  }

  /** Read the transcript of a recording, once. @param {Recording} recording */
  async read(recording) {
    if (recording.read) return;
    const saved = await this.store.transcript(recording.id);
    if (recording.read) return;
    recording.read = true;
    if (saved === undefined) return;
    recording.revision = saved.revision;
    recording.transcript.restore(saved);
    this.forget(recording);
  }

  /** Take a recording from the list, for good. @param {Recording} recording */
  remove(recording) {
    recording.job?.cancel();
    recording.alignment?.cancel();
    this.forget(recording);
    this.recordings = this.recordings.filter((other) => other !== recording);
    for (const [act, other] of this.failed) if (other === recording) this.failed.delete(act);
    this.write(recording, () => this.store.remove(recording.id));
    this.retry(); // there may be room now
    this.changed();
  }

  /** Save a recording soon, if it was not removed. @param {Recording} recording */
  save(recording) {
    this.forget(recording);
    if (!this.recordings.includes(recording)) return;
    this.unsaved.set(recording, setTimeout(() => this.saveNow(recording), PAUSE));
    this.dispatchEvent(new Event("busy"));
  }

  /** Write once more what could not be written. */
  retry() {
    const failed = [...this.failed];
    this.failed.clear();
    for (const [act, recording] of failed) this.write(recording, act);
  }

  /** Save all that waits, now. */
  flush() {
    for (const recording of [...this.unsaved.keys()]) this.saveNow(recording);
  }

  /** @param {Recording} recording */
  saveNow(recording) {
    this.forget(recording);
    this.write(recording, async () => {
      await this.store.putEntry(recording.entry);
      if (recording.read && recording.transcript.segments.length + recording.transcript.steps.length > 0) await this.saveTranscript(recording);
    });
  }

  /**
   * Save a transcript; where another page has saved the same one meanwhile, as a recording of its own.
   * @param {Recording} recording
   */
  async saveTranscript(recording) {
    try {
      await this.store.putTranscript({ id: recording.id, revision: recording.revision + 1, ...recording.transcript.saved() });
      recording.revision += 1;
    } catch (error) {
      if (!(error instanceof Conflict)) throw error;
      const file = await this.file(recording);
      const { entry, transcript } = recording;
      const copy = this.add(file, entry.name, entry.settings, entry.status);
      copy.update({ duration: entry.duration, words: entry.words });
      copy.transcript.restore({ id: copy.id, revision: 0, ...transcript.saved() });
      this.save(copy);
      recording.read = false;
      this.dispatchEvent(new CustomEvent("conflict", { detail: { recording, copy } }));
    }
  }

  /** Put together what was said before the page was closed. @param {Recording} recording */
  async recover(recording) {
    const pieces = await this.store.pieces(recording.id);
    const file = wavFile(pieces, RATE);
    this.saveFile(recording, file);
    await this.read(recording);
    const { transcript } = recording;
    transcript.finish({ ...transcript.result(), duration: pieces.reduce((sum, { size }) => sum + size, 0) / 2 / RATE });
    recording.update({ status: "partial", size: file.size, type: file.type });
  }

  /** @param {Recording} recording */
  watch(recording) {
    recording.addEventListener("change", () => {
      this.save(recording);
      this.changed();
    });
    recording.transcript.addEventListener("change", () => recording.read && this.save(recording));
    return recording;
  }

  /** @param {Recording} recording */
  forget(recording) {
    clearTimeout(this.unsaved.get(recording));
    this.unsaved.delete(recording);
  }

  /** Write after what is being written. @param {Recording} recording whose it is @param {() => Promise<void>} act */
  write(recording, act) {
    this.writes += 1;
    this.dispatchEvent(new Event("busy"));
    this.writing = this.writing
      .then(act)
      .catch((error) => {
        this.failed.set(act, recording);
        this.onError(unkept(error));
      })
      .then(() => {
        this.writes -= 1;
        this.dispatchEvent(new Event("busy"));
      });
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** @param {unknown} error */
function unkept(error) {
  const full = error instanceof DOMException && error.name === "QuotaExceededError";
  const message = full ? "The browser has no room for this recording." : "The browser could not keep this recording.";
  return new PageError(message, "It stays here until the page is closed: download it, or remove others and try again.");
}
