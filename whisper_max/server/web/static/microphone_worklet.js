/** On the audio thread: the microphone's samples, resampled to the server's rate, as 16 bit integers. */

import { Resampler } from "./resampler.js";

const RATE = 24_000; // samples in a second, of OpenAI's pcm16
const CHUNK = RATE / 10; // samples in a message

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, RATE);
    this.chunk = new Int16Array(CHUNK);
    this.filled = 0;
    this.running = true;
    this.port.onmessage = () => {
      this.send(); // what is left over
      this.running = false;
      this.port.postMessage(null);
    };
  }

  /**
   * @param {Float32Array[][]} inputs
   * @returns {boolean} whether to go on
   */
  process([channels]) {
    if (!this.running || channels.length === 0) return this.running;
    for (const sample of this.resampler.push(channels[0])) {
      this.chunk[this.filled++] = Math.round(Math.max(-1, Math.min(1, sample)) * 32_767);
      if (this.filled === CHUNK) this.send();
    }
    return true;
  }

  send() {
    const samples = this.chunk.slice(0, this.filled);
    this.filled = 0;
    if (samples.length > 0) this.port.postMessage(samples.buffer, [samples.buffer]);
  }
}

registerProcessor("microphone", Microphone);
