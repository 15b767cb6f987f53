/**
 * Streaming resampling with a windowed sinc (Blackman window): what one call leaves over, the next one uses.
 */

const ZERO_CROSSINGS = 16; // of the sinc on each side; the Blackman window then stops 74 dB
const DENSITY = 256; // places in the table between two zero crossings
const TABLE = kernelTable();

export class Resampler {
  /**
   * @param {number} from samples in a second, before
   * @param {number} to samples in a second, after
   */
  constructor(from, to) {
    this.step = from / to; // input samples for an output sample
    this.cutoff = Math.min(1, to / from);
    this.reach = ZERO_CROSSINGS / this.cutoff; // input samples on each side of an output sample
    this.history = new Float32Array(Math.ceil(this.reach)); // silence before the beginning
    this.position = this.history.length; // of the next output sample, in the history
  }

  /**
   * @param {Float32Array} samples
   * @returns {Float32Array} as many output samples as are complete
   */
  push(samples) {
    const input = new Float32Array(this.history.length + samples.length);
    input.set(this.history);
    input.set(samples, this.history.length);
    const count = Math.max(0, Math.ceil((input.length - this.reach - this.position) / this.step));
    const output = new Float32Array(count);
    for (let i = 0; i < count; i += 1) output[i] = this.at(input, this.position + i * this.step);
    const next = this.position + count * this.step;
    const used = Math.max(0, Math.floor(next - this.reach));
    this.history = input.slice(used);
    this.position = next - used;
    return output;
  }

  /**
   * @param {Float32Array} input
   * @param {number} center in samples, between samples as it comes
   * @returns {number}
   */
  at(input, center) {
    let sum = 0;
    const last = Math.min(input.length - 1, Math.floor(center + this.reach));
    for (let n = Math.max(0, Math.ceil(center - this.reach)); n <= last; n += 1) {
      const place = Math.abs(n - center) * this.cutoff * DENSITY;
      const low = Math.floor(place);
      sum += input[n] * (TABLE[low] + (place - low) * (TABLE[low + 1] - TABLE[low]));
    }
    return sum * this.cutoff;
  }
}

/** The right half of the kernel, and a zero after it to interpolate to. */
function kernelTable() {
  const table = new Float32Array(ZERO_CROSSINGS * DENSITY + 2);
  for (let i = 0; i <= ZERO_CROSSINGS * DENSITY; i += 1) {
    const phase = (Math.PI * i) / DENSITY;
    const turn = phase / ZERO_CROSSINGS;
    const sinc = i === 0 ? 1 : Math.sin(phase) / phase;
    table[i] = sinc * (0.42 + 0.5 * Math.cos(turn) + 0.08 * Math.cos(2 * turn));
  }
  return table;
}
