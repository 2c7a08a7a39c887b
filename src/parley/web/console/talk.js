/**
 * One conversation as an agent follows it: its messages and its notes in one order, what the visitor types, what is on its way.
 * Draws nothing.
 * @module
 */

import { Emitter } from "../client/emitter.js";
import { randomId } from "../parley.js";

/**
 * @typedef {import("../parley.js").Message} Message
 * @typedef {import("../elements/message_row.js").Item & {isNote?: boolean}} Item
 * @typedef {{changed: null, added: Item, updated: Item, pending: null, typing: null}} TalkEvents
 */

/** @extends {Emitter<TalkEvents>} */
export class Talk extends Emitter {
  /** @type {Map<string, Item>} */
  #items = new Map();
  /** @type {Item[]} */
  pending = [];
  /** Who types, and what, where it is shown. @type {Map<string, {name: string, text?: string}>} */
  typing = new Map();
  draft = "";
  isNote = false;

  #parley;
  #me;
  #read = 0;

  /** @param {import("../parley.js").Parley} parley @param {string} id @param {import("../parley.js").Session} me */
  constructor(parley, id, me) {
    super();
    this.#parley = parley;
    this.id = id;
    this.#me = me;
    void this.#begin();
  }

  /** In the order in which they were said. */
  get items() {
    return [...this.#items.values()].sort((a, b) => Date.parse(a.message.at) - Date.parse(b.message.at));
  }

  get unread() {
    const others = [...this.#items.values()].filter(({ message, isNote }) => !isNote && message.sender.subject !== this.#me.subject);
    return others.filter(({ message }) => message.seq > this.#read).length;
  }

  get lastText() {
    return this.items.filter(({ isNote }) => !isNote).at(-1)?.message.text;
  }

  read() {
    const seq = Math.max(0, ...[...this.#items.values()].filter(({ isNote }) => !isNote).map(({ message }) => message.seq));
    if (seq <= this.#read) return;
    this.#read = seq;
    this.#parley.call("receipt.mark", { room: this.id, seq }).catch(() => {});
    this.emit("changed", null);
  }

  /** @param {string} text */
  send(text) {
    const { subject, name } = this.#me;
    const key = randomId();
    const message = { id: key, room: this.id, seq: 0, text, sender: { subject, name }, at: new Date().toISOString(), client_id: key };
    /** @type {Item} */
    const item = { key, message, state: "sending", isNote: this.isNote };
    this.pending = [...this.pending, item];
    this.#post(item);
  }

  /** @param {Item} item */
  retry(item) {
    const again = { ...item, state: /** @type {const} */ ("sending"), trouble: undefined, code: undefined };
    this.pending = this.pending.map((one) => (one.key === item.key ? again : one));
    this.#post(again);
  }

  /** @param {string} key */
  discard(key) {
    this.pending = this.pending.filter((one) => one.key !== key);
    this.emit("pending", null);
  }

  /** @param {boolean} active */
  type(active) {
    if (!this.isNote) this.#parley.call("typing.set", { room: this.id, active }).catch(() => {});
  }

  close() {
    this.#parley.unsubscribe(this.id);
    this.#parley.unsubscribe(`${this.id}.notes`);
  }

  /** @param {Item} item */
  #post(item) {
    this.emit("pending", null);
    const room = item.isNote ? `${this.id}.notes` : this.id;
    this.#parley.send(room, item.message.text ?? "", { client_id: item.key }).then(
      () => this.discard(item.key),
      ({ code }) => {
        const trouble = code === "conflict" ? "the conversation is closed" : "the server refused it";
        this.pending = this.pending.map((one) => (one.key === item.key ? { ...one, state: "failed", trouble, code } : one));
        this.emit("pending", null);
      },
    );
  }

  async #begin() {
    // How far one has read is asked first: what comes after it is new.
    const found = await this.#parley.call("receipt.list", { room: this.id }).catch(() => ({ receipts: [] }));
    this.#read = found.receipts.find((/** @type {any} */ one) => one.subject === this.#me.subject)?.seq ?? 0;
    for (const isNote of [false, true]) {
      const handlers = {
        event: (/** @type {import("../parley.js").Event} */ event) => this.#take(event, isNote),
        signal: (/** @type {import("../parley.js").Signal} */ signal) => this.#hear(signal),
      };
      this.#parley.subscribe(isNote ? `${this.id}.notes` : this.id, handlers, { after: 0 });
    }
  }

  /** @param {import("../parley.js").Event} event @param {boolean} isNote */
  #take({ data }, isNote) {
    const message = /** @type {Message|undefined} */ (data.message);
    if (!message) return;
    const isKnown = this.#items.has(message.id);
    const item = { key: message.id, message, isNote };
    this.#items.set(message.id, item);
    if (message.client_id) this.discard(message.client_id);
    this.typing.delete(message.sender.subject);
    this.emit(isKnown ? "updated" : "added", item);
    this.emit("typing", null);
    this.emit("changed", null);
  }

  /** @param {import("../parley.js").Signal} signal */
  #hear({ type, data }) {
    if (type !== "typing.changed") return;
    for (const one of data.started) if (one.subject !== this.#me.subject) this.typing.set(one.subject, one);
    for (const { subject } of data.stopped) this.typing.delete(subject);
    this.emit("typing", null);
  }
}
