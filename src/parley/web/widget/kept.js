/**
 * What of a visit survives a reload: which conversation it is, the draft, what is not sent. The tabs of a site share it: each
 * change is made to what is stored now, not to what a tab once read. Of two tabs that change it in the very same moment one
 * may still undo the other: storage has no lock, and what must not happen twice is done `alone`.
 * @module
 */

import { localStore } from "../client/credentials.js";

/**
 * Not stored yet. `code` says why it was not sent: none while it is on its way; `isAsked`: a conversation was to begin with it.
 * @typedef {{client_id: string, text: string, code?: string, isAsked?: boolean}} Unsent
 * @typedef {{room?: string, isAsked?: boolean, said?: {name?: string, email?: string}, draft?: string, unsent?: Unsent[]}} Visited
 */

export class Kept {
  #key;
  #store;
  #text = "{}";
  /** @type {Visited} */
  #now = {};
  /** Full, or refused: it lives as long as this page. */
  #isAlone = false;

  /** @param {string} key */
  constructor(key) {
    this.#key = key;
    this.#store = localStore(key);
  }

  /** The same object until something changes. @returns {Readonly<Visited>} */
  get now() {
    const text = this.#isAlone ? this.#text : String(this.#store.get() ?? "{}");
    if (text === this.#text) return this.#now;
    this.#text = text;
    try {
      this.#now = JSON.parse(text);
    } catch {
      this.#now = {}; // Not ours, or half written: begin anew.
    }
    return this.#now;
  }

  /** @param {Partial<Visited>} more */
  set(more) {
    this.#now = { ...this.now, ...more };
    this.#text = JSON.stringify(this.#now);
    if (this.#isAlone) return;
    try {
      void this.#store.set(this.#text);
    } catch {
      this.#isAlone = true;
    }
  }

  /**
   * Do it while no other tab does such a thing. Only secure contexts have locks.
   * @param {() => void|Promise<void>} work
   */
  async alone(work) {
    await (navigator.locks ? navigator.locks.request(this.#key, work) : work());
  }

  /** Another tab changed it. @param {() => void} listener */
  onChange(listener) {
    addEventListener("storage", ({ key }) => (key === this.#key || key === null) && listener());
  }
}
