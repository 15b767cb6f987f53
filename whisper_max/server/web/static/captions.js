/** Live captions: what is committed stands, what is tentative is dimmed and may still change. */

import { byId, make } from "./dom.js";

/** @typedef {import("./types.js").Segment} Segment */
/** @typedef {import("./types.js").Word} Word */

/**
 * @typedef {object} Item an utterance
 * @property {HTMLElement} element
 * @property {HTMLElement} committed
 * @property {HTMLElement} tentative
 * @property {number} start seconds
 * @property {number} end seconds
 * @property {Word[]} [words] once it is over
 */

export class Captions {
  /** @param {() => number} now seconds of speech so far, for what the server does not time */
  constructor(now) {
    this.now = now;
    this.box = byId("captions");
    this.box.replaceChildren();
    /** @type {Map<string, Item>} */
    this.items = new Map();
    this.language = "";
  }

  /** @param {any} event of the realtime session */
  take(event) {
    const kind = event.type.split(".").pop();
    if (event.item_id === undefined) return;
    const item = this.item(event.item_id);
    if (kind === "speech_started") item.start = event.audio_start_ms / 1000;
    if (kind === "speech_stopped") item.end = event.audio_end_ms / 1000;
    if (kind === "tentative") item.tentative.textContent = event.text;
    if (kind === "delta") {
      item.committed.textContent += event.delta;
      item.tentative.textContent = after(event.delta, item.tentative.textContent ?? "");
    }
    if (kind === "completed") {
      item.committed.textContent = event.transcript;
      item.tentative.textContent = "";
      item.end = event.end ?? Math.max(item.start, item.end || this.now());
      item.start = event.start ?? item.start;
      item.words = event.words;
      this.language ||= event.language ?? "";
    }
    item.element.hidden = item.element.textContent === "";
    this.box.scrollTop = this.box.scrollHeight;
  }

  /** What is committed. @returns {Segment[]} */
  segments() {
    return [...this.items.values()]
      .filter(({ committed }) => committed.textContent?.trim())
      .map(({ committed, start, end, words }, id) => {
        const segment = { id, text: ` ${committed.textContent?.trim()}`, start, end: end || this.now() };
        return words ? { ...segment, words } : segment;
      });
  }

  /**
   * @param {string} id
   * @returns {Item}
   */
  item(id) {
    const known = this.items.get(id);
    if (known !== undefined) return known;
    const committed = make("span");
    const tentative = make("span", { className: "tentative", ariaHidden: "true" });
    const element = make("p", { hidden: true, dir: "auto" }, committed, tentative);
    const item = { element, committed, tentative, start: this.now(), end: 0 };
    this.items.set(id, item);
    this.box.append(element);
    return item;
  }
}

/**
 * What is still tentative once some was committed: the server tells it anew a moment later, and until then no word may
 * stand there twice.
 * @param {string} committed
 * @param {string} tentative
 */
function after(committed, tentative) {
  const plain = (/** @type {string} */ text) => text.replace(/[^\p{L}\p{N}]/gu, "").toLowerCase();
  const words = tentative.match(/\s*\S+/g) ?? [];
  const said = plain(committed);
  let count = 0;
  while (count < words.length && said.startsWith(plain(words.slice(0, count + 1).join("")))) count += 1;
  return count > 0 && plain(words.slice(0, count).join("")) === said ? words.slice(count).join("") : "";
}
