/** The recording: its picture and waveform, and playing it. */

import { byId, clock } from "./dom.js";
import { asPageError } from "./errors.js";
import { PEAKS, peaksOf } from "./peaks.js";
import { Waveform } from "./waveform.js";

/** @typedef {import("./types.js").Segment} Segment */

/** Tells `moved` with every change of place, several times a second while it plays, and `drawn` with the peaks that it found. */
export class Player extends EventTarget {
  constructor() {
    super();
    this.media = byId("media");
    this.waveform = new Waveform();
    this.address = "";
    this.duration = 0;
    this.place = 0; // seconds, where the browser can't play the recording
    for (const event of ["timeupdate", "seeked"]) this.media.addEventListener(event, () => this.moved());
    this.media.addEventListener("play", () => this.showPlaying(true));
    this.media.addEventListener("pause", () => this.showPlaying(false));
    this.waveform.addEventListener("seek", (/** @type {any} */ { detail }) => this.seek(detail));
    byId("play-button").addEventListener("click", () => this.toggle());
    byId("speed").addEventListener("change", () => (this.media.playbackRate = Number(byId("speed").value)));
    byId("zoom-in").addEventListener("click", () => this.waveform.zoom(2));
    byId("zoom-out").addEventListener("click", () => this.waveform.zoom(0.5));
  }

  /**
   * Show a recording; `duration` is known when this is over, and the waveform comes as soon as it can.
   * @param {Blob} file
   * @param {string} name
   * @param {Uint8Array | undefined} known its peaks
   */
  async load(file, name, known) {
    this.clear();
    byId("player-name").textContent = name;
    const address = URL.createObjectURL(file);
    this.address = address;
    const told = file.size === 0 ? 0 : await this.openMedia(address);
    if (this.address !== address) return; // another recording was opened meanwhile
    if (told === 0) return this.show(0, "This browser can't play the recording.");
    byId("screen").hidden = this.media.videoWidth === 0;
    this.media.playbackRate = Number(byId("speed").value);
    const peaks = known === undefined ? peaksOf(file, name, told) : Promise.resolve(known);
    const drawing = this.draw(peaks, address, known === undefined);
    if (told === Infinity) await drawing; // which tells how long it is
    else this.show(told, byId("player-note").textContent);
  }

  /**
   * @param {Promise<Uint8Array>} peaks
   * @param {string} address of the recording
   * @param {boolean} isNew whether somebody may want to keep them
   */
  async draw(peaks, address, isNew) {
    byId("waveform").setAttribute("aria-busy", "true");
    byId("player-note").textContent = "Drawing the waveform";
    try {
      const found = await peaks;
      if (this.address !== address) return;
      if (this.duration === 0) this.show(found.length / PEAKS, "");
      this.waveform.fill(found);
      byId("player-note").textContent = "";
      if (isNew) this.dispatchEvent(new CustomEvent("drawn", { detail: found }));
    } catch (error) {
      if (this.address !== address) return;
      byId("player-note").textContent = `No waveform. ${asPageError(error).message}`;
    }
    byId("waveform").setAttribute("aria-busy", "false");
  }

  /** Forget the recording. */
  clear() {
    this.media.pause();
    if (this.address !== "") URL.revokeObjectURL(this.address);
    this.address = "";
    this.media.removeAttribute("src");
    this.media.load();
    byId("screen").hidden = true;
    byId("player-name").textContent = "";
    this.waveform.mark([], false);
    byId("waveform").setAttribute("aria-busy", "false");
    this.show(0, "");
  }

  /**
   * @param {string} address
   * @returns {Promise<number>} seconds; 0 when the browser can't play it
   */
  openMedia(address) {
    return new Promise((resolve) => {
      this.media.onloadedmetadata = () => resolve(this.media.duration);
      this.media.onerror = () => resolve(0);
      this.media.src = address;
    });
  }

  /**
   * @param {number} duration
   * @param {string} note
   */
  show(duration, note) {
    this.duration = duration;
    this.place = 0;
    this.waveform.show(duration);
    for (const id of ["play-button", "zoom-in", "zoom-out"]) byId(id).disabled = duration === 0;
    byId("player-note").textContent = note;
    byId("player-duration").textContent = clock(duration);
    byId("waveform").setAttribute("aria-valuemax", String(Math.round(duration)));
    this.moved();
  }

  get time() {
    return this.duration === 0 ? this.place : this.media.currentTime;
  }

  /** @param {number} seconds */
  seek(seconds) {
    if (this.duration === 0) this.place = Math.max(0, seconds);
    else this.media.currentTime = Math.max(0, Math.min(this.duration, seconds));
    this.moved();
  }

  toggle() {
    if (this.duration === 0) return;
    if (this.media.paused) this.media.play().catch(() => this.showPlaying(false));
    else this.media.pause();
  }

  pause() {
    this.media.pause();
  }

  moved() {
    const shown = clock(this.time);
    byId("player-time").textContent = shown;
    byId("waveform").setAttribute("aria-valuenow", String(Math.round(this.time)));
    byId("waveform").setAttribute("aria-valuetext", `${shown} of ${clock(this.duration)}`);
    this.waveform.follow(this.time);
    this.dispatchEvent(new Event("moved"));
  }

  /** @param {boolean} playing */
  showPlaying(playing) {
    byId("play-button").setAttribute("aria-label", playing ? "Pause" : "Play");
    byId("play-icon").setAttribute("href", `assets/icons.svg#${playing ? "pause" : "play"}`);
  }
}
