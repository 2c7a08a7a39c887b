/**
 * One room's events, each exactly once and in order of `seq`, across any number of lines.
 * Does not open lines: `../parley.js` calls `resume` on each new one and hands over what arrives.
 * @module
 */

import { tell } from "./emitter.js";
import { ParleyError } from "./errors.js";

/**
 * @typedef {import("../parley.js").Event} Event
 * @typedef {import("../parley.js").Signal} Signal
 *
 * @typedef {object} SubscriptionHandlers
 * @property {(event: Event) => void} [event] each durable event, once, in order
 * @property {(signal: Signal) => void} [signal] typing, presence, receipts: may be lost, never stored
 * @property {(log: {epoch: string, seq: number}) => void} [reset] this is another log than before (a restored backup): drop
 *   what you hold; the newest page follows as events
 * @property {(log: {epoch: string, seq: number}) => void} [live] caught up, on the first line and on each later one
 * @property {(reason: string) => void} [ended] no longer allowed: `removed`, `banned`, `left`, `forbidden` or a refusal's code
 *
 * @typedef {(method: string, params: object) => Promise<any>} Call
 */

const BUFFERED_EVENTS_MAX = 10000;

export class Subscription {
  /** @type {"waiting"|"replaying"|"live"|"ended"} */
  #phase = "waiting";
  /** Live events that arrived before their replay was through. @type {Event[]} */
  #early = [];
  /** Counts resumptions; an answer to an older one is void. */
  #run = 0;
  #handlers;
  /** @type {(value: Subscription) => void} */
  #ready = () => {};
  /** @type {(error: Error) => void} */
  #failed = () => {};

  /**
   * @param {string} room
   * @param {SubscriptionHandlers} handlers
   * @param {{after?: number, epoch?: string}} from where to go on; left out: from now
   */
  constructor(room, handlers, from = {}) {
    this.room = room;
    this.#handlers = handlers;
    /** The last event given. @type {number|null} */
    this.seq = from.after ?? null;
    /** @type {string|null} */
    this.epoch = from.epoch ?? null;
    /** Settles when the room is live for the first time, or will not be. @type {Promise<Subscription>} */
    this.ready = new Promise((resolve, reject) => {
      this.#ready = resolve;
      this.#failed = reject;
    });
    this.ready.catch(() => {}); // Whoever does not await it still hears `ended`.
  }

  get isLive() {
    return this.#phase === "live";
  }

  get isOver() {
    return this.#phase === "ended";
  }

  /** The line is gone; what it still owed us is asked for on the next. */
  pause() {
    if (this.#phase !== "ended") this.#phase = "waiting";
    this.#run += 1;
    this.#early = [];
  }

  /**
   * Catch up and go live on the line behind `call`. Rejects only where trying again later may help.
   * @param {Call} call
   */
  async resume(call) {
    if (this.#phase === "ended") return;
    const run = ++this.#run;
    this.#phase = "replaying";
    try {
      for (let caughtUp = false; !caughtUp; ) {
        const answer = await call("room.subscribe", this.#position());
        if (run !== this.#run) return;
        this.#page(answer);
        caughtUp = answer.complete && this.#early.splice(0).every((event) => this.#give(event));
      }
    } catch (error) {
      if (run !== this.#run) return;
      const refusal = /** @type {ParleyError} */ (error);
      if (refusal.passing || refusal.status === 401) throw error;
      this.end(refusal.code);
      return;
    }
    this.#phase = "live";
    this.#ready(this);
    tell(this.#handlers.live, { epoch: this.epoch ?? "", seq: this.seq ?? 0 });
  }

  /**
   * An event from the line.
   * @param {Event} event
   * @returns {boolean} false where one before it is missing: call `resume` again
   */
  take(event) {
    if (this.#phase === "live") return this.#give(event);
    if (this.#phase === "replaying" && this.#early.length < BUFFERED_EVENTS_MAX) this.#early.push(event);
    return true;
  }

  /** @param {Signal} signal */
  hear(signal) {
    if (this.#phase !== "ended") tell(this.#handlers.signal, signal);
  }

  /** @param {string} reason */
  end(reason) {
    if (this.#phase === "ended") return;
    this.#phase = "ended";
    this.#run += 1;
    this.#early = [];
    this.#failed(new ParleyError(reason, 403, `the subscription to ${this.room} ended: ${reason}`));
    tell(this.#handlers.ended, reason);
  }

  /** Stop without telling anyone. */
  drop() {
    this.#phase = "ended";
    this.#run += 1;
    this.#early = [];
  }

  #position() {
    if (this.seq === null) return { room: this.room };
    return this.epoch === null
      ? { room: this.room, after: this.seq }
      : { room: this.room, after: this.seq, epoch: this.epoch };
  }

  /** @param {{epoch: string, seq: number, events: Event[], reset: boolean}} answer */
  #page(answer) {
    this.epoch = answer.epoch;
    if (answer.reset) {
      this.seq = answer.events.length ? answer.events[0].seq - 1 : answer.seq;
      tell(this.#handlers.reset, { epoch: answer.epoch, seq: answer.seq });
    } else if (this.seq === null) {
      this.seq = answer.seq;
    }
    for (const event of answer.events) this.#give(event);
  }

  /** @param {Event} event */
  #give(event) {
    const last = this.seq ?? event.seq - 1;
    if (event.seq <= last) return true;
    if (event.seq > last + 1) return false;
    this.seq = event.seq;
    tell(this.#handlers.event, event);
    return true;
  }
}
