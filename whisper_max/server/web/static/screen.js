/** The picture of a video, with its subtitles drawn by the browser as those of the vtt file will be. */

import { byId } from "./dom.js";
import { cues } from "./cues.js";
import { escapeVtt } from "./formats.js";
import { lastStarted } from "./search_sorted.js";
import { voice } from "./voices.js";

/** @typedef {import("./cues.js").Cue} Cue */
/** @typedef {import("./player.js").Player} Player */
/** @typedef {import("./transcript.js").Transcript} Transcript */

export class Screen {
  /** @param {Player} player */
  constructor(player) {
    this.player = player;
    this.track = player.media.addTextTrack("captions", "Transcript");
    this.track.mode = "showing";
    /** @type {Cue[] | null} null: to be made anew */
    this.cues = [];
    /** @type {Transcript | null} */
    this.transcript = null;
    this.stale = () => {
      this.cues = null;
      this.draw();
    };
    player.addEventListener("moved", () => this.draw());
  }

  /** @param {Transcript} transcript */
  show(transcript) {
    this.transcript?.removeEventListener("change", this.stale);
    this.transcript = transcript;
    transcript.addEventListener("change", this.stale);
    this.stale();
  }

  /** Let the track have the cue of now only: thousands would be slow to change with every edit. */
  draw() {
    if (byId("screen").hidden || this.transcript === null) return;
    this.cues ??= cues(this.transcript.result(), escapeVtt);
    const { time } = this.player;
    const cue = this.cues[lastStarted(this.cues, ({ start }) => start, time)];
    const wanted = cue !== undefined && time < cue.end ? { ...cue, text: voice(cue.speaker) + cue.text } : undefined;
    const [shown] = this.track.cues ?? [];
    if (shown?.startTime === wanted?.start && shown?.endTime === wanted?.end && shown?.text === wanted?.text) return;
    if (shown) this.track.removeCue(shown);
    if (wanted) this.track.addCue(new VTTCue(wanted.start, wanted.end, wanted.text));
  }
}
