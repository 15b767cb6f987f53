/** A question before something is lost. */

import { byId } from "./dom.js";

/**
 * @param {string} title
 * @param {string} text what would be lost
 * @param {string} action what the button says that goes on
 * @returns {Promise<boolean>}
 */
export function confirmed(title, text, action) {
  const dialog = byId("confirm");
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = text;
  byId("confirm-go").textContent = action;
  dialog.showModal();
  byId("confirm-stay").focus();
  return new Promise((resolve) => {
    byId("confirm-go").onclick = () => resolve(true);
    dialog.onclose = () => dialog.open || resolve(false); // open: a browser that is busy tells late of the question before
  });
}
