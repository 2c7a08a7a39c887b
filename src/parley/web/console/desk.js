/**
 * What an agent has before them: who waits, what is theirs, and the talks that are followed. Fed by the room `queue`.
 * Draws nothing; a single conversation's messages are `talk.js`'s.
 * @module
 */

import { Emitter } from "../client/emitter.js";
import { Talk } from "./talk.js";

/**
 * @typedef {object} Conversation
 * @property {string} id
 * @property {"queued"|"open"|"closed"} status
 * @property {string|null} department
 * @property {string|null} assignee
 * @property {string|null} assignee_name
 * @property {{subject: string, name: string|null, email: string|null, page: string|null, verified: boolean}} visitor
 * @property {number|null} rating
 * @property {string|null} comment
 * @property {boolean} blocked
 * @property {string} created_at
 * @property {string|null} queued_at
 * @property {string|null} closed_at
 * @property {import("../parley.js").Message|null} [last_message]
 * @property {number} [unread]
 *
 * @typedef {{changed: null, current: Talk|null, waiting: Conversation, trouble: import("../parley.js").ParleyError}} DeskEvents
 */

const PAGE = 100;

/** @extends {Emitter<DeskEvents>} */
export class Desk extends Emitter {
  /** @type {Map<string, Conversation>} */
  conversations = new Map();
  /** @type {Talk|null} */
  current = null;
  /** @type {{id: string, shortcut: string, text: string}[]} */
  replies = [];
  /** @type {Map<string, string>} */
  departments = new Map();

  /** @type {Map<string, Talk>} */
  #talks = new Map();

  /** @param {import("../parley.js").Parley} parley @param {import("../parley.js").Session} me */
  constructor(parley, me) {
    super();
    this.parley = parley;
    this.me = me;
  }

  open() {
    this.parley.subscribe("queue", {
      event: ({ type, data }) => {
        if (type.startsWith("conversation.")) this.#know(data.conversation, type === "conversation.queued");
      },
      // On each line anew: last messages and unread counts are in the lists alone.
      live: () => void this.#look().catch((error) => this.emit("trouble", error)),
    });
  }

  get waiting() {
    return this.#sorted("queued", ({ queued_at: at, created_at: begun }) => Date.parse(at ?? begun));
  }

  get mine() {
    return this.#sorted("open", ({ created_at: at }) => Date.parse(at)).filter(({ assignee }) => assignee === this.me.subject);
  }

  get others() {
    return this.#sorted("open", ({ created_at: at }) => Date.parse(at)).filter(({ assignee }) => assignee !== this.me.subject);
  }

  get closed() {
    return this.#sorted("closed", ({ closed_at: at }) => -Date.parse(at ?? "")).slice(0, PAGE);
  }

  /** @param {string} id */
  show(id) {
    const talk = this.#follow(id);
    const before = this.current;
    this.current = talk;
    if (before && before !== talk) this.#release(before.id);
    this.emit("current", talk);
    this.emit("changed", null);
  }

  /** The next one that asks for something: mine with news, else mine in turn. */
  next() {
    const mine = this.mine;
    const at = mine.findIndex(({ id }) => id === this.current?.id);
    const turn = [...mine.slice(at + 1), ...mine.slice(0, Math.max(at, 0))];
    const wanted = turn.find((one) => this.unread(one) > 0) ?? turn[0];
    if (wanted) this.show(wanted.id);
  }

  /** @param {string} [id] the one who waits longest, where none is named */
  async claim(id = this.waiting[0]?.id) {
    if (!id) return;
    await this.ask("conversation.claim", id);
    this.show(id);
  }

  /** @param {string} method @param {string} id @param {object} [more] */
  async ask(method, id, more = {}) {
    try {
      const { conversation } = await this.parley.call(method, { conversation: id, ...more });
      this.#know(conversation);
    } catch (error) {
      this.emit("trouble", /** @type {any} */ (error));
      throw error;
    }
  }

  /** @param {Conversation} conversation */
  unread({ id, unread = 0 }) {
    return this.#talks.get(id)?.unread ?? unread;
  }

  /** @param {Conversation} conversation */
  lastLine({ id, last_message: last }) {
    return this.#talks.get(id)?.lastText ?? last?.text ?? "";
  }

  close() {
    for (const talk of this.#talks.values()) talk.close();
  }

  async #look() {
    const lists = ["queued", "open", "closed"].map((status) => this.parley.call("conversation.list", { status, limit: PAGE }));
    const [replies, departments, ...found] = await Promise.all([
      this.parley.call("reply.list").catch(() => ({ replies: [] })),
      this.parley.call("department.list").catch(() => ({ departments: [] })),
      ...lists,
    ]);
    this.replies = replies.replies;
    this.departments = new Map(departments.departments.map((/** @type {any} */ one) => [one.id, one.name]));
    for (const { conversations } of found) for (const one of conversations) this.#know(one);
  }

  /** @param {Conversation} told @param {boolean} [isNew] */
  #know(told, isNew = false) {
    const conversation = { ...this.conversations.get(told.id), ...told };
    this.conversations.set(told.id, conversation);
    if (conversation.status === "open" && conversation.assignee === this.me.subject) this.#follow(told.id);
    else this.#release(told.id);
    if (isNew) this.emit("waiting", conversation);
    this.emit("changed", null);
  }

  /** @param {string} id */
  #follow(id) {
    let talk = this.#talks.get(id);
    if (!talk) {
      talk = new Talk(this.parley, id, this.me);
      talk.on("changed", () => this.emit("changed", null));
      this.#talks.set(id, talk);
    }
    return talk;
  }

  /** What is neither mine nor looked at is not followed. @param {string} id */
  #release(id) {
    const conversation = this.conversations.get(id);
    const isMine = conversation?.status === "open" && conversation.assignee === this.me.subject;
    if (isMine || this.current?.id === id) return;
    this.#talks.get(id)?.close();
    this.#talks.delete(id);
  }

  /** @param {string} status @param {(one: Conversation) => number} order */
  #sorted(status, order) {
    return [...this.conversations.values()].filter((one) => one.status === status).sort((a, b) => order(a) - order(b));
  }
}
