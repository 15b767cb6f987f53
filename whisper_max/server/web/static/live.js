/** Talking: microphone, captions while it goes, and a transcript with its recording in the end. */

import { listModels } from "./api.js";
import { Captions } from "./captions.js";
import { byId, clock } from "./dom.js";
import { asPageError } from "./errors.js";
import { languageCode } from "./languages.js";
import { Level } from "./level.js";
import { Microphone, RATE } from "./microphone.js";
import { Realtime } from "./realtime.js";
import { wavFile } from "./wav.js";

/** @typedef {import("./types.js").Settings} Settings */

const PIECE = 30; // pieces of a tenth of a second that are kept as one, so that a page that is closed loses no more

export class Live {
  /** @param {(number: number, piece: Blob) => void} onPiece gets what was said, some seconds at a time */
  constructor(onPiece) {
    this.onPiece = onPiece;
    this.level = new Level();
    this.samples = 0;
    this.captions = new Captions(() => this.seconds);
    /** @type {Blob[]} */
    this.pieces = [];
    /** @type {BlobPart[]} */
    this.parts = [];
    /** @type {Microphone | null} */
    this.microphone = null;
    /** @type {Realtime | null} */
    this.session = null;
  }

  get seconds() {
    return this.samples / RATE;
  }

  /**
   * Listen until `stop`.
   * @param {Settings} settings
   * @param {(error: Error) => void} onError the session is over, what was said is kept
   */
  async start(settings, onError) {
    byId("live-state").textContent = "Connecting";
    byId("live-time").textContent = clock(0);
    await listModels(); // a socket can't say that the key is wrong
    this.session = await Realtime.connect(settings, (event) => this.captions.take(event), onError);
    try {
      this.microphone = await Microphone.open((samples) => this.take(samples));
    } catch (error) {
      this.session.close();
      throw asPageError(error);
    }
    byId("live-state").textContent = "Listening";
  }

  /** @param {Int16Array} samples */
  take(samples) {
    this.samples += samples.length;
    this.parts.push(/** @type {BlobPart} */ (samples));
    if (this.parts.length >= PIECE) this.endPiece();
    this.session?.append(samples);
    this.level.push(samples);
    byId("live-time").textContent = clock(this.seconds);
  }

  endPiece() {
    const piece = new Blob(this.parts);
    this.parts = [];
    this.onPiece(this.pieces.push(piece) - 1, piece);
  }

  /** What is committed so far. @returns {import("./types.js").Result} */
  result() {
    const segments = this.captions.segments();
    const text = segments.map((segment) => segment.text).join("");
    return { text, segments, language: languageCode(this.captions.language), duration: this.seconds };
  }

  /**
   * Stop listening and wait for the last words.
   * @returns {Promise<Blob>} the recording
   */
  async stop() {
    byId("live-state").textContent = "Finishing";
    await this.microphone?.close();
    await this.session?.finish();
    this.session?.close();
    this.endPiece();
    return wavFile(this.pieces, RATE);
  }
}
