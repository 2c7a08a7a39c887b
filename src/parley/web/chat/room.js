/**
 * One room as this page knows it: its messages, who is in it, who types, who read how far, and what is on its way.
 * Fed by a subscription and by pages of history, which overlap: whatever is known twice is kept once. Draws nothing.
 * @module
 */

import { Emitter } from "../client/emitter.js";
import { ParleyError, randomId } from "../parley.js";

/**
 * @typedef {import("../parley.js").Message} Message
 * @typedef {import("../parley.js").Person} Person
 * @typedef {import("../parley.js").Event} Event
 * @typedef {import("../elements/message_row.js").Item} Item
 *
 * @typedef {{id: string, kind: string, title: string|null, visibility: "public"|"private", archived: boolean, epoch: string,
 *   seq: number, role: "owner"|"moderator"|"member"|null, created_at: string}} RoomInfo
 * @typedef {{room: string, subject: string, name: string, role: "owner"|"moderator"|"member", joined_at: string}} Member
 *
 * @typedef {object} RoomEvents
 * @property {null} reset the log is another one
 * @property {Item[]} older
 * @property {Item[]} newer
 * @property {Item} updated
 * @property {null} pending
 * @property {null} people members and presence
 * @property {null} typing
 * @property {number[]} read message seqs whose readers changed
 * @property {null} info title, role, unread, archived
 * @property {string} ended no longer ours to read
 */

const PAGE = 100;
const MEMBERS_MAX = 500;
/** Somebody who started typing and was never heard to stop has stopped. */
const TYPING_MS = 30_000;
const UNREAD_MAX = 100;
/** Messages that a room keeps when it is opened anew. */
const HELD_MAX = 1000;
/** Changes remembered for pages of history that are on their way; they arrive within seconds. */
const CHANGES_MAX = 500;

/** @extends {Emitter<RoomEvents>} */
export class Room extends Emitter {
  /** In order of `seq`, without a hole from the first one loaded to the newest. @type {Item[]} */
  items = [];
  /** Not stored yet, oldest first. @type {Item[]} */
  pending = [];
  /** Whether `items` begins with the room's first message. */
  isComplete = false;
  isLoaded = false;
  isFollowed = false;
  /** @type {Map<string, Member>} */
  members = new Map();
  /** @type {Map<string, Person>} */
  present = new Map();
  /** How many are present, where they are too many to be told by name. @type {number|null} */
  presentCount = null;
  /** @type {Map<string, {name: string, timer: ReturnType<typeof setTimeout>}>} */
  typing = new Map();
  /** Who read how far. @type {Map<string, number>} */
  receipts = new Map();
  /** How far we read. @type {number|null} */
  readSeq = null;
  unread = 0;
  /** Where "New" stands: the first unread message when the room was opened. @type {string|null} */
  firstNew = null;
  /** @type {string|null} */
  ended = null;

  #workspace;
  /** The last `seq` of any event. */
  #seq;
  /** Newer states of messages than a page of history may bring. @type {Map<string, Message>} */
  #changed = new Map();
  /** Created while the first page was on its way. @type {Message[]} */
  #arrived = [];
  /** @type {Promise<void>|null} */
  #loading = null;
  #isOpened = false;
  #wasLive = false;
  #marked = 0;
  /** Settles when we know what is unread, or that we will not. @type {() => void} */
  #tellKnown = () => {};
  #known = new Promise((resolve) => (this.#tellKnown = () => resolve(undefined)));

  /**
   * @param {import("./workspace.js").Workspace} workspace
   * @param {RoomInfo} info
   */
  constructor(workspace, info) {
    super();
    this.#workspace = workspace;
    this.info = info;
    this.#seq = info.seq;
  }

  get id() {
    return this.info.id;
  }

  get title() {
    return this.info.title || this.info.id;
  }

