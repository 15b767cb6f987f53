/** Light or dark: as the system has it, until the button says otherwise. The choice is kept in this browser. */

import { byId } from "./dom.js";

const STORED = "whisper_max.theme";
const system = matchMedia("(prefers-color-scheme: dark)");

/** @param {() => void} onChange called after the colours have changed */
export function setUpTheme(onChange) {
  const button = byId("theme-button");
  const show = () => {
    const chosen = localStorage.getItem(STORED);
    if (chosen === null) delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    button.setAttribute("aria-pressed", String(isDark()));
    onChange();
  };
  button.addEventListener("click", () => {
    localStorage.setItem(STORED, isDark() ? "light" : "dark");
    show();
  });
  system.addEventListener("change", show);
  show();
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen === undefined ? system.matches : chosen === "dark";
}
