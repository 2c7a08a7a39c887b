/**
 * One room as this page knows it: what is unread, who read how far. Draws nothing.
 * Its messages are `history.js`'s, who is in it `attendance.js`'s, what is on its way `outgoing.js`'s.
 * @module
 */

import { Emitter } from "../client/emitter.js";
import { Attendance } from "./attendance.js";
import { History } from "./history.js";
import { Outgoing } from "./outgoing.js";
import { Reading } from "./reading.js";

/**
 * @typedef {import("../parley.js").Message} Message
 * @typedef {import("../parley.js").Person} Person
 * @typedef {import("../parley.js").Event} Event
 * @typedef {import("../elements/message_row.js").Item} Item
 *
 * @typedef {{id: string, kind: string, title: string|null, visibility: "public"|"private", archived: boolean, epoch: string,
 *   seq: number, role: "owner"|"moderator"|"member"|null, created_at: string}} RoomInfo
 * @typedef {import("./attendance.js").Member} Member
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

const UNREAD_MAX = 100;

/** @extends {Emitter<RoomEvents>} */
export class Room extends Emitter {
  isFollowed = false;
  /** Who read how far. @type {Map<string, number>} */
  receipts = new Map();
  /** Where "New" stands: the first unread message when the room was opened. @type {string|null} */
  firstNew = null;
  /** Why it can't be read now; `isGone` where that is for good, and not the whole connection's end. @type {string|null} */
  ended = null;
  isGone = false;

