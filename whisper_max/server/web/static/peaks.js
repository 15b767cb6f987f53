/** What a waveform is drawn from. */

const RATE = 8000; // samples in a second that the browser decodes to: enough to draw
const BUCKETS = 2000; // values for the whole recording

/**
 * Decode a recording and keep its loudest sample in each of many equal parts.
 * @param {Blob} file
 * @returns {Promise<{peaks: Float32Array, duration: number} | null>} null when the browser can't decode it
 */
export async function decodePeaks(file) {
  const context = new OfflineAudioContext(1, 1, RATE);
  const audio = await context.decodeAudioData(await file.arrayBuffer()).catch(() => null);
  if (audio === null || audio.length === 0) return null;
  const samples = audio.getChannelData(0);
  const peaks = new Float32Array(Math.min(BUCKETS, samples.length));
  for (let i = 0; i < samples.length; i += 1) {
    const bucket = Math.floor((i * peaks.length) / samples.length);
    peaks[bucket] = Math.max(peaks[bucket], Math.abs(samples[i]));
  }
  return { peaks, duration: audio.duration };
}
