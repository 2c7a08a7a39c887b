/**
 * The rooms that a client follows, over all its lines: which there are, and who hears what arrives.
 * Does not know lines: whoever owns them says how to call.
 * @module
 */

import { Subscription } from "./subscription.js";

/**
 * @typedef {import("./subscription.js").SubscriptionHandlers} SubscriptionHandlers
 *
 * @typedef {object} FollowingHandlers
 * @property {() => import("./subscription.js").Call|null} call on the line there is now; null where none is open
 * @property {number} retryMs the shortest pause before a room that failed is asked for again on the same line
 */

export class Following {
  /** @type {Map<string, Subscription>} */
  #subscriptions = new Map();
  #handlers;
  /** Counts lines; what began on an older one is void. */
  #run = 0;

  /** @param {FollowingHandlers} handlers */
  constructor(handlers) {
    this.#handlers = handlers;
  }

  /**
   * @param {string} room
   * @param {SubscriptionHandlers} handlers
   * @param {{after?: number, epoch?: string}} from
   */
  add(room, handlers, from) {
    if (this.#subscriptions.has(room)) throw new Error(`already subscribed to ${room}`);
    const subscription = new Subscription(room, handlers, from);
    this.#subscriptions.set(room, subscription);
    this.#resume(subscription);
    return subscription;
  }

  /** @param {string} room @returns {boolean} whether it was followed */
  remove(room) {
    this.#subscriptions.get(room)?.drop();
    return this.#subscriptions.delete(room);
  }

  /** Commands go through again, on this line or on a new one. */
  open() {
    for (const subscription of this.#subscriptions.values()) if (!subscription.isLive) this.#resume(subscription);
  }

  /** The line is gone. */
  pause() {
    this.#run += 1;
    for (const subscription of this.#subscriptions.values()) subscription.pause();
  }

  /** @param {import("../parley.js").Event} event */
  take(event) {
    const subscription = this.#subscriptions.get(event.room);
    if (subscription && !subscription.take(event)) this.#resume(subscription);
  }

  /** @param {import("../parley.js").Signal} signal */
  hear(signal) {
    this.#subscriptions.get(signal.room)?.hear(signal);
  }

  /** The server ended one. @param {string} room @param {string} reason */
  end(room, reason) {
    const subscription = this.#subscriptions.get(room);
    this.#subscriptions.delete(room);
    subscription?.end(reason);
  }

  /** @param {string} reason */
  endAll(reason) {
    const subscriptions = [...this.#subscriptions.values()];
    this.#subscriptions.clear();
    for (const subscription of subscriptions) subscription.end(reason);
  }

  /** @param {Subscription} subscription */
  #resume(subscription) {
    const call = this.#handlers.call();
    if (!call) return;
    const run = this.#run;
    subscription.resume(call).then(
      () => {
        // Ended while it was asked for: the room may be followed anew by now, and that one stays.
        if (subscription.isOver && this.#subscriptions.get(subscription.room) === subscription) this.#subscriptions.delete(subscription.room);
      },
      () => {
        // Busy for the moment, or held: a new line or token asks again; on this line we do, a little later.
        setTimeout(() => {
          if (run === this.#run && !subscription.isLive && !subscription.isOver) this.#resume(subscription);
        }, this.#handlers.retryMs * (1 + Math.random()));
      },
    );
  }
}