  #workspace;
  #attendance = new Attendance({ people: () => this.emit("people", null), typing: () => this.emit("typing", null) });
  #history;
  #outgoing;
  /** The last `seq` of any event. */
  #seq;
  /** @type {Promise<void>|null} */
  #loading = null;
  #isOpened = false;
  #wasLive = false;
  #reading = new Reading();
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
    this.#history = new History(workspace.parley, info.id, {
      older: (items) => this.emit("older", items),
      newer: (items) => this.emit("newer", items),
      updated: (item) => this.emit("updated", item),
    });
    this.#outgoing = new Outgoing(info.id, workspace, {
      isThere: ({ seq }) => seq <= this.#seq,
      changed: () => this.emit("pending", null),
    });
  }

  get id() {
    return this.info.id;
  }

  get unread() {
    return this.#reading.unread;
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

  /** In order of `seq`, without a hole from the first one loaded to the newest. */
  get items() {
    return this.#history.items;
  }

  /** Whether `items` begins with the room's first message. */
  get isComplete() {
    return this.#history.isComplete;
  }

  get isLoaded() {
    return this.#history.isLoaded;
  }

  get members() {
    return this.#attendance.members;
  }

  get present() {
    return this.#attendance.present;
  }

  /** How many are present, where they are too many to be told by name. */
  get presentCount() {
    return this.#attendance.presentCount;
  }

  get typing() {
    return this.#attendance.typing;
  }

  /** Not stored yet, oldest first. */
  get pending() {
    return this.#outgoing.items;
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
    this.#history.shorten();
    this.#loading ??= this.#load().finally(() => (this.#loading = null));
    await this.#loading;
  }

  /** Put "New" where reading stopped; when a room is opened, not while it is read. */
  placeNew() {
    const from = this.#reading.seq ?? 0;
    this.firstNew =
      this.unread === 0 ? null : (this.items.find(({ message }) => message.seq > from && message.sender.subject !== this.#me)?.key ?? null);
  }

  async #load() {
    if (this.isLoaded) return;
    await this.#history.load(this.#known);
    // A mark that lies further back is worth a few pages more.
    const from = this.#reading.seq ?? 0;
    for (let pages = 0; this.unread > 0 && !this.isComplete && pages < 3 && this.items[0].message.seq > from; pages++) {
      await this.loadOlder();
    }
  }

  loadOlder() {
    return this.#history.loadOlder();
  }

  /** @param {string} id */
  find(id) {
    return this.#history.find(id);
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
    const index = this.#history.indexOf(message.seq);
    const next = this.items[index + 1]?.message.seq ?? Infinity;
    /** @type {Person[]} */
    const readers = [];
    for (const [subject, seq] of this.receipts) {
      if (subject === this.#me || subject === message.sender.subject || seq < message.seq || seq >= next) continue;
      readers.push(this.person(subject));
    }
    return readers.sort((a, b) => a.name.localeCompare(b.name));
  }

  /** @param {string} subject */
  person(subject) {
    return this.#attendance.person(subject);
  }

  /**
   * @param {string} text
   * @param {string} [replyTo]
   */
  send(text, replyTo) {
    this.#outgoing.send(text, replyTo);
  }

  /** @param {import("./kept.js").Unsent} unsent */
  restore(unsent) {
    this.#outgoing.restore(unsent);
  }

  /** @param {Item} item */
  retry(item) {
    this.#outgoing.retry(item);
  }

  /** @param {Item} item */
  discard(item) {
    this.#outgoing.drop(item.key);
  }

  /** Tell that we read up to the newest. */
  markRead() {
    const seq = this.#seq;
    this.#reading.forget(seq);
    this.emit("info", null);
    if (this.isMine) this.#reading.mark(seq, () => this.#parley.call("receipt.mark", { room: this.id, seq }));
  }

  async #catchUp() {
    this.#attendance.forgetTyping();
    const parley = this.#parley;
    const wanted = [parley.call("receipt.list", { room: this.id }).then(({ receipts }) => this.#receipts(receipts))];
    if (this.#isOpened) {
      // With the members come the names of those who read.
      wanted.push(this.#attendance.loadMembers(parley, this.id).then(() => this.emit("read", this.items.map(({ message }) => message.seq))));
      wanted.push(this.#attendance.loadPresent(parley, this.id));
    }
    // Someone who reads along without being a member may not ask all of these; what fails is asked again on the next line.
    await Promise.allSettled(wanted);
    if (this.#reading.upTo < this.#seq) await this.#countUnread().catch(() => {});
    this.#tellKnown();
  }

  async #countUnread() {
    if (!this.isMine) return;
    const { messages } = await this.#parley.call("message.list", { room: this.id, after: this.#reading.upTo, limit: UNREAD_MAX });
    for (const { seq, sender } of /** @type {Message[]} */ (messages)) if (sender.subject !== this.#me) this.#reading.add(seq);
    this.emit("info", null);
  }

  /** @param {Event} event */
  #take(event) {
    this.#seq = event.seq;
    const [noun, verb] = event.type.split(".");
    if (event.type === "message.created") this.#created(event.data.message);
    else if (noun === "message") this.#history.change(event.data.message);
    else if (noun === "member") this.#member(event.data.member, verb);
    else if (noun === "room") {
      this.info = { ...this.info, ...event.data.room, role: this.info.role };
      this.emit("info", null);
    }
  }

  /** @param {Message} message */
  #created(message) {
    const isOwn = message.sender.subject === this.#me;
    this.#attendance.stopTyping(message.sender.subject);
    this.#history.created(message);
    // Who looks at another room does not need all of this one.
    if (this.#workspace.current !== this) this.#history.shorten();
    if (isOwn && message.client_id) this.#outgoing.drop(message.client_id);
    if (!isOwn) {
      this.#reading.add(message.seq);
      this.emit("info", null);
      this.#workspace.arrived(this, message);
    }
  }

  /**
   * @param {Member} member
   * @param {string} verb
   */
  #member(member, verb) {
    this.#attendance.member(member, verb);
    if (member.subject === this.#me) {
      this.info = { ...this.info, role: this.members.get(member.subject)?.role ?? null };
      this.emit("info", null);
    }
    this.emit("people", null);
  }

  /** @param {import("../parley.js").Signal} signal */
  #hear({ type, data }) {
    if (type === "typing.changed") this.#attendance.typingChanged(data, this.#me);
    else if (type === "presence.changed") this.#attendance.presenceChanged(data);
    else if (type === "receipts.changed" && data.receipts) this.#receipts(data.receipts);
  }

  /** @param {{subject: string, seq: number}[]} receipts */
  #receipts(receipts) {
    const touched = new Set();
    for (const { subject, seq } of receipts) {
      if (subject === this.#me) {
        // Read in another tab is read here too.
        if (this.#reading.heard(seq)) this.emit("info", null);
        continue;
      }
      for (const one of [this.receipts.get(subject), seq]) {
        const message = one === undefined ? undefined : this.items[this.#history.indexOf(one)]?.message;
        if (message) touched.add(message.seq);
      }
      this.receipts.set(subject, Math.max(seq, this.receipts.get(subject) ?? 0));
    }
    if (touched.size > 0) this.emit("read", [...touched]);
  }

  /** @param {{epoch: string, seq: number}} log */
  #restart({ epoch, seq }) {
    this.info = { ...this.info, epoch };
    this.#seq = seq;
    this.#history.clear();
    this.#reading.reset();
    this.receipts.clear();
    this.emit("reset", null);
  }

  /** @param {string} reason */
  #end(reason) {
    if (reason === "signed_out") return;
    this.ended = reason;
    this.isGone = this.#parley.state.name !== "ended";
    this.isFollowed = false;
    this.#tellKnown();
    this.emit("ended", reason);
    this.emit("info", null);
  }
}
