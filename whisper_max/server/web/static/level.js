/** How loud the microphone is, as bars that move to the left. */

import { byId } from "./dom.js";

const BAR = 3; // pixels
const GAP = 2; // pixels
const FLOOR = -50; // dB that show nothing

export class Level {
  constructor() {
    this.canvas = byId("live-level");
    /** @type {number[]} */
    this.levels = [];
  }

  /** @param {Int16Array} samples */
  push(samples) {
    const half = Math.ceil(samples.length / 2);
    this.levels.push(loudness(samples.subarray(0, half)), loudness(samples.subarray(half)));
    this.draw();
  }

  draw() {
    const { canvas } = this;
    const count = Math.floor(canvas.width / (BAR + GAP));
    this.levels = this.levels.slice(-count);
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = getComputedStyle(canvas).color;
    this.levels.forEach((level, i) => {
      const height = Math.max(BAR, level * canvas.height);
      const x = canvas.width - (this.levels.length - i) * (BAR + GAP);
      context.beginPath();
      context.roundRect(x, (canvas.height - height) / 2, BAR, height, BAR / 2);
      context.fill();
    });
  }
}

/**
 * @param {Int16Array} samples
 * @returns {number} 0 to 1
 */
function loudness(samples) {
  const power = samples.reduce((sum, sample) => sum + (sample / 32_768) ** 2, 0) / Math.max(1, samples.length);
  return Math.max(0, Math.min(1, 1 - (10 * Math.log10(power + 1e-9)) / FLOOR));
}
