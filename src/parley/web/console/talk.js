/**
 * One conversation as an agent follows it: its messages, its notes and what befell it in one order, who is there, what the
 * visitor types, what is on its way.
 * Draws nothing.
 * @module
 */

import { Emitter } from "../client/emitter.js";
import { randomId } from "../parley.js";

/**
 * @typedef {import("../parley.js").Message} Message
 * `life` says, in words, what befell the conversation: such an item is no message.
 * @typedef {import("../elements/message_row.js").Item & {isNote?: boolean, life?: string}} Item
 * @typedef {{changed: null, added: Item, updated: Item, reset: null, pending: null, typing: null, news: Message}} TalkEvents
 */

/** So long a message can be edited. */
const EDIT_MS = 15 * 60_000;
/** Typing is told again so often, while it goes on. */
const TYPING_MS = 3_000;

/**
 * A visitor who gave no name is called by an id on the wire: nobody's name.
 * @template {{subject: string, name: string}} P
 * @param {P} person
 * @returns {P}
 */
const named = (person) => (person.name === person.subject && person.subject.startsWith("guest:") ? { ...person, name: "Visitor" } : person);

/** @extends {Emitter<TalkEvents>} */
export class Talk extends Emitter {
  /** @type {Map<string, Item>} */
  #items = new Map();
  /** @type {Item[]} */
  pending = [];
  /** Who types, and what, where it is shown. @type {Map<string, {name: string, text?: string}>} */
  typing = new Map();
  /** Who looks at it, the visitor and I included: names by subject. @type {Map<string, string>} */
  present = new Map();
  isNote = false;

  #parley;
  #me;
  #kept;
  #read = 0;
  /** How far the server knows that I read; null until it said so. @type {number|null} */
  #marked = null;
  #isOver = false;
  /** When it was last told that I type; 0 while I do not. */
  #typedMs = 0;
  /** What comes from now on is new, and not told again. */
  #isLive = false;

  /**
   * @param {import("../parley.js").Parley} parley
   * @param {string} id
   * @param {import("../parley.js").Session} me
   * @param {import("../chat/kept.js").Kept} kept
   */
  constructor(parley, id, me, kept) {
    super();
    this.#parley = parley;
    this.id = id;
    this.#me = me;
    this.#kept = kept;
    this.isNote = kept.draft(this.#notes) !== "";
    void this.#begin();
  }

  get #notes() {
    return `${this.id}.notes`;
  }

  get draft() {
    return this.#kept.draft(this.isNote ? this.#notes : this.id);
  }

  /** A note's draft is kept apart: it must never come back as a reply. @param {string} text */
  set draft(text) {
    this.#kept.setDraft(this.#notes, this.isNote ? text : "");
    this.#kept.setDraft(this.id, this.isNote ? "" : text);
  }

