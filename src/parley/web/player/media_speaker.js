/**
 * Where a browser cannot decode for us: its own `<audio>` plays the stream by HTTP.
 * Sound only while somebody is on the air; that is watched elsewhere.
 * @module
 */

const TELL_MS = 100;

/** Whether this browser plays what we send. */
export const canPlayStreams = () => new Audio().canPlayType("audio/ogg; codecs=opus") !== "";

export class MediaSpeaker {
  /** @param {import("./speaker.js").Reading} _reading */
  told = (_reading) => {};
  /** It is over, or was lost. @param {boolean} _isBroken */
  ended = (_isBroken) => {};

  #context = new AudioContext();
  #audio = new Audio();
  #analyser;
  #samples = new Float32Array(1024);
  /** @type {ReturnType<typeof setInterval>|undefined} */
  #telling;

  constructor() {
    this.#audio.preload = "none";
    this.#analyser = this.#context.createAnalyser();
    this.#analyser.fftSize = this.#samples.length;
    this.#context.createMediaElementSource(this.#audio).connect(this.#analyser).connect(this.#context.destination);
    this.#audio.addEventListener("ended", () => this.ended(false));
    this.#audio.addEventListener("error", () => this.ended(true));
  }

  /** @param {string} url */
  async play(url) {
    clearInterval(this.#telling);
    this.#telling = setInterval(() => this.#tell(), TELL_MS);
    this.#audio.src = url;
    // It was pressed for, or is refused; `error` then says so.
    await Promise.all([this.#context.resume(), this.#audio.play()]).catch(() => {});
  }

  /** @param {number} volume 0 to 1 */
  set volume(volume) {
    this.#audio.volume = volume * volume;
  }

  close() {
    clearInterval(this.#telling);
    this.ended = () => {};
    this.#audio.removeAttribute("src");
    this.#audio.load();
    void this.#context.close();
  }

  #tell() {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    const peak = this.#samples.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const rms = Math.sqrt(this.#samples.reduce((sum, value) => sum + value * value, 0) / this.#samples.length);
    const isPlaying = !this.#audio.paused && this.#audio.readyState > 2;
    const ahead = this.#audio.buffered.length > 0 ? this.#audio.buffered.end(this.#audio.buffered.length - 1) : 0;
    this.told({ isPlaying, at: NaN, heldS: Math.max(0, ahead - this.#audio.currentTime), peak, rms });
  }
}
