/**
 * What is recorded, in frames of 20 ms with how loud they are. Runs on the audio thread.
 * @module
 */

const FRAME_S = 0.02;

/** @type {any} */
const scope = globalThis;

class Ear extends scope.AudioWorkletProcessor {
  constructor() {
    super();
    this.frame = Math.round(FRAME_S * scope.sampleRate);
    this.planes = this.fresh();
    this.filled = 0;
    this.isOver = false;
    this.port.onmessage = () => (this.isOver = true);
  }

  fresh() {
    return [new Float32Array(this.frame), new Float32Array(this.frame)];
  }

  /** @param {Float32Array[][]} inputs one input of two channels; of none while nothing is connected */
  process(inputs) {
    const input = inputs[0];
    const count = input[0]?.length ?? 128;
    let done = 0;
    while (done < count) {
      const some = Math.min(count - done, this.frame - this.filled);
      for (let channel = 0; channel < 2 && input.length > 0; channel++) {
        const plane = input[Math.min(channel, input.length - 1)];
        this.planes[channel].set(plane.subarray(done, done + some), this.filled);
      }
      done += some;
      this.filled += some;
      if (this.filled === this.frame) this.give();
    }
    return !this.isOver;
  }

  give() {
    const planes = this.planes;
    let peak = 0;
    let energy = 0;
    for (const plane of planes) {
      for (const value of plane) {
        peak = Math.max(peak, Math.abs(value));
        energy += value * value;
      }
    }
    const rms = Math.sqrt(energy / (2 * this.frame));
    this.port.postMessage({ planes, peak, rms }, planes.map(({ buffer }) => buffer));
    this.planes = this.fresh();
    this.filled = 0;
  }
}

scope.registerProcessor("ear", Ear);

export {};
