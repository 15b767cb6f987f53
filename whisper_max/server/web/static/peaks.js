/** What a waveform is drawn from. */

const RATE = 8000; // samples in a second that the browser decodes to: enough to draw
export const PEAKS = 100; // values for each second

/**
 * Decode a recording and keep its loudest sample in each hundredth of a second.
 * @param {Blob} file
 * @param {number} duration seconds of the recording, sound or not; Infinity when unknown
 * @returns {Promise<{peaks: Float32Array, duration: number} | null>} null when the browser can't decode it
 */
export async function decodePeaks(file, duration) {
  const context = new OfflineAudioContext(1, 1, RATE);
  const audio = await context.decodeAudioData(await file.arrayBuffer()).catch(() => null);
  if (audio === null || audio.length === 0) return null;
  const seconds = Number.isFinite(duration) ? duration : audio.duration;
  const peaks = new Float32Array(Math.ceil(seconds * PEAKS)); // silent where the sound is shorter than the picture
  const channels = Array.from({ length: audio.numberOfChannels }, (_, i) => audio.getChannelData(i));
  for (const samples of channels) {
    for (let i = 0; i < samples.length; i += 1) {
      const bucket = Math.floor((i * PEAKS) / RATE);
      if (bucket < peaks.length) peaks[bucket] = Math.max(peaks[bucket], Math.abs(samples[i]));
    }
  }
  return { peaks, duration: seconds };
}
