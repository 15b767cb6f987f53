/** Light or dark: as the system has it, until the button says otherwise. The choice is kept in this browser. */

import { byId } from "./dom.js";

const STORED = "whisper_max.theme";
/** @type {string | null} what was chosen since the page was opened */
let kept = null;
const system = matchMedia("(prefers-color-scheme: dark)");

/** @param {() => void} onChange called after the colours have changed */
export function setUpTheme(onChange) {
  const button = byId("theme-button");
  const show = () => {
    const chosen = kept ?? read();
    if (chosen === null) delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    button.setAttribute("aria-pressed", String(isDark()));
    onChange();
  };
  button.addEventListener("click", () => {
    keep(isDark() ? "light" : "dark");
    show();
  });
  system.addEventListener("change", show);
  show();
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen === undefined ? system.matches : chosen === "dark";
}

/** What was chosen before; null where nothing was, or where the browser keeps nothing. */
function read() {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

/** @param {"light" | "dark"} chosen */
function keep(chosen) {
  kept = chosen;
  try {
    localStorage.setItem(STORED, chosen);
  } catch {
    // it holds until the page is closed
  }
}