  /** In the order in which they were said. */
  get items() {
    return [...this.#items.values()].sort((a, b) => Date.parse(a.message.at) - Date.parse(b.message.at));
  }

  get #said() {
    return [...this.#items.values()].filter(({ isNote, life }) => !isNote && !life).map(({ message }) => message);
  }

  get unread() {
    return this.#said.filter(({ sender, seq }) => sender.subject !== this.#me.subject && seq > this.#read).length;
  }

  /** My newest message of the kind that I write now, if it can still be edited. @returns {Message|null} */
  get lastOwn() {
    const mine = this.items.filter(({ isNote, life, message }) => !life && Boolean(isNote) === this.isNote && message.sender.subject === this.#me.subject);
    const message = mine.at(-1)?.message;
    return message && !message.deleted && Date.now() - Date.parse(message.at) < EDIT_MS ? message : null;
  }

  get lastText() {
    return this.#said.sort((a, b) => a.seq - b.seq).at(-1)?.text;
  }

  read() {
    const seq = Math.max(0, ...this.#said.map((message) => message.seq));
    if (seq <= this.#read) return;
    this.#read = seq;
    void this.#mark();
    this.emit("changed", null);
  }

  async #mark() {
    const seq = this.#read;
    if (seq <= (this.#marked ?? 0)) return;
    try {
      await this.#parley.call("receipt.mark", { room: this.id, seq });
      this.#marked = Math.max(this.#marked ?? 0, seq);
    } catch {
      // It is told again on the next line.
    }
  }

  /** @param {string} text */
  send(text) {
    this.#typedMs = 0;
    const { subject, name } = this.#me;
    const key = randomId();
    const message = { id: key, room: this.id, seq: 0, text, sender: { subject, name }, at: new Date().toISOString(), client_id: key };
    /** @type {Item} */
    const item = { key, message, state: "sending", isNote: this.isNote };
    this.pending = [...this.pending, item];
    this.#kept.add({ room: this.isNote ? this.#notes : this.id, client_id: key, text, at: message.at });
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
    this.#kept.remove(key);
    this.pending = this.pending.filter((one) => one.key !== key);
    this.emit("pending", null);
  }

  /** @param {boolean} active */
  type(active) {
    const isTold = active && Date.now() - this.#typedMs < TYPING_MS;
    if (this.isNote || isTold || (!active && this.#typedMs === 0)) return;
    this.#typedMs = active ? Date.now() : 0;
    this.#parley.call("typing.set", { room: this.id, active }).catch(() => {});
  }

  close() {
    this.#isOver = true;
    this.#parley.unsubscribe(this.id);
    this.#parley.unsubscribe(this.#notes);
  }

  /** @param {Item} item */
  #post(item) {
    this.emit("pending", null);
    const room = item.isNote ? this.#notes : this.id;
    this.#parley.send(room, item.message.text ?? "", { client_id: item.key }).then(
      ({ message }) => this.#stored(item, message),
      ({ code }) => {
        const trouble = code === "conflict" ? "the conversation is closed" : "the server refused it";
        this.pending = this.pending.map((one) => (one.key === item.key ? { ...one, state: "failed", trouble, code } : one));
        this.emit("pending", null);
      },
    );
  }

  /** Its event may be on its way yet, or lost with the line: what is stored does not go out of sight meanwhile. @param {Item} item @param {Message} stored */
  #stored({ key, isNote }, stored) {
    const message = { ...stored, sender: named(stored.sender) };
    const isKnown = this.#items.has(message.id);
    const item = { key: message.id, message, isNote };
    if (!isKnown) this.#items.set(message.id, item);
    this.discard(key);
    if (!isKnown) this.emit("added", item);
  }

  async #begin() {
    // How far one has read is asked first: what comes after it is new.
    await this.#lookBack();
    if (this.#isOver) return;
    for (const isNote of [false, true]) {
      const handlers = {
        event: (/** @type {import("../parley.js").Event} */ event) => this.#take(event, isNote),
        signal: (/** @type {import("../parley.js").Signal} */ signal) => !isNote && this.#hear(signal),
        reset: () => this.#forget(isNote),
        live: () => !isNote && void this.#look(),
      };
      this.#parley.subscribe(isNote ? this.#notes : this.id, handlers, { after: 0 });
    }
    // What was on its way when the page went: sent twice it is stored once.
    for (const { room, client_id: key, text, at } of this.#kept.unsent()) {
      if (room !== this.id && room !== this.#notes) continue;
      const { subject, name } = this.#me;
      /** @type {Item} */
      const item = { key, message: { id: key, room, seq: 0, text, sender: { subject, name }, at, client_id: key }, state: "sending", isNote: room === this.#notes };
      this.pending = [...this.pending, item];
      this.#post(item);
    }
  }

  async #look() {
    const isAnother = this.#isLive || this.#marked === null;
    this.#isLive = true;
    // Who stopped while there was no line is not told of.
    this.typing.clear();
    this.emit("typing", null);
    if (isAnother) void this.#lookBack();
    const { present } = await this.#parley.call("presence.list", { room: this.id }).catch(() => ({ present: [] }));
    this.present = new Map(present.map(named).map((/** @type {any} */ one) => [one.subject, one.name]));
    this.emit("changed", null);
  }

  /** How far I have read, here or elsewhere; the server is told what it missed. Where there is no line, the next one asks. */
  async #lookBack() {
    const found = await this.#parley.call("receipt.list", { room: this.id }).catch(() => null);
    if (found) this.#readElsewhere(found.receipts.find((/** @type {any} */ one) => one.subject === this.#me.subject)?.seq ?? 0);
    void this.#mark();
  }

  /** @param {number} seq */
  #readElsewhere(seq) {
    this.#marked = Math.max(this.#marked ?? 0, seq);
    this.#read = Math.max(this.#read, seq);
    this.emit("changed", null);
  }

  /** It is another log than before. @param {boolean} isNote */
  #forget(isNote) {
    for (const [key, item] of this.#items) if (Boolean(item.isNote) === isNote) this.#items.delete(key);
    if (!isNote) this.#read = this.#marked = 0;
    this.emit("reset", null);
  }

  /** @param {import("../parley.js").Event} event @param {boolean} isNote */
  #take({ type, seq, at, actor, data }, isNote) {
    if (!data.message) return this.#befall(type, seq, at, named(actor), data.conversation);
    /** @type {Message} */
    const message = { ...data.message, sender: named(data.message.sender) };
    const isKnown = this.#items.has(message.id);
    const item = { key: message.id, message, isNote };
    this.#items.set(message.id, item);
    if (message.client_id) this.discard(message.client_id);
    this.typing.delete(message.sender.subject);
    this.emit(isKnown ? "updated" : "added", item);
    if (!isKnown && this.#isLive && !isNote && message.sender.subject !== this.#me.subject) this.emit("news", message);
    this.emit("typing", null);
    this.emit("changed", null);
  }

  /** @param {string} type @param {number} seq @param {string} at @param {{subject: string, name: string}} actor @param {any} conversation */
  #befall(type, seq, at, { subject, name }, conversation) {
    if (!conversation || seq === 1) return; // That it began is seen.
    const who = subject === this.#me.subject ? "You" : name;
    const whom = conversation.assignee === this.#me.subject ? "you" : conversation.assignee_name;
    /** @type {Record<string, string>} */
    const words = {
      "conversation.queued": "Back in the queue: its agent is gone",
      "conversation.claimed": `${who} claimed it`,
      "conversation.assigned": `${who} gave it to ${whom}`,
      "conversation.transferred": `${who} handed it over`,
      "conversation.closed": `${who} closed it`,
      "conversation.reopened": `${who} opened it again`,
      "conversation.rated": `${who} gave ${conversation.rating} of 5`,
    };
    if (!Object.hasOwn(words, type)) return;
    const key = `life ${seq}`;
    const message = { id: key, room: this.id, seq, text: "", sender: { subject: key, name }, at };
    const item = { key, message, life: words[type] };
    const isKnown = this.#items.has(key);
    this.#items.set(key, item);
    this.emit(isKnown ? "updated" : "added", item);
  }

  /** @param {import("../parley.js").Signal} signal */
  #hear({ type, data }) {
    if (type === "presence.changed" && data.joined) {
      for (const { subject, name } of data.joined.map(named)) this.present.set(subject, name);
      for (const { subject } of data.left) this.present.delete(subject);
      this.emit("changed", null);
    }
    if (type === "receipts.changed") {
      for (const { subject, seq } of data.receipts ?? []) if (subject === this.#me.subject) this.#readElsewhere(seq);
    }
    if (type !== "typing.changed") return;
    for (const one of data.started.map(named)) if (one.subject !== this.#me.subject) this.typing.set(one.subject, one);
    for (const { subject } of data.stopped) this.typing.delete(subject);
    this.emit("typing", null);
  }
}
