/** A file on its way to becoming a transcript: upload, progress, cancelling. */

import { transcribe } from "./api.js";
import { byId, clock } from "./dom.js";

/** @typedef {import("./transcript.js").Transcript} Transcript */
/** @typedef {import("./types.js").Settings} Settings */

export class Job {
  /**
   * @param {File} file
   * @param {Settings} settings
   * @param {Transcript} transcript grows as segments come
   */
  constructor(file, settings, transcript) {
    this.file = file;
    this.settings = settings;
    this.transcript = transcript;
    this.abort = new AbortController();
  }

  /** @returns {Promise<void>} when the transcript is finished */
  async run() {
    byId("job-name").textContent = this.file.name;
    this.show("Uploading", 0);
    const result = await transcribe(this.file, this.settings, {
      onUpload: (share) => this.uploaded(share),
      onProgress: (done, total) => this.show(`${clock(done)} of ${clock(total)} transcribed`, total > 0 ? done / total : null),
      onSegment: (segment) => this.transcript.add(segment),
      signal: this.abort.signal,
    });
    this.transcript.finish(result);
  }

  cancel() {
    this.abort.abort();
  }

  /** @param {number} share */
  uploaded(share) {
    if (share < 1) this.show(`Uploading, ${Math.floor(share * 100)} %`, share);
    else this.show("Waiting for the server", null);
  }

  /**
   * @param {string} phase
   * @param {number | null} share null while nobody knows
   */
  show(phase, share) {
    if (byId("job-phase").textContent !== phase) byId("job-phase").textContent = phase;
    if (share === null) byId("job-progress").removeAttribute("value");
    else byId("job-progress").value = share;
  }
}
