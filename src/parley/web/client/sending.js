/**
 * Messages on their way: one lane for each room, one message of a lane in flight, so that they arrive in the order given.
 * A message leaves its lane when it is answered; a lost line leaves it there, to be sent again with the same `client_id`.
 * @module
 */

import { ParleyError } from "./errors.js";

/** @typedef {{params: Record<string, unknown>, resolve: (result: any) => void, reject: (error: Error) => void}} Sending */

const WAITING_MESSAGES_MAX = 1000;

/** Refusals that leave a message in its lane: the line, not the message, was refused. */
const LATER = new Set(["connection_lost", "token_expired"]);

export class SendingLanes {
  #send;
  /** @type {Map<unknown, {queue: Sending[], busy: boolean}>} */
  #lanes = new Map();
  #waiting = 0;
  #isOpen = false;

  /** @param {(params: object) => Promise<any>} send */
  constructor(send) {
    this.#send = send;
  }

  /**
   * @param {Record<string, unknown>} params of `message.send`, with its `client_id`
   * @param {boolean} isOpen
   * @returns {Promise<any>}
   */
  add(params, isOpen) {
    this.#isOpen = isOpen;
    return new Promise((resolve, reject) => {
      if (this.#waiting >= WAITING_MESSAGES_MAX) {
        reject(new ParleyError("limit_exceeded", 429, `${WAITING_MESSAGES_MAX} messages are waiting already`));
        return;
      }
      this.#waiting += 1;
      const lane = this.#lanes.get(params.room) ?? { queue: [], busy: false };
      this.#lanes.set(params.room, lane);
      lane.queue.push({ params, resolve, reject });
      void this.#drain(params.room);
    });
  }

  /** The line is there: send what waits. */
  open() {
    this.#isOpen = true;
    for (const room of this.#lanes.keys()) void this.#drain(room);
  }

  /** The line is gone: keep what waits. */
  close() {
    this.#isOpen = false;
  }

  /** Nothing will be sent any more. @param {Error} error */
  fail(error) {
    const sendings = [...this.#lanes.values()].flatMap((lane) => lane.queue);
    this.#lanes.clear();
    this.#waiting = 0;
    for (const { reject } of sendings) reject(error);
  }

  /** @param {unknown} room */
  async #drain(room) {
    const lane = this.#lanes.get(room);
    if (!lane || lane.busy) return;
    lane.busy = true;
    while (this.#isOpen && this.#lanes.get(room) === lane && lane.queue.length > 0) {
      const sending = lane.queue[0];
      const outcome = await this.#send(sending.params).then(
        (result) => ({ result }),
        (error) => ({ error }),
      );
      if (this.#lanes.get(room) !== lane) return; // Everything in it failed meanwhile.
      if ("error" in outcome) {
        const { error } = outcome;
        if (LATER.has(error.code)) break;
        if (error.code === "rate_limited" && error.retryAfterS !== null) {
          await new Promise((resolve) => setTimeout(resolve, error.retryAfterS * 1000));
          continue;
        }
        sending.reject(error);
      } else {
        sending.resolve(outcome.result);
      }
      lane.queue.shift();
      this.#waiting -= 1;
    }
    lane.busy = false;
    if (lane.queue.length === 0 && this.#lanes.get(room) === lane) this.#lanes.delete(room);
  }
}
