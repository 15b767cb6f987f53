/**
 * Python's rules for text and rounding, where JavaScript's differ: downloads must equal what the command line writes.
 */

const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const LEADING = new RegExp(`^[${SPACE}]+`);
const TRAILING = new RegExp(`[${SPACE}]+$`);
const LINE_BREAK = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/;

/** `str.lstrip` @param {string} text */
export const stripStart = (text) => text.replace(LEADING, "");

/** `str.strip` @param {string} text */
export const strip = (text) => stripStart(text).replace(TRAILING, "");

const SPACES = new RegExp(`[${SPACE}]+`);

/** `" ".join(text.split())` @param {string} text */
export const oneSpaced = (text) => strip(text).split(SPACES).join(" ");

/**
 * `str.splitlines`
 * @param {string} text
 * @returns {string[]}
 */
export function splitLines(text) {
  const lines = text.split(LINE_BREAK);
  if (lines[lines.length - 1] === "") lines.pop();
  return lines;
}

/**
 * `round`: to the nearest integer, ties to even.
 * @param {number} value
 * @returns {number}
 */
export function round(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

/** `len`: code points. @param {string} text */
export const length = (text) => [...text].length;
