/**
 * What an agent has before them: who waits, what is theirs, who else answers, and the talks that are followed. Fed by the
 * room `queue`.
 * Draws nothing; a single conversation's messages are `talk.js`'s.
 * @module
 */

import { Kept } from "../chat/kept.js";
import { Emitter } from "../client/emitter.js";
import { Talk } from "./talk.js";
import { Told } from "./told.js";

/**
 * @typedef {object} Conversation
 * @property {string} id
 * @property {"queued"|"open"|"closed"} status
 * @property {string|null} department
 * @property {string|null} assignee
 * @property {string|null} assignee_name
 * @property {{subject: string, name: string|null, email: string|null, page: string|null, verified: boolean, identity: string|null}} visitor
 * @property {number|null} rating
 * @property {string|null} comment
 * @property {boolean} blocked
 * @property {string} created_at
 * @property {string|null} queued_at
 * @property {string|null} closed_at
 * @property {import("../parley.js").Message|null} [last_message]
 * @property {number} [unread]
 *
 * @typedef {{subject: string, name: string, status: "available"|"away", capacity: number, conversations: number,
 *   online: boolean}} Agent
 * @typedef {"queued"|"others"|"closed"} List
 * @typedef {{changed: null, current: Talk|null, waiting: Conversation, news: {name: string, text: string},
 *   trouble: import("../parley.js").ParleyError}} DeskEvents
 */

