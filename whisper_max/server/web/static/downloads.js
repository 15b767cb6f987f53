/** The transcript, with its edits, as files and on the clipboard. */

import { copy } from "./clipboard.js";
import { renderDocx } from "./docx.js";
import { byId, make } from "./dom.js";
import { FORMATS } from "./formats.js";
import { zip } from "./zip.js";

/** @typedef {import("./transcript.js").Transcript} Transcript */

/** @type {Readonly<Record<string, {title: string, blob: (transcript: Transcript) => Blob | Promise<Blob>}>>} */
const EXPORTS = Object.freeze({
  ...Object.fromEntries(
    Object.entries(FORMATS).map(([format, { title, mime, render }]) => [
      format,
      { title, blob: (/** @type {Transcript} */ transcript) => new Blob([render(transcript.result())], { type: `${mime};charset=utf-8` }) },
    ]),
  ),
  docx: { title: "Word document", blob: (/** @type {Transcript} */ transcript) => renderDocx(transcript.result(), transcript.name) },
  zip: { title: "All of these", blob: async (/** @type {Transcript} */ transcript) => zip(await allFormats(transcript, "")) },
});

/** @param {() => Transcript | null} current */
export function setUpDownloads(current) {
  const menu = byId("downloads");
  for (const [format, { title }] of Object.entries(EXPORTS)) {
    const button = make("button", { type: "button", dataset: { format } }, make("b", { textContent: format }), title);
    button.addEventListener("click", async () => {
      menu.open = false;
      const transcript = current();
      if (transcript !== null) save(await EXPORTS[format].blob(transcript), `${transcript.name}.${format}`);
    });
    byId("download-list").append(make("li", {}, button));
  }
  document.addEventListener("click", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  menu.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape" || !menu.open) return;
    event.stopPropagation();
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  byId("copy-button").addEventListener("click", () => {
    const transcript = current();
    if (transcript !== null) copy(FORMATS.txt.render(transcript.result()), byId("copy-label"));
  });
}

/**
 * All transcripts in all formats, each in a folder of its own.
 * @param {Transcript[]} transcripts
 */
export async function saveAll(transcripts) {
  /** @type {Record<string, string | Uint8Array>} */
  const files = {};
  /** @type {Set<string>} */
  const folders = new Set();
  for (const transcript of transcripts) {
    let folder = transcript.name;
    for (let number = 2; folders.has(folder); number += 1) folder = `${transcript.name} (${number})`;
    folders.add(folder);
    Object.assign(files, await allFormats(transcript, `${folder}/`));
  }
  save(zip(files), "transcripts.zip");
}

/**
 * @param {Transcript} transcript
 * @param {string} folder
 * @returns {Promise<Record<string, string | Uint8Array>>}
 */
async function allFormats(transcript, folder) {
  const result = transcript.result();
  /** @type {Record<string, string | Uint8Array>} */
  const files = {};
  for (const [format, { render }] of Object.entries(FORMATS)) files[`${folder}${transcript.name}.${format}`] = render(result);
  files[`${folder}${transcript.name}.docx`] = new Uint8Array(await renderDocx(result, transcript.name).arrayBuffer());
  return files;
}

/** @param {Blob} blob @param {string} name */
function save(blob, name) {
  const address = URL.createObjectURL(blob);
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000); // once the browser has read it
}
