/** The transcript, with its edits, as files and on the clipboard. */

import { byId, make } from "./dom.js";
import { FORMATS } from "./formats.js";

/** @typedef {import("./transcript.js").Transcript} Transcript */

/** @param {() => Transcript | null} current */
export function setUpDownloads(current) {
  const menu = byId("downloads");
  for (const [format, { title }] of Object.entries(FORMATS)) {
    const button = make("button", { type: "button", dataset: { format } }, make("b", { textContent: format }), title);
    button.addEventListener("click", () => {
      menu.open = false;
      const transcript = current();
      if (transcript !== null) save(transcript, format);
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
  byId("copy-button").addEventListener("click", () => copy(current()));
}

/**
 * @param {Transcript} transcript
 * @param {string} format
 */
function save(transcript, format) {
  const { mime, render } = FORMATS[format];
  const address = URL.createObjectURL(new Blob([render(transcript.result())], { type: `${mime};charset=utf-8` }));
  make("a", { href: address, download: `${transcript.name}.${format}` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000); // once the browser has read it
}

/** @param {Transcript | null} transcript */
async function copy(transcript) {
  if (transcript === null) return;
  const label = byId("copy-label");
  label.textContent = await navigator.clipboard.writeText(FORMATS.txt.render(transcript.result())).then(
    () => "Copied",
    () => "Not allowed",
  );
  setTimeout(() => (label.textContent = "Copy"), 2000);
}
