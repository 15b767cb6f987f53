/** Files in one, as a zip archive without compression (PKWARE's APPNOTE, 4.3). */

const UTF8 = 0x800; // names are
const VERSION = 20;

/** @type {Uint32Array | null} */
let table = null;

/**
 * @param {Record<string, string | Uint8Array>} files by name
 * @param {Date} [now]
 * @returns {Blob}
 */
export function zip(files, now = new Date()) {
  const encoder = new TextEncoder();
  /** @type {BlobPart[]} */
  const parts = [];
  /** @type {BlobPart[]} */
  const directory = [];
  let offset = 0;
  let listed = 0;
  const entries = Object.entries(files);
  for (const [path, content] of entries) {
    const name = encoder.encode(path);
    const bytes = typeof content === "string" ? encoder.encode(content) : content;
    const about = [VERSION, UTF8, 0, dosTime(now), dosDate(now)];
    const sizes = [crc32(bytes), bytes.length, bytes.length];
    const local = record(0x04034b50, about, sizes, [name.length, 0]);
    const central = record(0x02014b50, [VERSION, ...about], sizes, [name.length, 0, 0, 0, 0, 0, 0], [offset]);
    parts.push(local, name, /** @type {BlobPart} */ (bytes));
    directory.push(central, name);
    offset += local.length + name.length + bytes.length;
    listed += central.length + name.length;
  }
  const end = record(0x06054b50, [0, 0, entries.length, entries.length], [listed, offset], [0]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/**
 * A signature, and groups of numbers of 2, 4, 2 and 4 bytes.
 * @param {number} signature
 * @param {number[]} first
 * @param {number[]} second
 * @param {number[]} third
 * @param {number[]} [fourth]
 */
function record(signature, first, second, third, fourth = []) {
  const length = 4 + 2 * first.length + 4 * second.length + 2 * third.length + 4 * fourth.length;
  const view = new DataView(new ArrayBuffer(length));
  view.setUint32(0, signature, true);
  let at = 4;
  for (const [numbers, width] of /** @type {[number[], number][]} */ ([[first, 2], [second, 4], [third, 2], [fourth, 4]])) {
    for (const number of numbers) {
      if (width === 2) view.setUint16(at, number, true);
      else view.setUint32(at, number, true);
      at += width;
    }
  }
  return new Uint8Array(view.buffer);
}

/** @param {Uint8Array} bytes */
export function crc32(bytes) {
  table ??= Uint32Array.from({ length: 256 }, (_, i) => {
    let value = i;
    for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
    return value;
  });
  let crc = ~0;
  for (const byte of bytes) crc = table[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** @param {Date} date */
const dosTime = (date) => (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1);

/** @param {Date} date */
const dosDate = (date) => ((date.getFullYear() - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate();
