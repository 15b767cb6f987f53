/** A file on its way to becoming a transcript: upload, progress, cancelling. */

import { transcribe } from "./api.js";
import { transcribeAtDesk } from "./desk.js";
import { clock } from "./dom.js";
import { secondsLeft } from "./estimate.js";

/** @typedef {import("./recording.js").Recording} Recording */

/** Tells `change` with every progress. */
export class Job extends EventTarget {
  /** @param {Recording} recording whose transcript grows as segments come */
  constructor(recording) {
    super();
    this.recording = recording;
    this.abort = new AbortController();
    this.phase = "Uploading";
    /** @type {number | null} 0 to 1; null while nobody knows */
    this.share = 0;
    /** @type {number | null} */
    this.left = null;
    this.began = 0; // when the server began with it, in milliseconds
  }

  /**
   * @param {Blob} file
   * @param {boolean} atDesk whether the server has a desk, which goes on while this page is closed
   * @returns {Promise<void>} when the transcript is finished
   */
  async run(file, atDesk) {
    const { entry, transcript } = this.recording;
    /** @type {import("./types.js").Segment[]} */
    const segments = [];
    const again = transcript.finished; // what is there stays until the new one is whole
    /** @type {import("./api.js").Follow} */
    const follow = {
      onUpload: (share) => this.uploaded(share),
      onProgress: (done, total) => this.progressed(done, total),
      onSegment: (segment) => {
        segments.push(segment);
        if (!again) transcript.add(segment);
      },
      signal: this.abort.signal,
    };
    const left = { file, name: entry.name, settings: entry.settings, id: entry.job };
    const result = await (atDesk || entry.job !== undefined
      ? transcribeAtDesk(left, follow, (job) => this.recording.update({ job }))
      : transcribe(file, entry.name, entry.settings, follow));
    transcript.finish(result);
  }

  cancel() {
    this.abort.abort();
  }

  /** @param {number} share */
  uploaded(share) {
    this.began = performance.now();
    if (share < 1) this.show(`Uploading, ${Math.floor(share * 100)} %`, share);
    else this.show("Waiting for the server", null);
  }

  /** @param {number} done @param {number} total */
  progressed(done, total) {
    if (total > 0) this.left = secondsLeft(done / total, (performance.now() - this.began) / 1000);
    this.show(`${clock(done)} of ${clock(total)} transcribed`, total > 0 ? done / total : null);
  }

  /**
   * @param {string} phase
   * @param {number | null} share
   */
  show(phase, share) {
    this.phase = phase;
    this.share = share;
    this.dispatchEvent(new Event("change"));
  }
}
