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
  dialog.returnValue = "";
  dialog.showModal();
  byId("confirm-stay").focus();
  return new Promise((resolve) => (dialog.onclose = () => resolve(dialog.returnValue === "go")));
}
