/**
 * The shapes that travel between the page's modules. Nothing runs here.
 *
 * @typedef {object} Word
 * @property {string} word with its leading space; the words of a segment, joined, are its text
 * @property {number} start seconds
 * @property {number} end seconds
 * @property {number} [probability] missing where the times were estimated after an edit
 *
 * @typedef {object} Segment
 * @property {number} id from 0
 * @property {number} start seconds
 * @property {number} end seconds
 * @property {string} text with its leading space
 * @property {Word[]} [words]
 * @property {boolean} [edited]
 * @property {number} [seek]
 * @property {number[]} [tokens]
 * @property {number} [temperature]
 * @property {number} [avg_logprob]
 * @property {number} [compression_ratio]
 * @property {number} [no_speech_prob]
 *
 * @typedef {object} Result
 * @property {string} text
 * @property {Segment[]} segments
 * @property {string} language a code, empty when unknown
 * @property {number} duration seconds
 *
 * @typedef {object} Settings
 * @property {string} model
 * @property {string} language a code, empty for detection
 * @property {'transcribe' | 'translate'} task
 */
export {};
