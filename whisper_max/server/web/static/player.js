/** The recording: its waveform with the segments on it, and playing it. */

import { byId, clock } from "./dom.js";
import { decodePeaks } from "./peaks.js";
import Regions from "./vendor/wavesurfer/regions.esm.js";
import WaveSurfer from "./vendor/wavesurfer/wavesurfer.esm.js";

/** @typedef {import("./types.js").Segment} Segment */

const DRAWN_LIMIT = 30 * 60; // seconds; drawing decodes all of a recording into memory at once
const HEIGHT = 72; // pixels; the server's content security policy knows the style that wavesurfer makes of it

/** Tells `moved` with every change of place, several times a second while it plays. */
export class Player extends EventTarget {
  constructor() {
    super();
    this.audio = new Audio();
    this.regions = Regions.create();
    this.address = "";
    this.duration = 0;
    this.waves = WaveSurfer.create({
      container: byId("waveform"),
      media: this.audio,
      height: HEIGHT,
      barWidth: 2,
      barGap: 1,
      barRadius: 2,
      cursorWidth: 2,
      normalize: true,
      plugins: [this.regions],
      ...colours(),
    });
    this.waves.on("timeupdate", () => this.moved());
    this.audio.addEventListener("seeked", () => this.moved());
    this.waves.on("play", () => this.showPlaying(true));
    this.waves.on("pause", () => this.showPlaying(false));
    byId("play-button").addEventListener("click", () => this.toggle());
    byId("speed").addEventListener("change", () => this.waves.setPlaybackRate(Number(byId("speed").value)));
  }

  /**
   * Show a recording; `duration` is known when this is over.
   * @param {Blob} file
   * @param {string} name
   */
  async load(file, name) {
    this.clear();
    byId("player-name").textContent = name;
    const address = URL.createObjectURL(file);
    this.address = address;
    const told = await this.openMedia(address);
    if (told === 0) return this.show(0, "This browser can't play the recording.");
    const drawn = told <= DRAWN_LIMIT || told === Infinity ? await decodePeaks(file) : null;
    const duration = told === Infinity ? (drawn?.duration ?? 0) : told;
    if (this.address !== address) return; // another recording was opened meanwhile
    if (duration > 0) await this.waves.load(address, [drawn?.peaks ?? new Float32Array(2)], duration);
    this.show(duration, drawn ? "" : "No waveform: too long, or a format that this browser can't draw.");
  }

  /** Forget the recording. */
  clear() {
    this.pause();
    this.regions.clearRegions();
    if (this.address !== "") URL.revokeObjectURL(this.address);
    this.address = "";
    this.show(0, "");
  }

  /**
   * @param {string} address
   * @returns {Promise<number>} seconds; 0 when the browser can't play it
   */
  openMedia(address) {
    return new Promise((resolve) => {
      this.audio.addEventListener("loadedmetadata", () => resolve(this.audio.duration), { once: true });
      this.audio.addEventListener("error", () => resolve(0), { once: true });
      this.audio.src = address;
    });
  }

  /**
   * @param {number} duration
   * @param {string} note
   */
  show(duration, note) {
    this.duration = duration;
    byId("play-button").disabled = duration === 0;
    byId("player-note").textContent = note;
    byId("player-duration").textContent = clock(duration);
    byId("waveform").setAttribute("aria-valuemax", String(Math.round(duration)));
    this.moved();
  }

  /** @param {Segment[]} segments */
  mark(segments) {
    this.regions.clearRegions();
    if (this.duration === 0) return;
    segments.forEach((segment, i) => {
      const color = `var(--segment-${i % 2})`;
      this.regions.addRegion({ start: segment.start, end: segment.end, color, drag: false, resize: false });
    });
  }

  /** Take the colours of the theme. */
  recolour() {
    this.waves.setOptions(colours());
  }

  get time() {
    return this.audio.currentTime;
  }

  /** @param {number} seconds */
  seek(seconds) {
    if (this.duration === 0) return;
    this.audio.currentTime = Math.max(0, Math.min(this.duration, seconds)); // setTime would lose a quick second seek
    this.moved();
  }

  toggle() {
    if (this.duration === 0) return;
    this.waves.playPause().catch(() => this.showPlaying(false));
  }

  pause() {
    this.audio.pause();
  }

  moved() {
    const shown = clock(this.time);
    byId("player-time").textContent = shown;
    byId("waveform").setAttribute("aria-valuenow", String(Math.round(this.time)));
    byId("waveform").setAttribute("aria-valuetext", `${shown} of ${clock(this.duration)}`);
    this.dispatchEvent(new Event("moved"));
  }

  /** @param {boolean} playing */
  showPlaying(playing) {
    byId("play-button").setAttribute("aria-label", playing ? "Pause" : "Play");
    byId("play-icon").setAttribute("href", `assets/icons.svg#${playing ? "pause" : "play"}`);
  }
}

function colours() {
  const style = getComputedStyle(byId("waveform"));
  return {
    waveColor: style.getPropertyValue("border-top-color"),
    progressColor: style.getPropertyValue("border-bottom-color"),
    cursorColor: style.getPropertyValue("border-bottom-color"),
  };
}
