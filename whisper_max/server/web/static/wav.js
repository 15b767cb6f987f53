/**
 * Samples as a WAV file.
 * @param {BlobPart[]} parts little-endian 16 bit mono samples
 * @param {number} rate samples in a second
 * @returns {Blob}
 */
export function wavFile(parts, rate) {
  const samples = new Blob(parts);
  const header = new DataView(new ArrayBuffer(44));
  const text = (/** @type {number} */ at, /** @type {string} */ word) =>
    [...word].forEach((letter, i) => header.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  header.setUint32(4, 36 + samples.size, true);
  text(8, "WAVEfmt ");
  header.setUint32(16, 16, true); // bytes of the format that follows
  header.setUint16(20, 1, true); // PCM
  header.setUint16(22, 1, true); // channels
  header.setUint32(24, rate, true);
  header.setUint32(28, rate * 2, true);
  header.setUint16(32, 2, true); // bytes in a frame
  header.setUint16(34, 16, true); // bits in a sample
  text(36, "data");
  header.setUint32(40, samples.size, true);
  return new Blob([header, samples], { type: "audio/wav" });
}
