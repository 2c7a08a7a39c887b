/**
 * What plays: a queue of sound beside the clock of the loudspeaker, and how loud it is. Runs on the audio thread.
 * Waits until enough is there, starts softly, and lets go of the oldest where too much waits: live is live.
 * @module
 */

/** So much waits before it starts, at first; each time it runs dry a little more, and more than the longest page. */
const START_S = 0.2;
const START_STEP_S = 0.1;
const START_MAX_S = 0.8;
/** More than the start, a page and this is behind what is live. */
const BEHIND_S = 1;
/** How long sound takes to rise where it begins, and the last of it to fall where it breaks off: no click. */
const SOFT_S = 0.004;
const TELL_S = 0.05;

/** @type {any} */
const scope = globalThis;

class Speaker extends scope.AudioWorkletProcessor {
  constructor() {
    super();
    /** @type {{planes: Float32Array[], at: number}[]} */
    this.queue = [];
    this.offset = 0;
    this.held = 0;
    this.isPlaying = false;
    this.startS = START_S;
    this.pageS = 0;
    this.rise = 0;
    this.last = [0, 0];
    this.at = 0;
    this.peak = 0;
    this.energy = 0;
    this.counted = 0;
    this.isOver = false;
    this.port.onmessage = (/** @type {MessageEvent} */ { data }) => this.hear(data);
  }

  /** @param {{planes?: Float32Array[], at?: number, pageS?: number, drop?: boolean, end?: boolean}} told */
  hear({ planes, at = 0, pageS = 0, drop, end }) {
    this.pageS = Math.max(this.pageS, pageS);
    if (end) this.isOver = true;
    if (drop) {
      this.queue = [];
      this.offset = 0;
      this.held = 0;
      this.isPlaying = false;
      this.startS = START_S;
      this.pageS = 0;
    }
    if (!planes) return;
    this.queue.push({ planes, at });
    this.held += planes[0].length;
    const most = (this.startS + this.pageS + BEHIND_S) * scope.sampleRate;
    if (this.held <= most) return;
    while (this.queue.length > 1 && this.held > this.startS * scope.sampleRate) this.shift();
    this.rise = 0;
  }

  shift() {
    const gone = /** @type {{planes: Float32Array[]}} */ (this.queue.shift());
    this.held -= gone.planes[0].length - this.offset;
    this.offset = 0;
  }

  /**
   * @param {Float32Array[][]} _inputs
   * @param {Float32Array[][]} outputs
   */
  process(_inputs, outputs) {
    const out = outputs[0];
    const count = out[0].length;
    if (!this.isPlaying && this.held >= this.startS * scope.sampleRate) {
      this.isPlaying = true;
      this.rise = 0;
    }
    let done = 0;
    if (this.isPlaying) {
      done = this.play(out, count);
      if (done < count) {
        this.isPlaying = false;
        // What comes in pages of a second must not start with each page, to run dry before the next.
        const least = Math.min(START_MAX_S, this.startS + START_STEP_S);
        this.startS = Math.max(least, this.pageS > START_S ? this.pageS + START_STEP_S : 0);
      }
    }
    this.fade(out, done, count);
    this.measure(out, count);
    return !this.isOver;
  }

  /**
   * @param {Float32Array[]} out
   * @param {number} count
   * @returns {number} how many samples there were
   */
  play(out, count) {
    const step = 1 / (SOFT_S * scope.sampleRate);
    let done = 0;
    while (done < count && this.queue.length > 0) {
      const { planes, at } = this.queue[0];
      const some = Math.min(count - done, planes[0].length - this.offset);
      for (let channel = 0; channel < out.length; channel++) {
        const plane = planes[Math.min(channel, planes.length - 1)];
        out[channel].set(plane.subarray(this.offset, this.offset + some), done);
      }
      for (let index = done; this.rise < 1 && index < done + some; index++) {
        for (const plane of out) plane[index] *= this.rise;
        this.rise = Math.min(1, this.rise + step);
      }
      this.offset += some;
      this.held -= some;
      done += some;
      this.at = at + this.offset / scope.sampleRate;
      if (this.offset === planes[0].length) {
        this.queue.shift();
        this.offset = 0;
      }
    }
    if (done > 0) this.last = out.map((plane) => plane[done - 1]);
    return done;
  }

  /**
   * Where the sound broke off its last sample falls to nothing.
   * @param {Float32Array[]} out
   * @param {number} from
   * @param {number} count
   */
  fade(out, from, count) {
    const keep = 1 - 1 / (SOFT_S * scope.sampleRate * 0.3);
    for (let channel = 0; channel < out.length && from < count; channel++) {
      let value = this.last[channel] ?? 0;
      for (let index = from; index < count; index++) out[channel][index] = value *= keep;
      this.last[channel] = Math.abs(value) < 1e-5 ? 0 : value;
    }
  }

  /** @param {Float32Array[]} out @param {number} count */
  measure(out, count) {
    for (const plane of out) {
      for (const value of plane) {
        this.peak = Math.max(this.peak, Math.abs(value));
        this.energy += (value * value) / out.length;
      }
    }
    this.counted += count;
    if (this.counted < TELL_S * scope.sampleRate) return;
    this.port.postMessage({
      isPlaying: this.isPlaying,
      at: this.at,
      heldS: this.held / scope.sampleRate,
      peak: this.peak,
      rms: Math.sqrt(this.energy / this.counted),
    });
    this.peak = 0;
    this.energy = 0;
    this.counted = 0;
  }
}

scope.registerProcessor("speaker", Speaker);

export {};
