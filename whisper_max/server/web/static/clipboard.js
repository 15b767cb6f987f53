/** The clipboard, which browsers give to pages of https and of this machine only. */

const SHOWN = 2000; // milliseconds that a button says what it did

/** Put a text on the clipboard, and say so where the button's name is. @param {string} text @param {HTMLElement} label */
export async function copy(text, label) {
  const name = (label.dataset.name ??= label.textContent ?? "");
  const done = navigator.clipboard?.writeText(text) ?? Promise.reject();
  label.textContent = await done.then(() => "Copied", () => "Not allowed");
  setTimeout(() => (label.textContent = name), SHOWN);
}
