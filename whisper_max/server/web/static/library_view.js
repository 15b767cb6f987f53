/** The list of recordings: open one, see how far each is, cancel, remove. */

import { byId, clock, icon, make } from "./dom.js";
import { leftText } from "./estimate.js";

/** @typedef {import("./library.js").Library} Library */
/** @typedef {import("./queue.js").Queue} Queue */
/** @typedef {import("./recording.js").Recording} Recording */

/** Tells `open`, `remove` and `again` with a recording. */
export class LibraryView extends EventTarget {
  /** @param {Library} library @param {Queue} queue */
  constructor(library, queue) {
    super();
    this.library = library;
    this.queue = queue;
    this.list = byId("recordings");
    /** @type {Map<Recording, HTMLElement>} */
    this.rows = new Map();
    /** @type {Recording | null} */
    this.open = null;
    library.addEventListener("change", () => this.render());
  }

  /** @param {Recording | null} open the recording that is shown */
  mark(open) {
    this.open = open;
    for (const [recording, row] of this.rows) row.querySelector(".recording-name")?.setAttribute("aria-current", String(recording === open));
  }

  render() {
    const { recordings } = this.library;
    byId("library").hidden = recordings.length === 0;
    byId("library-count").textContent = String(recordings.length);
    const kept = new Set(recordings);
    for (const [recording, row] of this.rows) {
      if (kept.has(recording)) continue;
      this.rows.delete(recording);
      row.remove();
    }
    recordings.forEach((recording, i) => {
      const row = this.rows.get(recording) ?? this.make(recording);
      if (this.list.children[i] !== row) this.list.insertBefore(row, this.list.children[i] ?? null);
      this.draw(recording);
    });
    this.mark(this.open);
  }

  /** @param {Recording} recording */
  make(recording) {
    const { name } = recording.entry;
    const tell = (/** @type {string} */ type) => () => this.dispatchEvent(new CustomEvent(type, { detail: recording }));
    const button = (/** @type {string} */ kind, /** @type {string} */ label, /** @type {() => void} */ act) => {
      const element = make("button", { type: "button", className: `icon-button recording-${kind}`, ariaLabel: `${label}: ${name}`, title: label }, icon(kind));
      element.addEventListener("click", act);
      return element;
    };
    const open = make("button", { type: "button", className: "recording-name", dir: "auto", textContent: name, title: name });
    open.addEventListener("click", tell("open"));
    const row = make(
      "li",
      { className: "recording", dataset: { id: recording.id } },
      open,
      make("p", { className: "recording-facts" }),
      make("progress", { max: 1, ariaLabel: `Progress of ${name}` }),
      make(
        "div",
        { className: "recording-tools" },
        button("stop", "Cancel", () => this.queue.cancel(recording)),
        button("again", "Transcribe again", tell("again")),
        button("close", "Remove", tell("remove")),
      ),
    );
    this.rows.set(recording, row);
    recording.addEventListener("progress", () => this.draw(recording));
    return row;
  }

  /** @param {Recording} recording */
  draw(recording) {
    const row = this.rows.get(recording);
    if (row === undefined) return;
    const { job, status } = recording;
    row.dataset.status = status;
    /** @type {any} */ (row.querySelector(".recording-facts")).textContent = this.facts(recording);
    const progress = /** @type {HTMLProgressElement} */ (row.querySelector("progress"));
    progress.hidden = job === null;
    if (job?.share == null) progress.removeAttribute("value");
    else progress.value = job.share;
    const hide = (/** @type {string} */ kind, /** @type {boolean} */ hidden) => (/** @type {any} */ (row.querySelector(`.recording-${kind}`)).hidden = hidden);
    hide("stop", !recording.isWaiting);
    hide("again", status !== "failed" && status !== "partial");
    hide("close", status === "live");
  }

  /** @param {Recording} recording */
  facts(recording) {
    const { entry, job, status } = recording;
    if (job !== null) return [job.phase, leftText(job.left, clock)].filter(Boolean).join(" · ");
    if (status === "queued") {
      const left = this.queue.left(recording);
      return ["Waiting", leftText(left === null ? null : left / 1000, clock)].filter(Boolean).join(" · ");
    }
    if (status === "live") return "Listening";
    const when = new Date(entry.created).toLocaleString("en", { day: "numeric", month: "short", hour: "numeric", minute: "2-digit" });
    const length = entry.duration > 0 ? clock(entry.duration) : "";
    const trouble = { done: "", partial: `Not whole${entry.error ? `: ${entry.error}` : ""}`, failed: entry.error || "Failed", working: "" }[status];
    return [when, length, trouble === "cancelled" ? "Cancelled" : trouble].filter(Boolean).join(" · ");
  }
}
