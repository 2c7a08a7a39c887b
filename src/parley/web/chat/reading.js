/**
 * How far one has read a room, and what others wrote since. Answers and events overtake each other: what is told twice counts
 * once, and what was read meanwhile not at all.
 * @module
 */

const UNREAD_MAX = 100;

export class Reading {
  /** What the server knows of. @type {number|null} */
  seq = null;
  /** What it was told last, and may not have answered yet. */
  #marked = 0;
  /** By `seq`; the newest of it, where it is much. @type {Set<number>} */
  #unread = new Set();

  get upTo() {
    return Math.max(this.seq ?? 0, this.#marked);
  }

  get unread() {
    return this.#unread.size;
  }

  /** Somebody else wrote this. @param {number} seq */
  add(seq) {
    if (seq <= this.upTo) return;
    this.#unread.add(seq);
    if (this.#unread.size > UNREAD_MAX) this.#unread.delete(Math.min(...this.#unread));
  }

  /** It was read so far, here or in another tab. @param {number} seq @returns {boolean} whether that changed what is unread */
  heard(seq) {
    this.seq = Math.max(this.seq ?? 0, seq);
    return this.forget(seq);
  }

  /** Whoever is no member reads without telling. @param {number} seq @returns {boolean} whether that changed what is unread */
  forget(seq) {
    const before = this.unread;
    for (const one of this.#unread) if (one <= seq) this.#unread.delete(one);
    return this.unread !== before;
  }

  /** Tell the server, once. @param {number} seq @param {() => Promise<unknown>} tell */
  mark(seq, tell) {
    if (seq <= this.upTo) return;
    this.#marked = seq;
    tell().then(
      () => this.heard(seq),
      () => (this.#marked = 0),
    );
  }

  /** Another log. */
  reset() {
    this.seq = null;
    this.#marked = 0;
    this.#unread.clear();
  }
}
