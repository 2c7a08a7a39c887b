/**
 * What must survive a reload: drafts, and messages that are not stored yet. One entry each, so that two tabs do not overwrite
 * each other; by subject, so that two people on one browser do not see each other's. Signing out forgets them.
 * @module
 */

/**
 * @typedef {{room: string, client_id: string, text: string, reply_to?: string, at: string}} Unsent
 */

export class Kept {
  #draft;
  #unsent;
  /** @type {Storage|null} */
  #storage = null;
  /** What is kept where there is no storage: until the page goes. @type {Map<string, string>} */
  #memory = new Map();

  /** @param {string} subject */
  constructor(subject) {
    this.#draft = `parley.draft ${subject} `;
    this.#unsent = `parley.unsent ${subject} `;
    try {
      this.#storage = globalThis.localStorage;
    } catch {
      // Storage is refused to this page: memory it is.
    }
  }

  /** @param {string} room */
  draft(room) {
    return this.#get(this.#draft + room) ?? "";
  }

  /**
   * @param {string} room
   * @param {string} text
   */
  setDraft(room, text) {
    if (text === "") this.#remove(this.#draft + room);
    else this.#set(this.#draft + room, text);
  }

  /** @param {Unsent} unsent */
  add(unsent) {
    this.#set(this.#unsent + unsent.client_id, JSON.stringify(unsent));
  }

  /** @param {string} clientId */
  remove(clientId) {
    this.#remove(this.#unsent + clientId);
  }

  /** @returns {Unsent[]} oldest first */
  unsent() {
    const found = [];
    for (const key of this.#keys(this.#unsent)) {
      try {
        found.push(JSON.parse(this.#get(key) ?? ""));
      } catch {
        this.#remove(key);
      }
    }
    return found.sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
  }

  forget() {
    for (const key of [...this.#keys(this.#draft), ...this.#keys(this.#unsent)]) this.#remove(key);
  }

  /** @param {string} prefix */
  #keys(prefix) {
    const keys = this.#storage ? Object.keys(this.#storage) : [...this.#memory.keys()];
    return keys.filter((key) => key.startsWith(prefix));
  }

  /** @param {string} key */
  #get(key) {
    return (this.#storage ? this.#storage.getItem(key) : this.#memory.get(key)) ?? null;
  }

  /** @param {string} key @param {string} value */
  #set(key, value) {
    try {
      if (this.#storage) this.#storage.setItem(key, value);
      else this.#memory.set(key, value);
    } catch {
      // Full: the text is still in the page.
    }
  }

  /** @param {string} key */
  #remove(key) {
    if (this.#storage) this.#storage.removeItem(key);
    else this.#memory.delete(key);
  }
}
