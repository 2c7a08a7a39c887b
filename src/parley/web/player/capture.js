/**
 * The sound to be sent: a microphone by device, or a tab's or screen's sound, in frames of 20 ms.
 * @module
 */

import { ParleyError } from "../client/errors.js";
import { RATE } from "./opus.js";

/**
 * @typedef {{planes: Float32Array<ArrayBuffer>[], peak: number, rms: number}} Frame two channels of 20 ms
 * @typedef {{kind: "microphone", device?: string, isCleaned?: boolean}|{kind: "display"}} Source
 */

const WORKLET = new URL("./ear_worklet.js", import.meta.url);

/** @returns {Promise<MediaDeviceInfo[]>} microphones; without their names until one was allowed */
export async function microphones() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return devices.filter(({ kind, deviceId }) => kind === "audioinput" && deviceId !== "");
}

export const canShareSound = () => typeof navigator.mediaDevices?.getDisplayMedia === "function";

export class Capture {
  /** @param {Frame} _frame */
  heard = (_frame) => {};
  /** The source went: a device pulled out, sharing ended in the browser's bar. */
  ended = () => {};

  /** @type {AudioContext|null} */
  #context = null;
  /** @type {AudioWorkletNode|null} */
  #ear = null;
  /** @type {MediaStream|null} */
  #stream = null;
  /** @type {MediaStreamAudioSourceNode|null} */
  #source = null;

  /** Whether something is being recorded. */
  get isOpen() {
    return this.#stream !== null;
  }

  /** The name of what is recorded. */
  get label() {
    return this.#stream?.getAudioTracks()[0]?.label ?? "";
  }

  /**
   * Record this from now on, instead of what was. To be called where somebody pressed: the browser asks them.
   * @param {Source} source
   * @returns {Promise<void>} rejects with ParleyError: `not_allowed`, `no_device`, `no_sound`, `insecure`, `not_readable`
   */
  async open(source) {
    const stream = await (source.kind === "display" ? displaySound() : microphone(source)).catch((error) => {
      throw refusal(error);
    });
    if (stream.getAudioTracks().length === 0) {
      for (const track of stream.getTracks()) track.stop();
      throw new ParleyError("no_sound", 0, "what was shared brings no sound");
    }
    this.#release();
    this.#stream = stream;
    stream.getAudioTracks()[0].addEventListener("ended", () => {
      if (stream !== this.#stream) return;
      this.#release();
      this.ended();
    });
    const ear = await this.#listen().catch((error) => {
      // What cannot be heard is not recorded either.
      if (stream === this.#stream) this.#release();
      throw refusal(error);
    });
    if (stream !== this.#stream) return;
    this.#source = /** @type {AudioContext} */ (this.#context).createMediaStreamSource(stream);
    this.#source.connect(ear);
  }

  close() {
    this.#release();
    this.#ear?.port.postMessage("over");
    this.#ear = null;
    void this.#context?.close();
    this.#context = null;
  }

  async #listen() {
    this.#context ??= new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    await this.#context.resume();
    if (this.#ear) return this.#ear;
    await this.#context.audioWorklet.addModule(WORKLET);
    this.#ear ??= this.#worklet(this.#context);
    return this.#ear;
  }

  /** @param {AudioContext} context */
  #worklet(context) {
    // One channel is sent as two: the source may be changed on the air, the stream's channels may not.
    const node = new AudioWorkletNode(context, "ear", {
      numberOfOutputs: 0,
      channelCount: 2,
      channelCountMode: "explicit",
      channelInterpretation: "speakers",
    });
    node.port.onmessage = ({ data }) => this.heard(data);
    return node;
  }

  #release() {
    this.#source?.disconnect();
    this.#source = null;
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
  }
}

/** @param {{device?: string, isCleaned?: boolean}} source */
async function microphone({ device, isCleaned = false }) {
  if (!navigator.mediaDevices) throw new ParleyError("insecure", 0, "a microphone needs a secure page");
  return navigator.mediaDevices.getUserMedia({
    audio: {
      ...(device ? { deviceId: { exact: device } } : {}),
      channelCount: { ideal: 2 },
      echoCancellation: isCleaned,
      noiseSuppression: isCleaned,
      autoGainControl: isCleaned,
    },
  });
}

async function displaySound() {
  if (!canShareSound()) throw new ParleyError("insecure", 0, "sharing needs a secure page");
  const options = {
    // Without a picture no browser shares anything; it is thrown away below.
    video: true,
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false, suppressLocalAudioPlayback: false },
    systemAudio: "include",
    selfBrowserSurface: "exclude",
  };
  const stream = await navigator.mediaDevices.getDisplayMedia(/** @type {DisplayMediaStreamOptions} */ (options));
  // One frame a second costs nothing; a stopped picture would end the sharing in some browsers.
  for (const track of stream.getVideoTracks()) void track.applyConstraints({ frameRate: 1 }).catch(() => {});
  return stream;
}

/** @param {unknown} error */
function refusal(error) {
  if (error instanceof ParleyError) return error;
  const { name = "", message = "" } = /** @type {DOMException} */ (error);
  /** @type {Record<string, string>} */
  const codes = { NotAllowedError: "not_allowed", NotFoundError: "no_device", OverconstrainedError: "no_device", NotSupportedError: "no_sound" };
  return new ParleyError(codes[name] ?? "not_readable", 0, message);
}
