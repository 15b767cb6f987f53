/** A session of OpenAI's realtime transcription over a WebSocket. */

import { key } from "./api.js";
import { PageError, streamError } from "./errors.js";
import { RATE } from "./microphone.js";

/** @typedef {import("./types.js").Settings} Settings */

const BACKLOG_LIMIT = 4 << 20; // bytes that wait to be sent: about a minute of speech
const NOTHING_LEFT = "input_audio_buffer_commit_empty"; // the code of an error that is none

export class Realtime {
  /**
   * @param {WebSocket} socket
   * @param {(event: any) => void} onEvent
   * @param {(error: PageError) => void} onError at most once; the session is over then
   */
  constructor(socket, onEvent, onError) {
    this.socket = socket;
    this.onEvent = onEvent;
    this.onError = onError;
    this.over = false;
    this.flushed = false; // the server has refused a commit, since nothing is left
    /** @type {Set<string>} items that are still being recognised */
    this.open = new Set();
    /** @type {(() => void) | null} */
    this.finished = null;
    socket.onmessage = ({ data }) => this.receive(JSON.parse(data));
    socket.onclose = () => this.fail(new PageError("The connection to the server broke.", "What was said so far is kept; press Talk to go on."));
  }

  /**
   * @param {Settings} settings
   * @param {(event: any) => void} onEvent
   * @param {(error: PageError) => void} onError
   * @returns {Promise<Realtime>} ready for samples
   */
  static connect({ model, language }, onEvent, onError) {
    const address = new URL("v1/realtime?intent=transcription", document.baseURI);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const protocols = ["realtime", ...(key.get() === "" ? [] : [`openai-insecure-api-key.${key.get()}`])];
    const socket = new WebSocket(address, protocols);
    const session = new Realtime(socket, onEvent, onError);
    const transcription = language === "" ? { model } : { model, language };
    return new Promise((resolve, reject) => {
      session.onError = reject;
      socket.onopen = () => {
        session.onError = onError;
        session.send({
          type: "session.update",
          session: {
            type: "transcription",
            audio: { input: { format: { type: "audio/pcm", rate: RATE }, transcription, turn_detection: { type: "server_vad" } } },
          },
        });
        resolve(session);
      };
    });
  }

  /** @param {Int16Array} samples */
  append(samples) {
    if (this.over) return;
    if (this.socket.bufferedAmount > BACKLOG_LIMIT) {
      this.fail(new PageError("The connection is too slow for live speech.", "Record it with another program, then choose the file."));
      return;
    }
    const bytes = new Uint8Array(samples.buffer);
    this.send({ type: "input_audio_buffer.append", audio: btoa(String.fromCharCode(...bytes)) });
  }

  /** End the speech; resolves when all of it is recognised, or the session has failed. */
  finish() {
    return new Promise((resolve) => {
      this.finished = () => resolve(undefined);
      if (this.over) return this.finished();
      this.send({ type: "input_audio_buffer.commit" });
      this.send({ type: "input_audio_buffer.commit" }); // is refused once everything before it is recognised
    });
  }

  close() {
    this.over = true;
    this.socket.onclose = null;
    this.socket.close();
  }

  /** @param {any} event */
  receive(event) {
    if (event.type === "error" && event.error?.code !== NOTHING_LEFT) return this.fail(streamError(event.error));
    if (event.type.endsWith("input_audio_transcription.failed")) return this.fail(streamError(event.error));
    if (event.type === "input_audio_buffer.speech_started" || event.type === "input_audio_buffer.committed") this.open.add(event.item_id);
    this.onEvent(event);
    if (event.type.endsWith("input_audio_transcription.completed")) this.open.delete(event.item_id);
    if (event.type === "error") this.flushed = true;
    if (this.flushed && this.open.size === 0) this.finished?.();
  }

  /** @param {PageError} error */
  fail(error) {
    if (this.over) return;
    this.close();
    this.onError(error);
    this.finished?.();
  }

  /** @param {object} event is lost where the connection is about to end, of which onclose will tell */
  send(event) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(event));
  }
}
