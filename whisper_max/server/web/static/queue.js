/** Which recordings are transcribed when: some at a time, the others wait for their turn. */

import { asPageError, isCancelled } from "./errors.js";
import { Job } from "./job.js";

/** @typedef {import("./library.js").Library} Library */
/** @typedef {import("./recording.js").Recording} Recording */

const AT_ONCE = 4; // the server decodes the windows of several recordings side by side

export class Queue {
  /**
   * @param {Library} library
   * @param {(error: import("./errors.js").PageError, recording: Recording) => void} onError of a recording, or of the server
   */
  constructor(library, onError) {
    this.library = library;
    this.onError = onError;
    /** @type {Set<Recording>} */
    this.running = new Set();
    /** @type {number | undefined} until then the server is left alone */
    this.pause = undefined;
    this.paused = false;
    this.hasDesk = false;
    this.rate = 0; // bytes in a millisecond, of all that run together, as the last that ended had it
  }

  /** Recordings that wait for their turn, the next first. */
  get waiting() {
    return this.library.recordings.filter((each) => each.status === "queued" && !this.running.has(each)).reverse();
  }

  /** Begin what may begin. */
  advance() {
    if (this.paused) return;
    for (const recording of this.waiting.slice(0, AT_ONCE - this.running.size)) this.run(recording);
  }

  /** Let a recording be transcribed, from its beginning. @param {Recording} recording */
  enqueue(recording) {
    recording.update({ status: "queued", error: undefined, job: undefined });
    this.resume();
  }

  /** Ask the server again, at once. */
  resume() {
    clearTimeout(this.pause);
    this.paused = false;
    this.advance();
  }

  /** @param {Recording} recording */
  cancel(recording) {
    if (recording.job !== null) recording.job.cancel();
    else if (recording.status === "queued") this.settle(recording, "cancelled");
  }

  /** Milliseconds until a waiting recording is likely to be done; null while nobody knows. @param {Recording} recording */
  left(recording) {
    if (this.rate === 0) return null;
    const waiting = this.waiting;
    const before = waiting.slice(0, waiting.indexOf(recording) + 1);
    const bytes = [...before, ...this.running].map(({ entry, job }) => entry.size * (1 - (job?.began ? (job.share ?? 0) : 0)));
    return bytes.reduce((sum, size) => sum + size, 0) / this.rate;
  }

  /** @param {Recording} recording */
  async run(recording) {
    const job = new Job(recording);
    this.running.add(recording);
    await this.library.read(recording);
    recording.job = job;
    const { transcript } = recording;
    if (!transcript.finished) transcript.clear();
    recording.update({ status: "working" });
    job.addEventListener("change", () => recording.dispatchEvent(new Event("progress")));
    const start = performance.now();
    try {
      await job.run(await this.library.file(recording), this.hasDesk);
      this.rate = (recording.entry.size * this.running.size) / (performance.now() - start);
      this.settle(recording, "");
    } catch (error) {
      this.failed(recording, error);
    } finally {
      recording.job = null;
      this.running.delete(recording);
      recording.dispatchEvent(new Event("change"));
      this.advance();
    }
  }

  /** @param {Recording} recording @param {unknown} thrown */
  failed(recording, thrown) {
    if (isCancelled(thrown)) return this.settle(recording, "cancelled");
    const error = asPageError(thrown);
    if (error.retryAfter === null) this.settle(recording, error.message);
    else this.waitForServer(recording, error.retryAfter);
    this.onError(error, recording);
  }

  /** @param {Recording} recording @param {string} error empty: none */
  settle(recording, error) {
    const { transcript } = recording;
    transcript.flush();
    const some = transcript.segments.length > 0;
    const status = error === "" || transcript.finished ? "done" : some ? "partial" : "failed";
    if (status === "partial") transcript.finish(transcript.result());
    recording.update({ status, error: error || undefined, duration: transcript.duration || recording.entry.duration });
  }

  /** The fault is the server's, not the recording's: it stays in the queue. @param {Recording} recording @param {number} seconds */
  waitForServer(recording, seconds) {
    recording.update({ status: "queued" });
    this.paused = true;
    clearTimeout(this.pause);
    if (Number.isFinite(seconds)) this.pause = setTimeout(() => this.resume(), seconds * 1000);
  }
}
