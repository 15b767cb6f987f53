/**
 * The shapes that travel between the page's modules. Nothing runs here.
 *
 * @typedef {object} Word
 * @property {string} word with its leading space; the words of a segment, joined, are its text
 * @property {number} start seconds
 * @property {number} end seconds
 * @property {number} [probability] missing where the times were estimated after an edit
 * @property {string} [speaker]
 *
 * @typedef {object} Segment
 * @property {number} id from 0
 * @property {number} start seconds
 * @property {number} end seconds
 * @property {string} text with its leading space
 * @property {Word[]} [words]
 * @property {string} [speaker] "Speaker 1", or the name that was given
 * @property {{reason: string}[]} [doubt] why it was probably never said
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
 * @property {Record<string, string>} [more] other fields of the form, by name
 *
 * @typedef {'queued' | 'working' | 'live' | 'done' | 'partial' | 'failed'} Status partial: with an end missing
 *
 * @typedef {object} Entry what the list knows of a recording
 * @property {string} id
 * @property {string} name of its file
 * @property {string} type of its file
 * @property {number} size bytes
 * @property {number} created milliseconds since 1970
 * @property {Status} status
 * @property {Settings} settings
 * @property {number} duration seconds; 0 when unknown
 * @property {number} words
 * @property {string} [job] its id on the server's desk
 * @property {string} [error] why it failed
 *
 * @typedef {object} Step one change of the segments, which can be undone
 * @property {number} at
 * @property {Segment[]} removed
 * @property {Segment[]} added
 *
 * @typedef {object} Saved a transcript in the browser's store
 * @property {string} id of its recording
 * @property {number} revision
 * @property {Segment[]} segments
 * @property {Segment[]} recognised
 * @property {Step[]} steps
 * @property {number} done how many of the steps hold
 * @property {string} language
 * @property {number} duration
 * @property {boolean} finished
 */
export {};
