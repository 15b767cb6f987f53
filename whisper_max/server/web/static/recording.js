/** One recording of the list: what is known of it, its transcript once it was read, and its job while it is worked on. */

import { Transcript } from "./transcript.js";

/** @typedef {import("./job.js").Job} Job */
/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./types.js").Settings} Settings */
/** @typedef {import("./types.js").Status} Status */

/** Tells `change` when what the list shows of it did. */
export class Recording extends EventTarget {
  /** @param {Entry} entry */
  constructor(entry) {
    super();
    this.entry = entry;
    this.transcript = new Transcript(stem(entry.name));
    this.revision = 0; // of the transcript, as the store has it
    this.read = false; // whether the transcript was read from the store
    /** @type {Blob | null} the file, where the store does not have it */
    this.file = null;
    /** @type {Job | null} */
    this.job = null;
    /** @type {{share: number, cancel: () => void} | null} how far its text is aligned, while it is */
    this.alignment = null;
  }

  /**
   * @param {Blob} file
   * @param {string} name
   * @param {Settings} settings
   * @param {Status} status
   */
  static make(file, name, settings, status) {
    const { type, size } = file;
    const id = [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const recording = new Recording({ id, name, type, size, created: Date.now(), status, settings, duration: 0, words: 0 });
    recording.file = file;
    recording.read = true;
    return recording;
  }

  get id() {
    return this.entry.id;
  }

  get status() {
    return this.entry.status;
  }

  get isWaiting() {
    return this.status === "queued" || this.status === "working";
  }

  /** @param {Recording["alignment"]} alignment */
  aligns(alignment) {
    this.alignment = alignment;
    this.dispatchEvent(new Event("progress"));
  }

  /** @param {Partial<Entry>} more */
  update(more) {
    this.entry = { ...this.entry, ...more };
    this.dispatchEvent(new Event("change"));
  }
}

/** "a.b.wav" as "a.b". @param {string} name */
export const stem = (name) => name.replace(/(.)\.[^.]*$/, "$1");
