/**
 * Sound out of packets: the browser's decoder, the queue on the audio thread, volume.
 * Does not know where the packets come from.
 * @module
 */

import { RATE } from "./opus.js";

/**
 * @typedef {object} Reading from the audio thread, 20 times a second
 * @property {boolean} isPlaying false while it waits for more
 * @property {number} at seconds of the broadcast, of what is being heard
 * @property {number} heldS seconds that wait
 * @property {number} peak 0 to 1
 * @property {number} rms 0 to 1
 */

const WORKLET = new URL("./speaker_worklet.js", import.meta.url);
const MICROSECONDS = 1e6 / RATE;

/** Whether this browser can decode Opus for us. */
export async function canDecode() {
  if (typeof AudioDecoder !== "function" || typeof AudioWorkletNode !== "function") return false;
  const answer = await AudioDecoder.isConfigSupported(plain(2)).catch(() => null);
  return answer?.supported === true;
}

/** @param {number} channels */
const plain = (channels) => ({ codec: "opus", sampleRate: RATE, numberOfChannels: channels });

export class Speaker {
  /** @param {Reading} _reading */
  told = (_reading) => {};

  #context;
  #volume;
  #gain;
  /** @type {AudioWorkletNode|null} */
  #node = null;
  /** @type {AudioDecoder|null} */
  #decoder = null;
  /** @type {import("./opus.js").Head|null} */
  #head = null;
  /** The longest page so far. */
  #pageS = 0;

  /** To be made where a person pressed something: elsewhere a browser may keep it silent. */
  constructor() {
    this.#context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    this.#volume = this.#context.createGain();
    this.#gain = this.#context.createGain();
    this.#gain.connect(this.#volume).connect(this.#context.destination);
  }

  /** Resolves when it can be heard. */
  async open() {
    const running = this.#context.resume();
    await this.#context.audioWorklet.addModule(WORKLET);
    const node = new AudioWorkletNode(this.#context, "speaker", { numberOfInputs: 0, outputChannelCount: [2] });
    node.port.onmessage = ({ data }) => this.told(data);
    node.connect(this.#gain);
    this.#node = node;
    await running;
  }

  /** Whether the browser lets it be heard. */
  get isRunning() {
    return this.#context.state === "running";
  }

  /** A phone takes sound away from a page that is not seen, and does not give it back by itself. */
  wake() {
    if (!this.isRunning) void this.#context.resume().catch(() => {});
  }

  /** @param {number} volume 0 to 1 */
  set volume(volume) {
    // Loudness is felt as the logarithm: the square is near enough over a slider's way.
    this.#volume.gain.setTargetAtTime(volume * volume, this.#context.currentTime, 0.015);
  }

  /** Another stream: what is left of the one before is heard out. @param {import("./opus.js").Head} head */
  begin(head) {
    this.#head = head;
    this.#gain.gain.value = head.gain;
    this.#configure();
  }

  /** A page's packets. @param {import("./opus.js").Packet[]} packets */
  play(packets) {
    const pageS = packets.reduce((sum, { samples }) => sum + samples, 0) / RATE;
    if (pageS > this.#pageS) this.#node?.port.postMessage({ pageS });
    this.#pageS = Math.max(pageS, this.#pageS);
    for (const packet of packets) this.#decode(packet);
  }

  /** @param {import("./opus.js").Packet} packet */
  #decode({ bytes, samples, at }) {
    if (this.#decoder?.state !== "configured") this.#configure();
    if (this.#decoder?.state !== "configured") return;
    this.#decoder.decode(
      new EncodedAudioChunk({
        type: "key",
        timestamp: Math.round(at * MICROSECONDS),
        duration: Math.round(samples * MICROSECONDS),
        data: bytes,
      }),
    );
  }

  /** Forget what waits. */
  drop() {
    this.#pageS = 0;
    this.#node?.port.postMessage({ drop: true });
  }

  close() {
    if (this.#decoder && this.#decoder.state !== "closed") this.#decoder.close();
    this.#decoder = null;
    this.#head = null;
    this.#node?.port.postMessage({ end: true });
    this.#node?.disconnect();
    this.told = () => {};
    void this.#context.close();
  }

  #configure() {
    const head = this.#head;
    if (!head) return;
    const before = this.#decoder;
    if (before?.state === "configured") void before.flush().then(() => before.close(), () => {});
    const decoder = new AudioDecoder({
      output: (data) => this.#give(data, head),
      // One packet that is none closes a decoder; the next packet opens another.
      error: () => {},
    });
    this.#decoder = decoder;
    decoder.configure(head.isPlain ? plain(head.channels) : { ...plain(head.channels), description: head.bytes });
  }

  /** @param {AudioData} data @param {import("./opus.js").Head} head */
  #give(data, head) {
    const at = data.timestamp / 1e6;
    const skip = Math.min(data.numberOfFrames, Math.max(0, head.preSkip - Math.round(at * RATE)));
    const planes = Array.from({ length: Math.min(2, data.numberOfChannels) }, (_, planeIndex) => {
      const plane = new Float32Array(data.numberOfFrames);
      data.copyTo(plane, { planeIndex, format: "f32-planar" });
      return plane.subarray(skip);
    });
    data.close();
    if (planes[0].length === 0) return;
    this.#node?.port.postMessage({ planes, at: Math.max(0, at - head.preSkip / RATE) });
  }
}
