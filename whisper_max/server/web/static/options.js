/** More settings: those of the server's own description that a person may want, each with its line about it. */

import { byId, make } from "./dom.js";

/** In their order; a server offers some of them. */
const WANTED = [
  ...["prompt", "hotwords", "vad", "vad_threshold", "beam_size", "temperature", "condition_on_previous_text"],
  ...["guard", "speakers", "channels"],
];

/** @type {Record<string, string>} */
const TITLES = { vad: "Speech only (VAD)", vad_threshold: "VAD threshold", guard: "Invented text" };

/** @type {Record<string, string>} what may be typed */
const EXAMPLES = { speakers: "2, 2-4 or auto" };

/** @typedef {{type?: string, description?: string, enum?: string[], minimum?: number, maximum?: number, maxLength?: number}} Field */

/** @param {Record<string, Field>} fields of the server's form, by name */
export function offerOptions(fields) {
  const offered = WANTED.filter((name) => fields[name] !== undefined);
  byId("options").replaceChildren(...offered.map((name) => option(name, fields[name])));
  byId("more").hidden = offered.length === 0;
}

/** What was set, by name. @returns {Record<string, string>} */
export function readOptions() {
  const controls = [...byId("options").querySelectorAll("[name]")];
  return Object.fromEntries(controls.filter(({ value }) => value.trim() !== "").map(({ name, value }) => [name, value.trim()]));
}

/** @param {string} name @param {Field} field */
function option(name, field) {
  const id = `option-${name}`;
  const own = { id, name };
  const help = make("small", { id: `${id}-help`, textContent: about(field) });
  const element = control(field, own);
  element.setAttribute("aria-describedby", help.id);
  return make("div", { className: "option" }, make("label", { htmlFor: id, textContent: title(name) }), element, help);
}

/** @param {Field} field @param {{id: string, name: string}} own */
function control({ type, enum: choices, minimum, maximum, maxLength }, own) {
  const values = type === "boolean" ? ["true", "false"] : choices;
  if (values !== undefined) {
    const shown = (/** @type {string} */ value) => (type === "boolean" ? { true: "On", false: "Off" }[value] : value);
    return make("select", own, make("option", { value: "", textContent: "Default" }), ...values.map((value) => make("option", { value, textContent: shown(value) })));
  }
  if (type === "integer" || type === "number") {
    const limits = { min: minimum ?? "", max: maximum ?? "", step: type === "integer" ? 1 : "any" };
    return make("input", { ...own, type: "number", placeholder: "Default", ...limits });
  }
  const placeholder = EXAMPLES[own.name] ?? "";
  return make("input", { ...own, type: "text", placeholder, maxLength: Math.min(maxLength ?? 4096, 100_000), autocomplete: "off" });
}

/** What a setting is for; where it is not set its default holds. @param {Field} field */
const about = ({ description = "" }) => description.replace("None: ", "default: ");

/** "beam_size" as "Beam size". @param {string} name */
const title = (name) => TITLES[name] ?? name[0].toUpperCase() + name.slice(1).replaceAll("_", " ");
