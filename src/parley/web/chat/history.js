/**
 * The messages of a room as far as they are loaded, without a hole. Pages and events overlap: what is known twice is kept once.
 * @module
 */

/**
 * @typedef {import("../parley.js").Message} Message
 * @typedef {import("../elements/message_row.js").Item} Item
 *
 * @typedef {object} HistoryHandlers
 * @property {(items: Item[]) => void} older
 * @property {(items: Item[]) => void} newer
 * @property {(item: Item) => void} updated
 */

const PAGE = 100;
/** Messages that a room keeps when it is opened anew. */
const HELD_MAX = 1000;
/** Changes remembered for pages of history that are on their way; they arrive within seconds. */
const CHANGES_MAX = 500;

export class History {
  /** In order of `seq`, without a hole from the first one loaded to the newest. @type {Item[]} */
  items = [];
  /** Whether `items` begins with the room's first message. */
  isComplete = false;
  isLoaded = false;

  #parley;
  #room;
  #handlers;
  /** Newer states of messages than a page of history may bring. @type {Map<string, Message>} */
  #changed = new Map();
  /** Created while the first page is on its way; null where none is. @type {Message[]|null} */
  #arrived = null;

  /**
   * @param {import("../parley.js").Parley} parley
   * @param {string} room its id
   * @param {HistoryHandlers} handlers
   */
  constructor(parley, room, handlers) {
    this.#parley = parley;
    this.#room = room;
    this.#handlers = handlers;
  }

  /** Load the newest page. @param {Promise<unknown>} besides is waited for, too */
  async load(besides) {
    /** @type {Message[]} */
    const arrived = (this.#arrived = []);
    try {
      await this.#loadNewest(besides);
      for (const message of arrived) this.#append(message);
    } finally {
      // Refused, too: what nobody waits for is not gathered.
      if (arrived === this.#arrived) this.#arrived = null;
    }
  }

  /** @param {Promise<unknown>} besides */
  async #loadNewest(besides) {
    const [{ messages, complete }] = await Promise.all([this.#parley.call("message.list", { room: this.#room, limit: PAGE }), besides]);
    this.items = messages.map((/** @type {Message} */ message) => this.#item(message));
    this.isComplete = complete;
    this.isLoaded = true;
  }

  async loadOlder() {
    if (!this.isLoaded || this.isComplete) return;
    const before = this.items[0]?.message.seq;
    const { messages, complete } = await this.#parley.call("message.list", { room: this.#room, before, limit: PAGE });
    if (this.items[0]?.message.seq !== before) return; // Another call, or a reset, was faster.
    const older = messages.map((/** @type {Message} */ message) => this.#item(message));
    this.isComplete = complete;
    this.items = [...older, ...this.items];
    this.#handlers.older(older);
  }

  /** Who scrolled far back and went elsewhere begins at the end again: a room's whole history is not held for ever. */
  shorten() {
    if (this.items.length <= HELD_MAX) return;
    this.items = this.items.slice(-PAGE);
    this.isComplete = false;
  }

  /** This is another log: forget all. */
  clear() {
    this.items = [];
    this.isLoaded = false;
    this.isComplete = false;
    this.#changed.clear();
    this.#arrived?.splice(0);
  }

  /** @param {string} id */
  find(id) {
    return this.items.find(({ message }) => message.id === id)?.message ?? null;
  }

  /** The place of the last item at or before a `seq`, or -1. @param {number} seq */
  indexOf(seq) {
    let low = 0;
    let high = this.items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.items[middle].message.seq <= seq) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** @param {Message} message */
  created(message) {
    if (this.isLoaded) this.#append(message);
    else this.#arrived?.push(message);
  }

  /** @param {Message} message edited, or deleted */
  change(message) {
    this.#changed.delete(message.id);
    this.#changed.set(message.id, message);
    if (this.#changed.size > CHANGES_MAX) this.#changed.delete(this.#changed.keys().next().value ?? "");
    const index = this.items.findIndex((item) => item.message.id === message.id);
    if (index < 0) return;
    this.items[index] = { key: message.id, message };
    this.#handlers.updated(this.items[index]);
    for (const item of this.items) if (item.message.reply_to === message.id) this.#handlers.updated(item);
  }

  /** @param {Message} message */
  #append(message) {
    const last = this.items.at(-1)?.message.seq ?? 0;
    if (message.seq <= last) return;
    const item = this.#item(message);
    this.items.push(item);
    this.#handlers.newer([item]);
  }

  /** @param {Message} message @returns {Item} */
  #item(message) {
    const known = this.#changed.get(message.id) ?? message;
    return { key: known.id, message: known };
  }
}
