/**
 * A visitor's one conversation: how it begins, goes on after a reload, and what is known of it. Draws nothing.
 * What must survive a reload (the refresh token, the conversation's id, the draft, what is not sent) is kept in our own origin.
 * @module
 */

import { Emitter } from "../client/emitter.js";
import { Parley, ParleyError, localStore, randomId } from "../parley.js";
import { begin } from "./beginning.js";
import { Kept } from "./kept.js";

/**
 * @typedef {import("../parley.js").Message} Message
 * @typedef {import("./kept.js").Unsent} Unsent
 * @typedef {{id: string, status: "queued"|"open"|"closed", assignee_name: string|null, position?: number|null,
 *   rating: number|null, preview?: boolean, attended?: boolean, visitor: {subject: string, verified: boolean}}} Conversation
 * @typedef {{changed: null, message: Message, started: string, typing: string|null, over: "over"|"ended", live: null,
 *   identified: string|null}} VisitEvents `identified` has the refusal's code, null where an issuer's word was taken
 */

const SESSION = "parley.guest";
const KEPT = "parley.visit";
/** Who waits asks so often whether anybody is there. */
const LOOK_MS = 30_000;
/** A typed letter is told at most so often. */
const TYPING_MS = 1_000;

/** @extends {Emitter<VisitEvents>} */
export class Visit extends Emitter {
  /** @type {Conversation|null} */
  conversation = null;
  /** In order of `seq`. @type {Map<string, Message>} */
  messages = new Map();
  isLive = true;
  /** @type {string|null} */
  identity = null;

  #page;
  #department;
  #store = localStore(SESSION);
  #parley = this.#client();
  #keeping = new Kept(KEPT);
  /** What we follow, until another tab begins or ends one. @type {string|undefined} */
  #room;
  #isBeginning = false;
  /** How far we said that we read. */
  #readSeq = 0;
  /** @type {Set<string>} */
  #typers = new Set();
  #toldMs = 0;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #typing;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #looking;
  /** The identity that is being judged. @type {string|null} */
  #vouching = null;