const PAGE = 100;
/** What could not be read just now is asked for again: the first pause, doubled each time. */
const RETRY_MS = 1_000;
/** What one has is shown whole: it is bounded by one's capacity. */
const MINE_MAX = 1000;
const HISTORY = 20;
/** What each list asks for. @type {Record<List, object>} */
const ASKED = { queued: { status: "queued" }, others: { status: "open" }, closed: { status: "closed" } };

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
  /** By subject. @type {Map<string, Agent>} */
  agents = new Map();

  /** @type {Map<string, Talk>} */
  #talks = new Map();
  /** Where a list that is not whole goes on. @type {Map<List, string|null>} */
  #next = new Map();
  /** Of each conversation and agent. */
  #told = new Told();
  /** Whether the queue is followed on this line, and not being caught up with. */
  #isLive = false;
  /** Who came while it was not. @type {Set<string>} */
  #came = new Set();
  /** Counts looks: each line has its own. */
  #looks = 0;
  #off = () => {};

  /** @param {import("../parley.js").Parley} parley @param {import("../parley.js").Session} me */
  constructor(parley, me) {
    super();
    this.parley = parley;
    this.me = me;
    this.kept = new Kept(me.subject);
  }

  open() {
    this.#off = this.parley.on("state", ({ name }) => void (this.#isLive &&= name !== "reconnecting"));
    this.parley.subscribe("queue", {
      signal: ({ type, data }) => type === "agent.changed" && this.#meet([data.agent]),
      reset: () => {
        this.conversations.clear();
        this.#told.forget();
      },
      event: (event) => event.type.startsWith("conversation.") && this.#hear(event),
      // On each line anew: last messages and unread counts are in the lists alone.
      live: () => {
        this.#isLive = true;
        void this.#look();
      },
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
    return this.#sorted("closed", ({ closed_at: at }) => -Date.parse(at ?? ""));
  }

  /** As the others see me; null for an admin who is no agent. */
  get agent() {
    return this.me.roles.includes("agent") ? (this.agents.get(this.me.subject) ?? null) : null;
  }

  /** Whether a list has more than is here. @param {List} list */
  goesOn(list) {
    return Boolean(this.#next.get(list));
  }

  /** The next page of a list. @param {List} list */
  async more(list) {
    const after = this.#next.get(list);
    if (!after) return;
    this.#next.delete(list); // Until it is here: a second press asks for nothing.
    try {
      await this.#page(list, after);
    } catch (error) {
      this.#next.set(list, after);
      this.emit("trouble", /** @type {any} */ (error));
    }
    this.emit("changed", null);
  }

  /** Other conversations of the same person, newest first. @param {Conversation} conversation @returns {Promise<Conversation[]>} */
  async history({ id, visitor }) {
    const asked = { visitor: visitor.identity ?? visitor.subject, limit: HISTORY };
    const { conversations } = await this.#list(asked);
    return conversations.filter((/** @type {Conversation} */ one) => one.id !== id);
  }

  /** @param {"available"|"away"} status @param {number} [capacity] */
  async setStatus(status, capacity) {
    const { agent } = await this.parley.call("agent.set_status", { status, ...(capacity !== undefined && { capacity }) });
    this.#meet([agent]);
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

  /** Back to the lists: nothing is read any more. */
  leave() {
    const before = this.current;
    this.current = null;
    if (before) this.#release(before.id);
    this.emit("current", null);
    this.emit("changed", null);
  }

  /** What those who wait wrote since: no event of the queue says so. */
  async refresh() {
    // The first of them alone: where the list goes on stays as it is.
    if (this.#isLive && this.waiting.length > 0) await this.#list({ ...ASKED.queued, limit: PAGE }).catch(() => {});
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
    const before = this.current;
    await this.ask("conversation.claim", id);
    // Who went elsewhere meanwhile stays there: they may be writing.
    if (this.current === before) this.show(id);
  }

  /** @param {string} method @param {string} id @param {object} [more] */
  async ask(method, id, more = {}) {
    const since = this.#told.now;
    try {
      const { conversation } = await this.parley.call(method, { conversation: id, ...more });
      if (this.#learn(conversation, since)) this.emit("changed", null);
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
    this.#off();
    this.#looks += 1;
    for (const talk of this.#talks.values()) talk.close();
  }

  /** Read all there is; what is refused for the moment is asked for again, on this line. */
  async #look() {
    const look = ++this.#looks;
    for (let pauseMs = RETRY_MS; ; pauseMs *= 2) {
      try {
        await this.#readAll();
        break;
      } catch (thrown) {
        const error = /** @type {import("../parley.js").ParleyError} */ (thrown);
        // The next line looks anew, and the page says that there is none.
        if (look !== this.#looks || error.code === "connection_lost") return;
        this.emit("trouble", error);
        if (!error.passing) return;
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
        if (look !== this.#looks) return;
      }
    }
    if (look !== this.#looks) return;
    const waiting = [...this.#came].map((id) => this.conversations.get(id)).filter((one) => one?.status === "queued");
    this.#came.clear();
    const last = waiting.at(-1);
    if (last) this.emit("waiting", last);
  }

  async #readAll() {
    await Promise.all([
      this.#all("reply.list", "replies").then((found) => void (this.replies = found)),
      this.#all("department.list", "departments").then((found) => void (this.departments = new Map(found.map(({ id, name }) => [id, name])))),
      this.#readAgents(),
      this.#mine(),
      this.#page("queued"),
      this.#page("others"),
      this.#page("closed"),
    ]);
    this.emit("changed", null);
  }

  async #readAgents() {
    const since = this.#told.now;
    const { agents } = await this.parley.call("agent.list").catch(unlessPassing({ agents: [] }));
    this.#meet(agents.filter((/** @type {Agent} */ { subject }) => !this.#told.isNewer(subject, since)));
  }

  /** Every page of a short list. @param {string} method @param {string} plural @returns {Promise<any[]>} */
  async #all(method, plural) {
    const found = [];
    /** @type {string|null} */
    let after = null;
    do {
      /** @type {any} */
      const page = await this.parley.call(method, { limit: 200, ...(after && { after }) }).catch(unlessPassing({ [plural]: [] }));
      found.push(...page[plural]);
      after = page.next ?? null;
    } while (after);
    return found;
  }

  async #mine() {
    /** @type {string|null} */
    let after = null;
    let count = 0;
    do {
      const asked = { status: "open", assignee: this.me.subject, limit: PAGE, ...(after && { after }) };
      const { conversations, next } = await this.#list(asked);
      count += conversations.length;
      after = next;
    } while (after && count < MINE_MAX);
  }

  /** @param {List} list @param {string} [after] */
  async #page(list, after) {
    const asked = { ...ASKED[list], limit: PAGE, ...(after && { after }) };
    this.#next.set(list, (await this.#list(asked)).next);
  }

  /** @param {Record<string, unknown>} asked @returns {Promise<{conversations: Conversation[], next: string|null}>} */
  async #list(asked) {
    const since = this.#told.now;
    const answer = await this.parley.call("conversation.list", asked);
    const learned = answer.conversations.map((/** @type {Conversation} */ one) => this.#learn(one, since));
    if (learned.includes(true)) this.emit("changed", null);
    return answer;
  }

  /** @param {Agent[]} agents */
  #meet(agents) {
    for (const agent of agents) {
      this.agents.set(agent.subject, agent);
      this.#told.note(agent.subject);
    }
    this.emit("changed", null);
  }

  /** @param {import("../parley.js").Event} event of the queue */
  #hear({ type, actor, data }) {
    const { id, status, visitor } = data.conversation;
    const wasOpen = this.conversations.get(id)?.status === "open";
    this.#told.note(id);
    if (this.#know(data.conversation)) this.emit("changed", null);
    // Whoever else changed it may have erased what its visitor said.
    if (type === "conversation.updated" && actor.subject !== visitor.subject) void this.#readLast(id);
    const begins = type === "conversation.queued" || type === "conversation.reopened" || (type === "conversation.transferred" && wasOpen);
    if (!begins || status !== "queued" || actor.subject === this.me.subject) return;
    // Of what is caught up with, the lists tell who still waits, and with what.
    if (!this.#isLive) return void this.#came.add(id);
    this.emit("waiting", /** @type {Conversation} */ (this.conversations.get(id)));
    void this.#readLast(id);
  }

  /** An answer to what was asked at `since`. @param {Conversation} answered @param {number} since @returns {boolean} whether it is news */
  #learn(answered, since) {
    const known = this.conversations.get(answered.id);
    if (!known) return this.#know(answered);
    const told = this.#told.isNewer(answered.id, since) ? known : answered;
    const isOlder = (known.last_message?.seq ?? 0) > (answered.last_message?.seq ?? 0);
    const { last_message, unread } = isOlder ? known : { ...known, ...answered };
    return this.#know({ ...told, last_message, unread });
  }

  /** @param {Conversation} told @returns {boolean} whether it is news */
  #know(told) {
    const known = this.conversations.get(told.id);
    const now = { ...known, ...told };
    this.conversations.set(told.id, now);
    if (told.status === "open" && told.assignee === this.me.subject) this.#follow(told.id);
    else this.#release(told.id);
    return JSON.stringify(known) !== JSON.stringify(now);
  }

  /** What was written: events of the queue say that somebody waits, and not with what. @param {string} id */
  async #readLast(id) {
    const { messages } = await this.parley.call("message.list", { room: id, limit: 1 }).catch(() => ({ messages: [] }));
    const known = this.conversations.get(id);
    const seen = known?.last_message?.seq ?? 0;
    if (!known || messages.length === 0 || messages[0].seq < seen) return;
    this.conversations.set(id, { ...known, last_message: messages[0], unread: (known.unread ?? 0) + (messages[0].seq > seen ? 1 : 0) });
    this.emit("changed", null);
  }

  /** @param {string} id */
  #follow(id) {
    let talk = this.#talks.get(id);
    if (!talk) {
      talk = new Talk(this.parley, id, this.me, this.kept);
      talk.on("changed", () => this.emit("changed", null));
      talk.on("news", (message) => this.emit("news", { name: message.sender.name, text: message.text ?? "" }));
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

/**
 * Who may not read something does without it; what is refused for the moment is asked for again.
 * @template T
 * @param {T} instead
 */
function unlessPassing(instead) {
  return (/** @type {import("../parley.js").ParleyError} */ error) => {
    if (error.passing) throw error;
    return instead;
  };
}
