/** The server's desk: recordings that it goes on with while nobody waits, be this page closed. */

import { authorization, form } from "./api.js";
import { OFFLINE, PageError, cancelled, httpError } from "./errors.js";

/** @typedef {import("./api.js").Follow} Follow */
/** @typedef {import("./types.js").Result} Result */
/** @typedef {import("./types.js").Segment} Segment */
/** @typedef {import("./types.js").Settings} Settings */
/** @typedef {{id: string, status: string, file_name: string, progress: {seconds_done: number, seconds: number} | null}} Job */

const PAUSE = 600; // milliseconds between two looks
const TOLD = 300; // milliseconds in which a browser tells that all was sent; it looks ten times a second or so

/**
 * Leave a recording at the desk, or find it there, and follow it to its end.
 * @param {{file: Blob, name: string, settings: Settings, id: string | undefined}} left id: where it was left before
 * @param {Follow} follow
 * @param {(id: string) => void} onLeft it is there now
 * @returns {Promise<Result>}
 */
export async function transcribeAtDesk({ file, name, settings, id }, follow, onLeft) {
  const known = id === undefined ? null : await findJob(id);
  if (id !== undefined && known === null && file.size === 0) {
    throw new PageError("The server does not have this transcript any more.", "Ask who sent you its link.");
  }
  let job = known ?? (await leave(file, name, settings, follow));
  onLeft(job.id);
  follow.onUpload(1);
  /** @type {Segment[]} */
  const segments = [];
  for (;;) {
    if (job.status === "failed") await ask(`${address(job.id)}/result`); // which throws
    const { data, language, duration } = await ask(`${address(job.id)}/segments?start=${segments.length}`);
    for (const segment of data) {
      segments.push(segment);
      follow.onSegment(segment);
    }
    if (job.status === "done") return { text: segments.map(({ text }) => text).join(""), segments, language, duration };
    if (job.progress && job.progress.seconds > 0) follow.onProgress(job.progress.seconds_done, job.progress.seconds);
    await pause(follow.signal);
    if (follow.signal.aborted) {
      await ask(address(job.id), "DELETE");
      throw cancelled();
    }
    job = await ask(address(job.id));
  }
}

/** @param {string} id @returns {Promise<Job | null>} null where the desk does not have it */
export async function findJob(id) {
  const response = await request(address(id), "GET");
  return response.status === 404 ? null : answerOf(response);
}

/** @param {string} id */
const address = (id) => `v1/jobs/${encodeURIComponent(id)}`;

/** @param {string} path @param {string} [method] @returns {Promise<any>} */
async function ask(path, method = "GET") {
  return answerOf(await request(path, method));
}

/** @param {string} path @param {string} method */
function request(path, method) {
  return fetch(path, { method, headers: authorization() }).catch(() => {
    throw OFFLINE();
  });
}

/** @param {Response} response @returns {Promise<any>} */
async function answerOf(response) {
  const body = await response.text();
  if (response.ok) return JSON.parse(body);
  throw httpError(response.status, body, response.headers.get("Retry-After"), "Authorization" in authorization());
}

/**
 * @param {Blob} file
 * @param {string} name
 * @param {Settings} settings
 * @param {Follow} follow
 * @returns {Promise<Job>}
 */
function leave(file, name, settings, { onUpload, signal }) {
  const fields = form(file, name, settings);
  fields.delete("stream");
  fields.delete("progress");
  if (settings.task === "translate") fields.append("task", "translate");
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest(); // fetch can't tell how much has been sent
    let isSent = false; // from then on the server may have a job, which is cancelled once it has told its id
    sending.upload.onload = () => {
      isSent = true;
    };
    sending.upload.onprogress = (event) => event.lengthComputable && onUpload(event.loaded / event.total);
    sending.onload = () => {
      if (sending.status === 202) return resolve(JSON.parse(sending.responseText));
      const keySent = "Authorization" in authorization();
      reject(httpError(sending.status, sending.responseText, sending.getResponseHeader("Retry-After"), keySent));
    };
    sending.onerror = () => reject(OFFLINE());
    sending.onabort = () => reject(cancelled());
    signal.addEventListener("abort", () => setTimeout(() => isSent || sending.abort(), TOLD));
    sending.open("POST", "v1/jobs");
    for (const [header, value] of Object.entries(authorization())) sending.setRequestHeader(header, value);
    sending.send(fields);
  });
}

/** @param {AbortSignal} signal @returns {Promise<void>} */
function pause(signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, PAUSE);
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
