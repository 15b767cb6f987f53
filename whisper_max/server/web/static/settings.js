/** Model, language and task. */

import { byId, make } from "./dom.js";
import { LANGUAGES, languageTitle } from "./languages.js";
import { readOptions } from "./options.js";

/** @typedef {import("./types.js").Settings} Settings */

export function setUpSettings() {
  const titles = Object.keys(LANGUAGES).map((code) => [code, languageTitle(code)]);
  titles.sort(([, a], [, b]) => a.localeCompare(b, "en"));
  byId("language").append(...titles.map(([code, title]) => make("option", { value: code, textContent: title })));
  byId("model").addEventListener("change", fitToModel);
}

/** @param {{id: string, default?: boolean}[]} models */
export function offerModels(models) {
  const chosen = byId("model").value;
  byId("model").replaceChildren(...models.map(({ id }) => make("option", { value: id, textContent: id })));
  const wanted = models.find(({ id }) => id === chosen) ?? models.find((model) => model.default) ?? models[0];
  if (wanted) byId("model").value = wanted.id;
  fitToModel();
}

/** @returns {Settings} */
export function readSettings() {
  return { model: byId("model").value, language: byId("language").value, task: byId("task").value, more: readOptions() };
}

/** A model whose name ends in ".en" knows English only. */
function fitToModel() {
  const english = byId("model").value.endsWith(".en");
  for (const id of ["language", "task"]) {
    byId(id).disabled = english;
    byId(id).title = english ? "This model knows English only." : "";
  }
  if (!english) return;
  byId("language").value = "en";
  byId("task").value = "transcribe";
}