  /** @param {string|null} page @param {string|null} department */
  constructor(page, department) {
    super();
    this.#page = page;
    this.#department = department;
    this.#keeping.onChange(() => this.#compare());
    addEventListener("online", () => this.#parley.nudge());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState !== "visible") return;
      this.#compare();
      this.#parley.nudge();
    });
  }

  get #kept() {
    return this.#keeping.now;
  }

  /** Another tab may have begun a conversation, or ended this one: they are the visitor's, not a tab's. */
  #compare() {
    const { room } = this.#kept;
    if (room !== this.#room) {
      this.#drop();
      if (room) this.#follow(room);
      else this.emit("over", "over");
    }
    this.emit("changed", null);
  }

  /** One for each conversation: a client keeps its token, and follows its room, for as long as it lives. */
  #client() {
    const parley = new Parley({ store: this.#store, session: SESSION });
    parley.on("state", ({ name, reason }) => {
      if (parley !== this.#parley) return; // An earlier conversation's.
      this.isLive = name === "live" || name === "idle" || name === "connecting";
      // Ended by the server, or nothing left to renew with: in both cases this conversation cannot go on here.
      if (name === "ended" && reason !== "left" && reason !== "replaced") this.#forget("ended");
      else if (name === "held") this.#forget("over");
      else this.emit("changed", null);
    });
    return parley;
  }

  get unsent() {
    return this.#kept.unsent ?? [];
  }

  get draft() {
    return this.#kept.draft ?? "";
  }

  get isAsked() {
    return this.#kept.isAsked ?? false;
  }

  /** Go on where an earlier visit stopped, if there was one. */
  async resume() {
    const { room } = this.#kept;
    this.#room = room;
    if (room && !(await this.#parley.isSignInKept)) return this.#forget("over");
    if (room && room === this.#room) this.#follow(room);
    // A beginning that a reload cut off may be stored: whether one more is asked for, the person decides. Another tab's goes on.
    const isInDoubt = () => !this.#kept.room && this.unsent.some(({ isAsked, code }) => isAsked && !code);
    if (isInDoubt()) await this.#keeping.alone(() => void (isInDoubt() && this.#mark(this.unsent, { code: "connection_lost" })));
    // Where nothing has begun, what failed waits to be tried again; what was never asked for goes on by itself.
    for (const one of this.unsent) if (this.#room || !one.code) void this.#post(one);
  }

  /** @param {string} text */
  say(text) {
    const unsent = { client_id: randomId(), text };
    this.#keep({ unsent: [...this.unsent, unsent], draft: "" });
    this.#toldMs = 0;
    clearTimeout(this.#typing);
    void this.#post(unsent);
  }

  /** @param {Unsent} unsent */
  retry(unsent) {
    // Where there is no conversation it was its beginning that failed, and all waited for that.
    const again = this.#room ? [unsent] : this.unsent;
    this.#mark(again, { code: undefined });
    void this.#post(again[0]);
  }

  /** @param {Unsent[]} those @param {Partial<Unsent>} as */
  #mark(those, as) {
    const ids = new Set(those.map(({ client_id: id }) => id));
    this.#keep({ unsent: this.unsent.map((one) => (ids.has(one.client_id) ? { ...one, ...as } : one)) });
  }

  /** @param {string} clientId */
  drop(clientId) {
    this.#keep({ unsent: this.unsent.filter(({ client_id: id }) => id !== clientId) });
  }

  /** @param {string} text what stands in the composer now */
  write(text) {
    this.#keeping.set({ draft: text });
    clearTimeout(this.#typing);
    const inMs = Math.max(0, this.#toldMs + TYPING_MS - Date.now());
    this.#typing = setTimeout(() => {
      this.#toldMs = Date.now();
      const shown = this.conversation?.preview ? { text: text.slice(0, 500) } : {};
      this.#call("typing.set", { active: text !== "", ...(text ? shown : {}) }, "room").catch(() => {});
    }, inMs);
  }

  /** Name and email were asked for; either may be empty. @param {string} name @param {string} email */
  async introduce(name, email) {
    const said = { ...(name && { name }), ...(email && { email }) };
    if (name || email) await this.#introduce(said);
    this.#keep({ isAsked: true });
  }

  /** On a line that is not there it waits for the next. @param {{name?: string, email?: string}} said */
  async #introduce(said) {
    this.#keeping.set({ said });
    if (this.#parley.state.name !== "live") return;
    try {
      await this.#call("conversation.update", said);
    } catch (error) {
      if (/** @type {ParleyError} */ (error).code === "connection_lost") return;
      this.#keeping.set({ said: undefined });
      throw error;
    }
    this.#keeping.set({ said: undefined });
  }

  /** @param {number} score */
  async rate(score) {
    this.#know((await this.#call("conversation.rate", { score })).conversation);
  }

  /** @param {string} jwt */
  async identify(jwt) {
    this.identity = jwt;
    this.emit("changed", null);
    if (this.#kept.room && this.#parley.state.name === "live") await this.#vouch();
  }

  /**
   * Both who names an identity and each line that comes up ask: the site hears one answer to one word.
   * @returns {Promise<void>}
   */
  async #vouch() {
    const { identity } = this;
    const { room } = this.#kept;
    if (identity === this.#vouching) return;
    this.#vouching = identity;
    try {
      const { conversation } = await this.#call("conversation.identify", { identity });
      if (room !== this.#kept.room) return;
      this.#know(conversation);
      this.emit("identified", null);
    } catch (error) {
      if (room !== this.#kept.room) return;
      const { code, passing, retryAfterS } = /** @type {ParleyError} */ (error);
      // Nobody judged it: it is asked again, when the line is back or a little later.
      if (passing) return this.#lookIn(retryAfterS ? retryAfterS * 1_000 : LOOK_MS);
      this.emit("identified", code);
      // Somebody else sits at this browser now: what was said before is not theirs to read.
      if (code === "conflict") this.#forget("over");
      else if (identity === this.identity) this.identity = null;
      this.emit("changed", null);
    } finally {
      if (identity === this.#vouching) this.#vouching = null;
    }
  }

  /** What is there now was seen. Told once for all that comes together: a long log comes at once. */
  read() {
    queueMicrotask(() => {
      const seq = [...this.messages.values()].at(-1)?.seq ?? 0;
      if (!this.#room || seq <= this.#readSeq || this.#parley.state.name !== "live") return;
      this.#readSeq = seq;
      this.#call("receipt.mark", { seq }, "room").catch(() => (this.#readSeq = 0));
    });
  }

  /** @param {string} method @param {object} params @param {"room"|"conversation"} [named] */
  #call(method, params, named = "conversation") {
    return this.#parley.call(method, { [named]: this.#room, ...params });
  }

  /** @param {Unsent} unsent */
  async #post(unsent) {
    try {
      // What is said while it begins follows, in its turn, when it has begun.
      if (this.#isBeginning) return;
      if (!this.#room) return await this.#begin(unsent);
      await this.#parley.send(String(this.#room), unsent.text, { client_id: unsent.client_id });
      this.drop(unsent.client_id);
    } catch (error) {
      const code = error instanceof ParleyError ? error.code : "internal";
      this.#mark(this.#room ? [unsent] : this.unsent, { code });
    }
  }

  /** Begin with this message, one tab at a time; it may begin without it. @param {Unsent} first */
  async #begin(first) {
    this.#isBeginning = true;
    try {
      await this.#keeping.alone(() => (this.#kept.room ? this.#compare() : this.#start(first)));
    } finally {
      this.#isBeginning = false;
    }
    for (const one of this.unsent) if (!one.code) void this.#post(one);
  }

  /** @param {Unsent} first @returns {Promise<void>} */
  async #start(first) {
    const { identity } = this;
    this.#mark([first], { isAsked: true });
    const said = { message: first.text, page: this.#page, department: this.#department };
    const begun = await begin({ ...said, identity }).catch((error) => {
      if (!identity || error.status !== 401) throw error;
      // An identity that ran out while the page stood open is no reason not to answer: they begin as anybody does.
      if (this.identity === identity) this.identity = null;
      this.emit("identified", error.code);
      return null;
    });
    if (!begun) return this.#start(first);
    const { conversation, refresh_token: refresh } = begun;
    await this.#store.set(refresh);
    if (identity) this.emit("identified", null);
    this.#keep({ room: conversation.id, unsent: this.unsent.filter(({ client_id: id }) => id !== first.client_id) });
    this.emit("started", conversation.id);
    this.#follow(conversation.id);
    this.#know(conversation);
  }

  /** @param {string} room */
  #follow(room) {
    this.#room = room;
    this.#parley.subscribe(
      room,
      {
        event: (event) => this.#take(event),
        signal: ({ type, data }) => this.#hear(type, data),
        reset: () => {
          this.messages.clear();
          this.emit("changed", null);
        },
        live: () => {
          // Signals are lost with a line: who typed then may have stopped.
          this.#typers.clear();
          this.emit("typing", null);
          this.emit("live", null);
          this.#look().catch(() => {}); // The next line asks again.
        },
      },
      { after: 0 },
    );
    this.#parley.connect().catch(() => {}); // `state` tells of it.
  }

  async #look() {
    clearTimeout(this.#looking);
    const { conversation } = await this.#call("conversation.get", {});
    this.#know(conversation);
    if (this.#kept.said) await this.#introduce(this.#kept.said).catch(() => {}); // Refused: it will not be taken later either.
    if (conversation.status === "queued") this.#lookIn(LOOK_MS);
    if (this.identity && !this.conversation?.visitor.verified) await this.#vouch();
  }

  /** @param {number} ms */
  #lookIn(ms) {
    clearTimeout(this.#looking);
    this.#looking = setTimeout(() => this.isLive && this.#look().catch(() => {}), ms);
  }

  /** @param {Conversation} conversation */
  #know(conversation) {
    // An event says less than an answer: what it leaves out stays.
    this.conversation = { ...this.conversation, ...conversation };
    this.emit("changed", null);
  }

  /** @param {import("../parley.js").Event} event */
  #take({ type, data }) {
    if (data.message) {
      const message = /** @type {Message} */ (data.message);
      const isNew = !this.messages.has(message.id);
      this.messages.set(message.id, message);
      if (this.unsent.some(({ client_id: id }) => id === message.client_id)) this.drop(String(message.client_id));
      this.#typers.delete(message.sender.name);
      this.emit("typing", [...this.#typers][0] ?? null);
      if (isNew) this.emit("message", message);
      this.emit("changed", null);
    } else if (type.startsWith("conversation.")) {
      const { position: _, ...told } = data.conversation;
      this.#know(told);
      if (told.status === "queued" && this.#parley.state.name === "live") this.#look().catch(() => {});
    }
  }

  /** @param {string} type @param {any} data */
  #hear(type, data) {
    if (type === "queue.position" && this.conversation) {
      this.#know({ ...this.conversation, position: data.position });
    } else if (type === "typing.changed") {
      const me = this.conversation?.visitor.subject;
      for (const { subject, name } of data.started) if (subject !== me) this.#typers.add(name);
      for (const { name } of data.stopped) this.#typers.delete(name);
      this.emit("typing", [...this.#typers][0] ?? null);
    }
  }

  /** @param {"over"|"ended"} why */
  #forget(why) {
    if (!this.#room) return;
    // Another tab may have begun anew already: that one goes on here.
    if (this.#kept.room !== this.#room) return this.#compare();
    this.#keeping.set({ room: undefined, isAsked: undefined, said: undefined });
    void this.#store.remove();
    this.#drop();
    this.emit("over", why);
    this.#mark(this.unsent, { code: why });
  }

  /** Nothing of the conversation stays; the next message begins anew. */
  #drop() {
    const before = this.#parley;
    const wasBegun = this.#room !== undefined;
    this.#room = undefined;
    this.#readSeq = 0;
    this.#typers.clear();
    clearTimeout(this.#looking);
    this.conversation = null;
    this.messages.clear();
    if (!wasBegun) return;
    this.#parley = this.#client();
    this.isLive = true;
    if (before.state.name !== "ended") before.disconnect();
  }

  /** @param {import("./kept.js").Visited} more */
  #keep(more) {
    this.#keeping.set(more);
    this.emit("changed", null);
  }
}
