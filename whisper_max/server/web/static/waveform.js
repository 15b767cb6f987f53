/** The waveform with the segments on it: seeking, zooming, and borders that can be dragged. */

import { byId } from "./dom.js";
import { LOUDEST, PEAKS } from "./peaks.js";
import { lastStarted } from "./search_sorted.js";
import { snap } from "./snap.js";
import { speakerColours } from "./speakers.js";

/** @typedef {import("./types.js").Segment} Segment */
/** @typedef {{at: number, edge: "start" | "end"}} Border */

const HEIGHT = 72; // pixels
const BAR = 3; // pixels, with the gap after it
const REACH = 7; // pixels to a border
const CLOSEST = 2; // seconds that are seen at most magnified
const FEW = 400; // segments that are drawn; more would be one grey

/** Tells `seek` with seconds, and `retime` with a border and seconds. */
export class Waveform extends EventTarget {
  constructor() {
    super();
    this.box = byId("waveform");
    this.canvas = byId("wave-canvas");
    /** @type {Uint8Array | null} */
    this.peaks = null;
    /** @type {Segment[]} */
    this.segments = [];
    this.duration = 0;
    this.time = 0;
    this.from = 0; // what is seen, in seconds
    this.to = 0;
    /** @type {(Border & {time: number, moved: boolean}) | null} */
    this.dragged = null;
    this.seeking = false; // a press beside the borders goes to where the pointer is, until it is released
    this.editable = false;
    this.drawing = 0;
    this.box.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => this.press(event));
    this.box.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => this.move(event));
    this.box.addEventListener("pointerup", () => this.release());
    this.box.addEventListener("pointercancel", () => this.drop());
    this.box.addEventListener("wheel", (/** @type {WheelEvent} */ event) => this.wheel(event), { passive: false });
    new ResizeObserver(() => this.redraw()).observe(this.box);
  }

  /** Show a recording, still without its waveform. @param {number} duration seconds */
  show(duration) {
    this.peaks = null;
    this.duration = this.to = duration;
    this.from = this.time = 0;
    this.dragged = null;
    this.redraw();
  }

  /** @param {Uint8Array | null} peaks */
  fill(peaks) {
    this.peaks = peaks;
    this.redraw();
  }

  /** @param {Segment[]} segments @param {boolean} editable */
  mark(segments, editable) {
    this.segments = segments;
    this.editable = editable;
    this.redraw();
  }

  /** @param {number} time the place that is played; it stays in sight */
  follow(time) {
    this.time = time;
    const length = this.to - this.from;
    if (this.dragged === null && length < this.duration && (time < this.from || time > this.to)) this.look(time - length * 0.1, length);
    this.redraw();
  }

  /** See less or more of the recording. @param {number} factor above 1: less @param {number} [around] seconds */
  zoom(factor, around = this.time) {
    if (this.duration === 0) return;
    const length = Math.min(this.duration, Math.max(CLOSEST, (this.to - this.from) / factor));
    const share = (Math.min(Math.max(around, this.from), this.to) - this.from) / (this.to - this.from);
    this.look(Math.min(Math.max(around, this.from), this.to) - length * share, length);
  }

  /** @param {number} from @param {number} length seconds */
  look(from, length) {
    this.from = Math.min(Math.max(0, from), this.duration - length);
    this.to = this.from + length;
    this.redraw();
  }

  // ---------------------------------------------------------------- the pointer

  /** @param {number} x pixels of the page @returns {number} seconds */
  timeAt(x) {
    const { left, width } = this.box.getBoundingClientRect();
    return this.from + ((x - left) / width) * (this.to - this.from);
  }

  /** Seconds of some pixels. @param {number} pixels */
  seconds(pixels) {
    return (pixels * (this.to - this.from)) / this.box.clientWidth;
  }

  /**
   * The border that is near enough to be dragged; of two at the same place the one on whose segment the pointer is.
   * @param {number} time
   * @returns {Border | null}
   */
  borderAt(time) {
    if (!this.editable) return null;
    const reach = this.seconds(REACH);
    const at = lastStarted(this.segments, ({ start }) => start, time);
    const near = [at - 1, at, at + 1].flatMap((index) => {
      const segment = this.segments[index];
      if (segment === undefined || segment.end - segment.start < reach * 3) return [];
      return [
        { at: index, edge: /** @type {"start"} */ ("start"), gap: Math.abs(segment.start - time), inside: time >= segment.start },
        { at: index, edge: /** @type {"end"} */ ("end"), gap: Math.abs(segment.end - time), inside: time <= segment.end },
      ];
    });
    near.sort((a, b) => a.gap - b.gap || Number(b.inside) - Number(a.inside));
    return near[0]?.gap <= reach ? near[0] : null;
  }

  /** @param {PointerEvent} event */
  press(event) {
    if (this.duration === 0 || event.button !== 0) return;
    const time = this.timeAt(event.clientX);
    const border = this.borderAt(time);
    this.box.setPointerCapture(event.pointerId);
    if (border === null) {
      this.seeking = true;
      this.dispatchEvent(new CustomEvent("seek", { detail: time }));
      return;
    }
    event.preventDefault();
    this.dragged = { ...border, time: this.segments[border.at][border.edge], moved: false };
  }

  /** @param {PointerEvent} event */
  move(event) {
    if (this.duration === 0) return;
    const time = Math.min(Math.max(0, this.timeAt(event.clientX)), this.duration);
    if (this.seeking) {
      this.dispatchEvent(new CustomEvent("seek", { detail: time }));
      return;
    }
    if (this.dragged === null) {
      this.box.classList.toggle("on-border", this.borderAt(time) !== null);
      return;
    }
    const { at } = this.dragged;
    const around = this.segments.slice(Math.max(0, at - 1), at + 2);
    this.dragged.moved = true;
    this.dragged.time = event.altKey ? time : snap(time, this.seconds(REACH), around, this.peaks);
    this.redraw();
  }

  release() {
    this.seeking = false;
    if (this.dragged === null) return;
    const detail = this.dragged;
    this.dragged = null;
    this.redraw();
    this.dispatchEvent(detail.moved ? new CustomEvent("retime", { detail }) : new CustomEvent("seek", { detail: detail.time }));
  }

  drop() {
    this.seeking = false;
    this.dragged = null;
    this.redraw();
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    if (this.duration === 0) return;
    if (event.ctrlKey || event.metaKey) this.zoom(event.deltaY < 0 ? 1.25 : 0.8, this.timeAt(event.clientX));
    else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      this.look(this.from + this.seconds(event.deltaX || event.deltaY), this.to - this.from);
    } else return;
    event.preventDefault();
  }

  // ---------------------------------------------------------------- the picture

  redraw() {
    if (this.drawing === 0) this.drawing = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.drawing = 0;
    const width = this.box.clientWidth;
    const scale = devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * scale)) this.canvas.width = Math.round(width * scale);
    if (this.canvas.height !== Math.round(HEIGHT * scale)) this.canvas.height = Math.round(HEIGHT * scale);
    const context = this.canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, HEIGHT);
    if (this.duration === 0 || width === 0) return;
    const style = getComputedStyle(this.box);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(name);
    const x = (/** @type {number} */ time) => ((time - this.from) / (this.to - this.from)) * width;
    this.drawSegments(context, x, colour);
    this.drawPeaks(context, x, colour, width);
    context.fillStyle = colour("--accent");
    context.fillRect(x(this.time) - 1, 0, 2, HEIGHT);
  }

  /** @param {CanvasRenderingContext2D} context @param {(time: number) => number} x @param {(name: string) => string} colour */
  drawSegments(context, x, colour) {
    const first = Math.max(0, lastStarted(this.segments, ({ start }) => start, this.from));
    const last = lastStarted(this.segments, ({ start }) => start, this.to);
    if (last - first > FEW) return;
    const speakers = speakerColours(this.segments);
    for (let i = first; i <= last; i += 1) {
      const own = this.dragged?.at === i ? { [this.dragged.edge]: this.dragged.time } : {};
      const { start, end, speaker } = { ...this.segments[i], ...own };
      context.fillStyle = colour(`--segment-${i % 2}`);
      context.fillRect(x(start), 0, Math.max(1, x(end) - x(start)), HEIGHT);
      if (speaker !== undefined) {
        context.fillStyle = colour(`--speaker-${speakers.get(speaker)}`);
        context.fillRect(x(start), HEIGHT - 3, Math.max(1, x(end) - x(start)), 3);
      }
      if (!this.editable || last - first > FEW / 10) continue;
      context.fillStyle = colour("--line-strong");
      for (const border of [start, end]) context.fillRect(x(border) - 0.5, 0, 1, HEIGHT);
    }
  }

  /** @param {CanvasRenderingContext2D} context @param {(time: number) => number} x @param {(name: string) => string} colour @param {number} width */
  drawPeaks(context, x, colour, width) {
    const peaks = this.peaks;
    if (peaks === null) return;
    const played = x(this.time);
    const [before, after] = [colour("--accent"), colour("--wave")];
    for (let left = 0; left < width; left += BAR) {
      const begin = Math.floor(this.timeOf(left, width) * PEAKS);
      const end = Math.max(begin + 1, Math.floor(this.timeOf(left + BAR, width) * PEAKS));
      let peak = 0;
      for (let i = begin; i < Math.min(end, peaks.length); i += 1) if (peaks[i] > peak) peak = peaks[i];
      const height = Math.max(1, (peak / LOUDEST) * (HEIGHT - 6));
      context.fillStyle = left < played ? before : after;
      context.fillRect(left, (HEIGHT - height) / 2, BAR - 1, height);
    }
  }

  /** @param {number} pixels @param {number} width */
  timeOf(pixels, width) {
    return this.from + (pixels / width) * (this.to - this.from);
  }
}
