/** Links to a recording, and to a moment of it: `#recording=ID&t=SECONDS`. */

/**
 * @param {string} hash of an address
 * @returns {{recording: string | null, job: string | null, time: number}}
 */
export function readMoment(hash) {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  const time = Number(fields.get("t"));
  return { recording: fields.get("recording"), job: fields.get("job"), time: Number.isFinite(time) && time > 0 ? time : 0 };
}

/**
 * @param {import("./types.js").Entry} entry
 * @param {number} [time] seconds
 * @returns {string} the part of an address that begins with `#`
 */
export function moment({ id, job }, time = 0) {
  const fields = new URLSearchParams(job === undefined ? { recording: id } : { job });
  if (time > 0) fields.set("t", String(Math.round(time * 100) / 100));
  return `#${fields}`;
}
