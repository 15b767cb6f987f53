/** What a waveform is drawn from: the loudest sample of each hundredth of a second, 255 for the loudest of all. */

import { askPeaks } from "./api.js";

const RATE = 8000; // samples in a second that the browser decodes to: enough to draw
const LONGEST = 30 * 60; // seconds that are decoded here; all samples are in memory at once
export const PEAKS = 100; // values for each second
export const LOUDEST = 255;

/**
 * The peaks of a recording: made here, or by the server where that would take much memory, or a decoder that is not here.
 * @param {Blob} file
 * @param {string} name of the file
 * @param {number} duration seconds of the recording, sound or not; Infinity when unknown
 * @returns {Promise<Uint8Array>}
 */
export async function peaksOf(file, name, duration) {
  const decoded = duration <= LONGEST || duration === Infinity ? await decodePeaks(file) : null;
  return decoded ?? askPeaks(file, name);
}

/** @param {Blob} file @returns {Promise<Uint8Array | null>} null when the browser can't decode it */
async function decodePeaks(file) {
  const context = new OfflineAudioContext(1, 1, RATE);
  const audio = await context.decodeAudioData(await file.arrayBuffer()).catch(() => null);
  if (audio === null || audio.length === 0) return null;
  const peaks = new Float32Array(Math.ceil(audio.duration * PEAKS));
  for (let channel = 0; channel < audio.numberOfChannels; channel += 1) {
    const samples = audio.getChannelData(channel);
    for (let i = 0; i < samples.length; i += 1) {
      const bucket = Math.floor((i * PEAKS) / RATE);
      peaks[bucket] = Math.max(peaks[bucket], Math.abs(samples[i]));
    }
  }
  const most = peaks.reduce((loudest, peak) => Math.max(loudest, peak), 0) || 1;
  return Uint8Array.from(peaks, (peak) => Math.round((peak * LOUDEST) / most));
}
