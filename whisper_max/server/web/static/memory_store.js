/** What stands in for the browser's store where it keeps nothing (private windows): the same, until the page is closed. */

import { Conflict } from "./store.js";

/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./types.js").Saved} Saved */

export class MemoryStore {
  constructor() {
    /** @type {Map<string, Entry>} */
    this.entries = new Map();
    /** @type {Map<string, Saved>} */
    this.transcripts = new Map();
    /** @type {Map<string, Blob>} */
    this.files = new Map();
    /** @type {Map<string, Uint8Array>} */
    this.waveforms = new Map();
  }

  async list() {
    return [...this.entries.values()];
  }

  /** @param {Entry} entry */
  async putEntry(entry) {
    this.entries.set(entry.id, entry);
  }

  /** @param {string} id */
  async transcript(id) {
    return this.transcripts.get(id);
  }

  /** @param {Saved} saved */
  async putTranscript(saved) {
    if ((this.transcripts.get(saved.id)?.revision ?? 0) !== saved.revision - 1) throw new Conflict();
    this.transcripts.set(saved.id, saved);
  }

  /** @param {string} id @param {Blob} blob */
  async putFile(id, blob) {
    this.files.set(id, blob);
  }

  /** @param {string} id */
  async file(id) {
    return this.files.get(id);
  }

  /** @param {string} id @param {Uint8Array} peaks */
  async putPeaks(id, peaks) {
    this.waveforms.set(id, peaks);
  }

  /** @param {string} id */
  async peaks(id) {
    return this.waveforms.get(id);
  }

  async putPiece() {}

  async pieces() {
    return [];
  }

  /** @param {string} id */
  async remove(id) {
    for (const table of [this.entries, this.transcripts, this.files, this.waveforms]) table.delete(id);
  }
}
