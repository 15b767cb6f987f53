/** Where recordings come in: chosen, or dropped anywhere on the page; files and folders. */

import { byId } from "./dom.js";

const RECORDING = /\.(3gp|aac|ac3|aif|aiff|amr|au|avi|caf|flac|m4a|m4b|m4v|mka|mkv|mov|mp2|mp3|mp4|mpeg|mpg|oga|ogg|ogv|opus|ts|wav|webm|wma|wmv)$/i;

/** Whether a file that came with a folder is meant. @param {File} file */
const isRecording = ({ name, type }) => /^(audio|video)\//.test(type) || RECORDING.test(name);

/** Whether text that is dragged can be dropped there. @param {EventTarget | null} target */
const takesText = (target) => target instanceof Element && target.closest("input, textarea") !== null;

/** @param {(files: File[], leftOut: number) => void} onFiles */
export function setUpIntake(onFiles) {
  const drop = byId("drop");
  for (const [button, field] of [["choose-button", "file"], ["folder-button", "folder"]]) {
    byId(button).addEventListener("click", () => byId(field).click());
    byId(field).addEventListener("change", () => {
      const files = [...byId(field).files];
      byId(field).value = "";
      take(files, field === "folder", onFiles);
    });
  }
  document.addEventListener("dragover", (event) => {
    const files = event.dataTransfer?.types.includes("Files") ?? false;
    if (!files && takesText(event.target)) return;
    event.preventDefault(); // a browser would leave the page for a link
    if (files) drop.classList.add("over");
    else if (event.dataTransfer) event.dataTransfer.dropEffect = "none";
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) drop.classList.remove("over");
  });
  document.addEventListener("drop", async (event) => {
    drop.classList.remove("over");
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    const files = [...(event.dataTransfer?.files ?? [])];
    const entries = [...(event.dataTransfer?.items ?? [])].map((item) => item.webkitGetAsEntry?.() ?? null);
    const folders = entries.filter((entry) => entry?.isDirectory);
    const plain = files.filter((file, i) => !entries[i]?.isDirectory);
    take(plain, false, onFiles);
    if (folders.length > 0) take((await Promise.all(folders.map(filesOf))).flat(), true, onFiles);
  });
}

/** @param {File[]} files @param {boolean} choose @param {(files: File[], leftOut: number) => void} onFiles */
function take(files, choose, onFiles) {
  const wanted = choose ? files.filter(isRecording).sort((a, b) => path(a).localeCompare(path(b))) : files;
  if (files.length > 0) onFiles(wanted, files.length - wanted.length);
}

/** @param {File} file */
const path = (file) => file.webkitRelativePath || file.name;

/** All files below a folder. @param {any} entry @returns {Promise<File[]>} */
async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  /** @type {File[]} */
  const files = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // a hundred at a time
    if (some.length === 0) return files;
    for (const each of some) files.push(...(await filesOf(each)));
  }
}
