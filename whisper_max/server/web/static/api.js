/** The server's HTTP endpoints: those of OpenAI's audio API. */

import { OFFLINE, cancelled, httpError, streamError } from "./errors.js";
import { languageCode } from "./languages.js";
import { eventReader } from "./sse.js";

/** @typedef {import("./types.js").Result} Result */
/** @typedef {import("./types.js").Segment} Segment */
/** @typedef {import("./types.js").Settings} Settings */

/** The key lives in this page's memory and nowhere else. */
let apiKey = "";

export const key = {
  /** @param {string} value */
  set: (value) => void (apiKey = value.trim()),
  get: () => apiKey,
};

/**
 * The models that the server offers. The answer also tells whether the server is there and takes the key.
 * @returns {Promise<{id: string, default?: boolean}[]>}
 */
export async function listModels() {
  const response = await fetch("v1/models", { headers: authorization() }).catch(() => {
    throw OFFLINE();
  });
  const body = await response.text();
  if (!response.ok) throw httpError(response.status, body, response.headers.get("Retry-After"), apiKey !== "");
  return JSON.parse(body).data;
}

/**
 * What the server says of itself: the fields of its form, and whether it has a desk for jobs.
 * @returns {Promise<{fields: Record<string, any>, hasDesk: boolean}>}
 */
export async function describe() {
  const response = await fetch("openapi.json", { headers: authorization() }).catch(() => {
    throw OFFLINE();
  });
  if (!response.ok) return { fields: {}, hasDesk: false };
  const { paths } = await response.json();
  const content = paths["/v1/audio/transcriptions"]?.post?.requestBody?.content ?? {};
  return { fields: content["multipart/form-data"]?.schema?.properties ?? {}, hasDesk: paths["/v1/jobs"] !== undefined };
}

/**
 * What a transcription tells while it goes.
 *
 * @typedef {object} Follow
 * @property {(share: number) => void} onUpload 0 to 1 of the recording has been sent
 * @property {(done: number, total: number) => void} onProgress seconds that are transcribed
 * @property {(segment: Segment) => void} onSegment
 * @property {AbortSignal} signal closes the connection, which frees the server
 */

/**
 * Send a recording and follow its transcription.
 * @param {Blob} file
 * @param {string} name of the file
 * @param {Settings} settings
 * @param {Follow} follow
 * @returns {Promise<Result>}
 */
export function transcribe(file, name, settings, follow) {
  return send(settings.task === "translate" ? "translations" : "transcriptions", form(file, name, settings), follow);
}

/**
 * Send a recording and what is said in it, and have its times.
 * @param {Blob} file
 * @param {string} name of the file
 * @param {Settings} settings
 * @param {string} text as vtt; each cue becomes a segment
 * @param {Follow} follow
 * @returns {Promise<Result>}
 */
export function align(file, name, settings, text, follow) {
  const fields = form(file, name, settings);
  fields.append("text", text);
  return send("alignments", fields, follow);
}

/**
 * What a waveform is drawn from, as the server decodes the recording.
 * @param {Blob} file
 * @param {string} name of the file
 * @returns {Promise<Uint8Array>} the loudest sample of each hundredth of a second; 255 is the loudest of all
 */
export async function askPeaks(file, name) {
  const fields = new FormData();
  fields.append("file", file, name);
  const response = await fetch("v1/audio/peaks", { method: "POST", headers: authorization(), body: fields }).catch(() => {
    throw OFFLINE();
  });
  if (response.ok) return new Uint8Array(await response.arrayBuffer());
  throw httpError(response.status, await response.text(), response.headers.get("Retry-After"), apiKey !== "");
}

/**
 * @param {"transcriptions" | "translations" | "alignments"} kind
 * @param {FormData} fields
 * @param {Follow} follow
 * @returns {Promise<Result>}
 */
function send(kind, fields, follow) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch can't tell how much has been sent
    const stream = streamReader(follow);
    const advance = () => request.status === 200 && stream.push(request.responseText);
    const settle = () => {
      advance();
      if (request.status === 200) return stream.result();
      throw httpError(request.status, request.responseText, request.getResponseHeader("Retry-After"), apiKey !== "");
    };
    const attempt = (/** @type {() => void} */ action) => {
      try {
        action();
      } catch (error) {
        reject(error);
        request.abort();
      }
    };
    request.upload.onprogress = (event) => event.lengthComputable && follow.onUpload(event.loaded / event.total);
    request.onprogress = () => attempt(advance);
    request.onload = () => attempt(() => resolve(settle()));
    request.onerror = () => reject(request.status === 200 ? streamError(undefined) : OFFLINE());
    request.onabort = () => reject(cancelled());
    follow.signal.addEventListener("abort", () => request.abort());
    request.open("POST", `v1/audio/${kind}`);
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.send(fields);
  });
}

/** @returns {Record<string, string>} */
export function authorization() {
  return apiKey === "" ? {} : { Authorization: `Bearer ${apiKey}` };
}

/**
 * @param {Blob} file
 * @param {string} name
 * @param {Settings} settings
 */
export function form(file, name, { model, language, more = {} }) {
  const fields = new FormData();
  fields.append("model", model);
  if (language !== "") fields.append("language", language);
  fields.append("response_format", "verbose_json");
  fields.append("timestamp_granularities[]", "segment");
  fields.append("timestamp_granularities[]", "word");
  fields.append("stream", "true");
  fields.append("progress", "true");
  for (const [option, value] of Object.entries(more)) fields.append(option, value);
  fields.append("file", file, name);
  return fields;
}

/** @param {Follow} follow */
function streamReader({ onProgress, onSegment }) {
  let seen = 0;
  /** @type {Segment[]} */
  const segments = [];
  /** @type {any} */
  let done = null;
  const read = eventReader((event) => {
    if (event.error) throw streamError(event.error);
    if (event.type === "transcript.progress") onProgress(event.seconds_done, event.seconds);
    if (event.type === "transcript.text.done") done = event;
    if (event.type === "transcript.text.segment") {
      const { type: _, ...segment } = event;
      segments.push({ ...segment, id: Number(segment.id) }); // OpenAI's ids are texts
      onSegment(segments[segments.length - 1]);
    }
  });
  return {
    /** @param {string} response all of it so far */
    push(response) {
      read(response.slice(seen));
      seen = response.length;
    },
    /** @returns {Result} */
    result() {
      if (done === null) throw streamError(undefined);
      const { text, language, duration } = done;
      return { text, segments, language: languageCode(language), duration };
    },
  };
}
