/** The microphone, as pieces of 24 kHz 16 bit samples. */

import { microphoneError } from "./errors.js";

export const RATE = 24_000; // samples in a second

export class Microphone {
  /**
   * @param {MediaStream} stream
   * @param {AudioContext} context
   * @param {AudioWorkletNode} node
   */
  constructor(stream, context, node) {
    this.stream = stream;
    this.context = context;
    this.node = node;
  }

  /**
   * Ask for the microphone and listen.
   * @param {(samples: Int16Array) => void} onSamples ten times a second
   * @returns {Promise<Microphone>}
   */
  static async open(onSamples) {
    let stream;
    try {
      const wishes = { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
      stream = await navigator.mediaDevices.getUserMedia({ audio: wishes });
    } catch (error) {
      throw microphoneError(error);
    }
    const context = new AudioContext();
    await context.audioWorklet.addModule("assets/microphone_worklet.js");
    const node = new AudioWorkletNode(context, "microphone", { numberOfOutputs: 0 });
    context.createMediaStreamSource(stream).connect(node);
    const microphone = new Microphone(stream, context, node);
    node.port.onmessage = ({ data }) => {
      if (data !== null) onSamples(new Int16Array(data));
      else microphone.closed();
    };
    return microphone;
  }

  /** Stop listening; resolves once the last samples have been handed over. */
  async close() {
    const last = new Promise((resolve) => (this.closed = () => resolve(undefined)));
    this.node.port.postMessage(null);
    await last;
    this.stream.getTracks().forEach((track) => track.stop());
    await this.context.close();
  }

  closed() {}
}
