/**
 * Opus packets out of frames: the browser's encoder.
 * @module
 */

import { RATE, readHead } from "./opus.js";

export const CHANNELS = 2;
const FRAME_US = 20_000;
/** What a decoder needs to begin with, where the browser does not say: libopus' own. */
const PRE_SKIP = 312;

/** Music in stereo without audible loss. */
const CONFIG = {
  codec: "opus",
  sampleRate: RATE,
  numberOfChannels: CHANNELS,
  bitrate: 96_000,
  opus: { frameDuration: FRAME_US, application: "audio" },
};

/** Whether this browser can encode Opus for us. */
export async function canEncode() {
  if (typeof AudioEncoder !== "function" || typeof AudioWorkletNode !== "function") return false;
  const answer = await AudioEncoder.isConfigSupported(/** @type {AudioEncoderConfig} */ (CONFIG)).catch(() => null);
  return answer?.supported === true;
}

export class Encoder {
  /** @param {Uint8Array} _packet */
  packet = (_packet) => {};
  preSkip = PRE_SKIP;

  /** @type {AudioEncoder|null} */
  #encoder = null;
  #frames = 0;

  /** @param {Float32Array<ArrayBuffer>[]} planes of 20 ms */
  encode(planes) {
    if (this.#encoder?.state !== "configured") this.#configure();
    const data = new Float32Array(planes.length * planes[0].length);
    planes.forEach((plane, index) => data.set(plane, index * plane.length));
    const sound = new AudioData({
      format: "f32-planar",
      sampleRate: RATE,
      numberOfFrames: planes[0].length,
      numberOfChannels: planes.length,
      timestamp: this.#frames++ * FRAME_US,
      data,
    });
    this.#encoder?.encode(sound);
    sound.close();
  }

  close() {
    if (this.#encoder?.state === "configured") this.#encoder.close();
    this.#encoder = null;
  }

  #configure() {
    this.#encoder = new AudioEncoder({
      output: (chunk, about) => {
        const description = about?.decoderConfig?.description;
        const head = description && readHead(bytesOf(description));
        if (head) this.preSkip = head.preSkip;
        const bytes = new Uint8Array(chunk.byteLength);
        chunk.copyTo(bytes);
        this.packet(bytes);
      },
      // It closes itself; the next frame opens another.
      error: () => {},
    });
    this.#encoder.configure(/** @type {AudioEncoderConfig} */ (CONFIG));
  }
}

/** @param {AllowSharedBufferSource} source */
const bytesOf = (source) => (ArrayBuffer.isView(source) ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength) : new Uint8Array(source));
