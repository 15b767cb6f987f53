/** The one place where errors are shown: what went wrong, what to do, and a button that does it. */

import { byId } from "./dom.js";
import { asPageError } from "./errors.js";

/** @type {(() => void) | null} */
let retry = null;

/** @param {(key: string) => void} onKey gets the API key that was typed */
export function setUpMessage(onKey) {
  byId("dismiss-button").addEventListener("click", hideMessage);
  byId("retry-button").addEventListener("click", again);
  byId("key-form").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    onKey(byId("key").value);
    byId("key").value = "";
    again();
  });
}

/**
 * @param {unknown} thrown
 * @param {(() => void) | null} onRetry does once more what failed; null where that is no help
 */
export function showError(thrown, onRetry) {
  const error = asPageError(thrown);
  retry = onRetry;
  byId("message-text").textContent = error.message;
  byId("message-hint").textContent = error.hint;
  byId("key-form").hidden = !error.needsKey;
  byId("retry-button").hidden = error.needsKey || onRetry === null;
  byId("message").hidden = false;
  byId("message").scrollIntoView({ block: "nearest" });
  if (error.needsKey) byId("key").focus();
}

export function hideMessage() {
  retry = null;
  byId("message").hidden = true;
}

function again() {
  const action = retry;
  hideMessage();
  action?.();
}
