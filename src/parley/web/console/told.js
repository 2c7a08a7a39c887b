/**
 * What has been told lately, by events and signals: an answer to what was asked before may be older.
 * Knows when, not what.
 * @module
 */

export class Told {
  /** @type {Map<string, number>} */
  #at = new Map();
  /** To be kept where something is asked. */
  now = 0;

  /** It was told just now. @param {string} key */
  note(key) {
    this.#at.set(key, ++this.now);
  }

  /** Whether it was told after something was asked at `asked`. @param {string} key @param {number} asked */
  isNewer(key, asked) {
    return (this.#at.get(key) ?? 0) > asked;
  }

  forget() {
    this.#at.clear();
  }
}
