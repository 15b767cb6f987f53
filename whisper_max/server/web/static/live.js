/** Talking: microphone, captions while it goes, and a transcript with its recording in the end. */

import { listModels } from "./api.js";
import { Captions } from "./captions.js";
import { byId, clock } from "./dom.js";
import { asPageError } from "./errors.js";
import { languageCode } from "./languages.js";
import { Level } from "./level.js";
import { Microphone, RATE } from "./microphone.js";
import { Realtime } from "./realtime.js";
import { Transcript } from "./transcript.js";
import { wavFile } from "./wav.js";

/** @typedef {import("./types.js").Settings} Settings */

const PIECES = 600; // of a tenth of a second, before they leave the page's memory for the browser's

/**
 * @typedef {object} Spoken
 * @property {Transcript} transcript
 * @property {Blob} recording
 */

export class Live {
  constructor() {
    this.level = new Level();
    this.samples = 0;
    this.captions = new Captions(() => this.seconds);
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
    this.parts.push(samples);
    if (this.parts.length > PIECES) this.parts = [new Blob(this.parts)];
    this.session?.append(samples);
    this.level.push(samples);
    byId("live-time").textContent = clock(this.seconds);
  }

  /**
   * Stop listening and wait for the last words.
   * @returns {Promise<Spoken>}
   */
  async stop() {
    byId("live-state").textContent = "Finishing";
    await this.microphone?.close();
    await this.session?.finish();
    this.session?.close();
    const segments = this.captions.segments();
    const transcript = new Transcript("recording");
    const text = segments.map((segment) => segment.text).join("");
    transcript.finish({ text, segments, language: languageCode(this.captions.language), duration: this.seconds });
    return { transcript, recording: wavFile(this.parts, RATE) };
  }
}