  get #me() {
    return this.#workspace.me.subject;
  }

  get #parley() {
    return this.#workspace.parley;
  }

  get isMine() {
    return this.info.role !== null;
  }

  /** Whether this person may delete what others wrote. */
  get mayModerate() {
    return this.info.role === "owner" || this.info.role === "moderator" || this.#workspace.isAdmin;
  }

  get mayManage() {
    return this.info.role === "owner" || this.#workspace.isAdmin;
  }

  get mayWrite() {
    return this.isMine && !this.info.archived && this.ended === null;
  }

  /** Follow from where the list of rooms, or the last time, left off. */
  follow() {
    this.isFollowed = true;
    const handlers = {
      event: (/** @type {Event} */ event) => this.#take(event),
      signal: (/** @type {import("../parley.js").Signal} */ signal) => this.#hear(signal),
      reset: (/** @type {{epoch: string, seq: number}} */ log) => this.#restart(log),
      live: () => {
        this.#wasLive = true;
        void this.#catchUp();
      },
      ended: (/** @type {string} */ reason) => this.#end(reason),
    };
    this.#parley.subscribe(this.id, handlers, { after: this.#seq, epoch: this.info.epoch });
  }

  unfollow() {
    this.isFollowed = false;
    this.#parley.unsubscribe(this.id);
  }

  /** Load what a person needs who looks at this room; safe to call again. */
  async open() {
    if (!this.#isOpened) {
      this.#isOpened = true;
      // Before the room is live for the first time, that is yet to come by itself.
      if (this.#wasLive) void this.#catchUp();
    }
    if (this.items.length > HELD_MAX) this.#shorten();
    this.#loading ??= this.#load().finally(() => (this.#loading = null));
    await this.#loading;
  }

  /** Put "New" where reading stopped; when a room is opened, not while it is read. */
  placeNew() {
    const from = this.readSeq ?? 0;
    this.firstNew =
      this.unread === 0 ? null : (this.items.find(({ message }) => message.seq > from && message.sender.subject !== this.#me)?.key ?? null);
  }

  async #load() {
    if (this.isLoaded) return;
    const [{ messages, complete }] = await Promise.all([
      this.#parley.call("message.list", { room: this.id, limit: PAGE }),
      this.#known,
    ]);
    this.items = messages.map((/** @type {Message} */ message) => this.#item(message));
    this.isComplete = complete;
    this.isLoaded = true;
    for (const message of this.#arrived.splice(0)) this.#append(message);
    // A mark that lies further back is worth a few pages more.
    const from = this.readSeq ?? 0;
    for (let pages = 0; this.unread > 0 && !this.isComplete && pages < 3 && this.items[0].message.seq > from; pages++) {
      await this.loadOlder();
    }
  }

  /** Who scrolled far back and went elsewhere begins at the end again: a room's whole history is not held for ever. */
  #shorten() {
    this.items = this.items.slice(-PAGE);
    this.isComplete = false;
  }

  async loadOlder() {
    if (!this.isLoaded || this.isComplete) return;
    const before = this.items[0]?.message.seq;
    const { messages, complete } = await this.#parley.call("message.list", { room: this.id, before, limit: PAGE });
    if (this.items[0]?.message.seq !== before) return; // Another call, or a reset, was faster.
    const older = messages.map((/** @type {Message} */ message) => this.#item(message));
    this.isComplete = complete;
    this.items = [...older, ...this.items];
    this.emit("older", older);
  }

  /** @param {string} id */
  find(id) {
    return this.items.find(({ message }) => message.id === id)?.message ?? null;
  }

  /** The last message of ours that can still be edited. */
  get lastOwn() {
    return this.items.findLast(({ message }) => this.mayEdit(message))?.message ?? null;
  }

  /** @param {Message} message */
  mayEdit(message) {
    const ageMs = Date.now() - Date.parse(message.at);
    return this.mayWrite && message.sender.subject === this.#me && !message.deleted && message.seq > 0 && ageMs < 15 * 60_000;
  }

  /** @param {Message} message */
  mayDelete(message) {
    return this.mayModerate && !message.deleted && message.seq > 0;
  }

  /** @param {Item} item @returns {Person[]} */
  readers({ message, state }) {
    if (state) return [];
    const index = this.#indexOf(message.seq);
    const next = this.items[index + 1]?.message.seq ?? Infinity;
    /** @type {Person[]} */
    const readers = [];
    for (const [subject, seq] of this.receipts) {
      if (subject === this.#me || subject === message.sender.subject || seq < message.seq || seq >= next) continue;
      readers.push(this.person(subject));
    }
    return readers.sort((a, b) => a.name.localeCompare(b.name));
  }

  /** @param {string} subject @returns {Person} */
  person(subject) {
    const known = this.members.get(subject) ?? this.present.get(subject);
    return { subject, name: known?.name ?? subject };
  }

  /**
   * @param {string} text
   * @param {string} [replyTo]
   */
  send(text, replyTo) {
    const unsent = { room: this.id, client_id: randomId(), text, at: new Date().toISOString(), ...(replyTo ? { reply_to: replyTo } : {}) };
    this.#workspace.kept.add(unsent);
    this.restore(unsent);
  }

  /** Send what is not stored yet, again perhaps: the same `client_id` is never stored twice. @param {import("./kept.js").Unsent} unsent */
  restore(unsent) {
    if (this.pending.some(({ key }) => key === unsent.client_id)) return;
    const { subject, name } = this.#workspace.me;
    const message = { id: "", room: this.id, seq: 0, text: unsent.text, sender: { subject, name }, at: unsent.at, reply_to: unsent.reply_to };
    this.pending = [...this.pending, { key: unsent.client_id, message, state: "sending" }];
    this.emit("pending", null);
    void this.#deliver(unsent.client_id);
  }

  /** @param {Item} item */
  retry(item) {
    this.#setPending({ key: item.key, message: item.message, state: "sending" });
    void this.#deliver(item.key);
  }

  /** @param {Item} item */
  discard(item) {
    this.#dropPending(item.key);
  }

  /** @param {string} key */
  async #deliver(key) {
    const item = this.pending.find((one) => one.key === key);
    if (!item) return;
    const { text = "", reply_to } = item.message;
    try {
      const { message } = await this.#parley.send(this.id, text, { client_id: key, ...(reply_to ? { reply_to } : {}) });
      // It enters the log as an event, as everybody's does; an answer that says "long since there" has none to wait for.
      if (this.isLoaded && message.seq <= this.#seq) this.#dropPending(key);
      else this.#setPending({ ...item, state: "sent" });
      this.#workspace.kept.remove(key);
    } catch (error) {
      const { code, status } = /** @type {ParleyError} */ (error);
      // Signing out is no failure of the message; what is kept is sent after the next sign-in.
      if (code === "signed_out" || code === "left") return;
      this.#setPending({ ...item, state: "failed", trouble: sendTrouble(code, status), code });
    }
  }

  /** @param {Item} item */
  #setPending(item) {
    this.pending = this.pending.map((one) => (one.key === item.key ? item : one));
    this.emit("pending", null);
  }

  /** @param {string} key */
  #dropPending(key) {
    this.#workspace.kept.remove(key);
    if (!this.pending.some((one) => one.key === key)) return;
    this.pending = this.pending.filter((one) => one.key !== key);
    this.emit("pending", null);
  }

  /** Tell that we read up to the newest. */
  markRead() {
    const seq = this.#seq;
    this.unread = 0;
    this.emit("info", null);
    if (!this.isMine || seq <= this.#marked || seq <= (this.readSeq ?? 0)) return;
    this.#marked = seq;
    this.#parley.call("receipt.mark", { room: this.id, seq }).then(
      () => (this.readSeq = Math.max(this.readSeq ?? 0, seq)),
      () => (this.#marked = 0),
    );
  }

  async #catchUp() {
    for (const { timer } of this.typing.values()) clearTimeout(timer);
    this.typing.clear();
    this.emit("typing", null);
    const parley = this.#parley;
    const wanted = [parley.call("receipt.list", { room: this.id }).then(({ receipts }) => this.#receipts(receipts))];
    if (this.#isOpened) {
      wanted.push(this.#loadMembers());
      wanted.push(parley.call("presence.list", { room: this.id }).then(({ present, count }) => this.#presence(present, count)));
    }
    // Someone who reads along without being a member may not ask all of these; what fails is asked again on the next line.
    await Promise.allSettled(wanted);
    if (this.#readUpTo < this.#seq) await this.#countUnread().catch(() => {});
    this.#tellKnown();
  }

  get #readUpTo() {
    return Math.max(this.readSeq ?? 0, this.#marked);
  }

  async #countUnread() {
    if (!this.isMine) return;
    const { messages } = await this.#parley.call("message.list", { room: this.id, after: this.#readUpTo, limit: UNREAD_MAX });
    this.unread = messages.filter((/** @type {Message} */ { sender }) => sender.subject !== this.#me).length;
    this.emit("info", null);
  }

  async #loadMembers() {
    /** @type {Map<string, Member>} */
    const members = new Map();
    let after;
    do {
      const page = await this.#parley.call("room.members", { room: this.id, limit: 100, ...(after ? { after } : {}) });
      for (const member of page.members) members.set(member.subject, member);
      after = page.next;
    } while (after && members.size < MEMBERS_MAX);
    this.members = members;
    this.emit("people", null);
    this.emit("read", this.items.map(({ message }) => message.seq));
  }

  /** @param {Event} event */
  #take(event) {
    this.#seq = event.seq;
    const [noun, verb] = event.type.split(".");
    if (event.type === "message.created") this.#created(event.data.message);
    else if (noun === "message") this.#change(event.data.message);
    else if (noun === "member") this.#member(event.data.member, verb);
    else if (noun === "room") {
      this.info = { ...this.info, ...event.data.room, role: this.info.role };
      this.emit("info", null);
    }
  }

  /** @param {Message} message */
  #created(message) {
    const isOwn = message.sender.subject === this.#me;
    this.#stopTyping(message.sender.subject);
    if (!this.isLoaded) this.#arrived.push(message);
    else this.#append(message);
    if (isOwn && message.client_id) this.#dropPending(message.client_id);
    if (!isOwn) {
      this.unread += 1;
      this.emit("info", null);
      this.#workspace.arrived(this, message);
    }
  }

  /** @param {Message} message */
  #append(message) {
    const last = this.items.at(-1)?.message.seq ?? 0;
    if (message.seq <= last) return;
    const item = this.#item(message);
    this.items.push(item);
    this.emit("newer", [item]);
  }

  /** @param {Message} message */
  #change(message) {
    this.#changed.delete(message.id);
    this.#changed.set(message.id, message);
    if (this.#changed.size > CHANGES_MAX) this.#changed.delete(this.#changed.keys().next().value ?? "");
    const index = this.items.findIndex((item) => item.message.id === message.id);
    if (index < 0) return;
    this.items[index] = { key: message.id, message };
    this.emit("updated", this.items[index]);
    for (const item of this.items) if (item.message.reply_to === message.id) this.emit("updated", item);
  }

  /**
   * @param {Member} member
   * @param {string} verb
   */
  #member(member, verb) {
    if (verb === "left" || verb === "removed") {
      this.members.delete(member.subject);
      this.present.delete(member.subject);
    } else {
      this.members.set(member.subject, member);
    }
    if (member.subject === this.#me) {
      this.info = { ...this.info, role: this.members.get(member.subject)?.role ?? null };
      this.emit("info", null);
    }
    this.emit("people", null);
  }

  /** @param {import("../parley.js").Signal} signal */
  #hear({ type, data }) {
    if (type === "typing.changed") {
      for (const { subject } of data.stopped ?? []) this.#stopTyping(subject);
      for (const { subject, name } of data.started ?? []) {
        if (subject === this.#me) continue;
        clearTimeout(this.typing.get(subject)?.timer);
        this.typing.set(subject, { name, timer: setTimeout(() => this.#stopTyping(subject), TYPING_MS) });
      }
      this.emit("typing", null);
    } else if (type === "presence.changed") {
      if (typeof data.count === "number") this.presentCount = data.count;
      for (const person of data.joined ?? []) this.present.set(person.subject, person);
      for (const { subject } of data.left ?? []) {
        this.present.delete(subject);
        this.#stopTyping(subject);
      }
      if (data.joined || data.left) this.presentCount = null;
      this.emit("people", null);
    } else if (type === "receipts.changed" && data.receipts) {
      this.#receipts(data.receipts);
    }
  }

  /** @param {string} subject */
  #stopTyping(subject) {
    clearTimeout(this.typing.get(subject)?.timer);
    if (this.typing.delete(subject)) this.emit("typing", null);
  }

  /** @param {Person[]} present @param {number} [count] */
  #presence(present, count) {
    this.present = new Map(present.map((person) => [person.subject, person]));
    this.presentCount = count ?? null;
    this.emit("people", null);
  }

  /** @param {{subject: string, seq: number}[]} receipts */
  #receipts(receipts) {
    const touched = new Set();
    for (const { subject, seq } of receipts) {
      if (subject === this.#me) {
        // Read in another tab is read here too.
        if (seq > (this.readSeq ?? -1)) this.readSeq = seq;
        if (seq >= this.#seq && this.unread > 0) {
          this.unread = 0;
          this.emit("info", null);
        }
        continue;
      }
      for (const one of [this.receipts.get(subject), seq]) {
        const message = one === undefined ? undefined : this.items[this.#indexOf(one)]?.message;
        if (message) touched.add(message.seq);
      }
      this.receipts.set(subject, Math.max(seq, this.receipts.get(subject) ?? 0));
    }
    if (touched.size > 0) this.emit("read", [...touched]);
  }

  /** The place of the last item at or before a `seq`, or -1. @param {number} seq */
  #indexOf(seq) {
    let low = 0;
    let high = this.items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.items[middle].message.seq <= seq) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** @param {Message} message @returns {Item} */
  #item(message) {
    const known = this.#changed.get(message.id) ?? message;
    return { key: known.id, message: known };
  }

  /** @param {{epoch: string, seq: number}} log */
  #restart({ epoch, seq }) {
    this.info = { ...this.info, epoch };
    this.#seq = seq;
    this.items = [];
    this.isLoaded = false;
    this.isComplete = false;
    this.readSeq = null;
    this.#marked = 0;
    this.receipts.clear();
    this.#changed.clear();
    this.#arrived = [];
    this.emit("reset", null);
  }

  /** @param {string} reason */
  #end(reason) {
    if (reason === "signed_out") return;
    this.ended = reason;
    this.isFollowed = false;
    this.#tellKnown();
    this.emit("ended", reason);
    this.emit("info", null);
  }
}

/**
 * Why a message was not sent, in words.
 * @param {string} code
 * @param {number} status
 */
function sendTrouble(code, status) {
  if (code === "forbidden" || code === "not_found") return "you can no longer write here";
  if (code === "banned") return "you are banned from this room";
  if (code === "archived") return "the room is archived";
  if (code === "too_large") return "it is too long";
  if (code === "invalid_params") return "the server does not accept this text";
  if (code === "rate_limited" || code === "limit_exceeded") return "too many messages at once";
  if (status >= 500) return "the server had trouble";
  return "the connection ended";
}
