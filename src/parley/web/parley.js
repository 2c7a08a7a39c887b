/**
 * Parley's client for browsers: sign in, stay connected, call commands, follow rooms. An ES module without dependencies or DOM.
 *
 *     import { Parley } from "/static/parley.js";
 *     const parley = await Parley.connect(location.origin, { signIn: { username, password } });
 *     parley.subscribe("lobby", { event: (event) => console.log(event.seq, event.type) });
 *     await parley.send("lobby", "Hello");
 *
 * What it promises: every event of a subscribed room once and in order, over any number of lost lines; a message handed to
 * `send` is stored once or the promise rejects; the access token never leaves memory. It draws nothing and keeps no messages.
 * @module
 */

import { SignIn, credentialsOf, localStore, memoryStore } from "./client/credentials.js";
import { Emitter } from "./client/emitter.js";
import { ParleyError, connectionLost } from "./client/errors.js";
import { Following } from "./client/following.js";
import { randomId } from "./client/ids.js";
import { Line } from "./client/line.js";
import { after, isFinal } from "./client/reconnecting.js";
import { renewInTime } from "./client/renewing.js";
import { SendingLanes } from "./client/sending.js";
import { whenSettled } from "./client/settled.js";
import { TIMING } from "./client/types.js";

export { ParleyError, localStore, memoryStore, randomId };

/**
 * @typedef {import("./client/types.js").Person} Person
 * @typedef {import("./client/types.js").Message} Message
 * @typedef {import("./client/types.js").Event} Event
 * @typedef {import("./client/types.js").Signal} Signal
 * @typedef {import("./client/types.js").Session} Session
 * @typedef {import("./client/types.js").State} State
 * @typedef {import("./client/types.js").Timing} Timing
 * @typedef {import("./client/types.js").Options} Options
 * @typedef {import("./client/types.js").ParleyEvents} ParleyEvents
 */

/** A line that lived so long was a good one: the next pause is short again. */
const LASTING_MS = 10_000;

/** How often a fresh token may be refused in a row before we ask for a person. */
const REFUSALS_MAX = 2;

/** @extends {Emitter<ParleyEvents>} */
export class Parley extends Emitter {
  /** Who we are on the current line, or were on the last. @type {Session|null} */
  session = null;
  /** @type {State} */
  state = { name: "idle" };

  #base;
  #signIn;
  /** @type {import("./client/credentials.js").Credentials} */
  #credentials;
  #lineOptions;
  #timing;
  /** @type {Line|null} */
  #line = null;
  /** Whether the server has told us who we are on this line; and whether commands go through, the token not run out. */
  #isIn = false;
  #isOpen = false;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #retryTimer;
  /** Lines in a row that did not last, and when this one was let in. */
  #attempts = 0;
  #sinceMs = 0;
  /** The token refused last, and how many fresh ones were in a row. @type {string|undefined} */
  #refused;
  #refusals = 0;
  /** Counts connects and disconnects; what began under an older one is void. */
  #era = 0;
  #following;
  #lanes = new SendingLanes((params) => this.#callLine("message.send", params));

  /** @param {Options} [options] */
  constructor(options = {}) {
    super();
    this.#base = new URL(options.url ?? globalThis.location.origin).origin;
    const fetcher = options.fetch ?? globalThis.fetch.bind(globalThis);
    const name = `${options.session ?? "parley.session"} ${this.#base}`;
    this.#signIn = new SignIn(this.#base, options.store ?? localStore(name), fetcher, name);
    this.#signIn.onSignedOut = () => this.#finish("signed_out");
    this.#signIn.onRenewed = () => void this.#goOn().catch(() => {});
    this.#credentials = credentialsOf(options) ?? this.#signIn;
    this.#timing = { ...TIMING, ...options.timing };
    this.#following = new Following({ call: () => this.#callOnThisLine(), retryMs: this.#timing.retryMs });
    this.#lineOptions = {
      carrier: options.carrier ?? "subprotocol",
      WebSocket: options.WebSocket ?? globalThis.WebSocket,
      silenceMs: this.#timing.silenceMs,
      connectMs: this.#timing.connectMs,
    };
  }

  /**
   * @param {string} url
   * @param {Options} [options]
   * @returns {Promise<Parley>} connected; rejects with the refusal
   */
  static async connect(url, options = {}) {
    const parley = new Parley({ ...options, url });
    if (options.signIn) await parley.login(options.signIn.username, options.signIn.password);
    await parley.connect();
    return parley;
  }

  /** Whether an earlier visit left a sign-in that `connect` can try. */
  get isSignInKept() {
    return this.#signIn.isKept();
  }

  /** Open the line and keep it open. @returns {Promise<Session>} once live; rejects where it is `held` or `ended` */
  connect() {
    if (this.state.name === "live" && this.session) return Promise.resolve(this.session);
    const settled = whenSettled(this);
    if (!this.#line && this.#retryTimer === undefined) {
      this.#era += 1;
      this.#enter({ name: this.session ? "reconnecting" : "connecting" });
      void this.#dial();
    }
    return settled;
  }

  /**
   * Sign in; where a line is held for it, it goes on in place, with nothing lost.
   * @param {string} username
   * @param {string} password
   * @returns {Promise<void>} rejects with `invalid_credentials`, `rate_limited`, `connection_lost`
   */
  async login(username, password) {
    const token = await this.#signIn.login(username, password);
    this.#credentials = this.#signIn;
    this.#refusals = 0;
    this.#refused = undefined;
    await this.#goOn(token);
  }

  /** Where a line is held for a sign-in, there is one now. @param {string} [token] */
  async #goOn(token) {
    if (this.state.name !== "held" || this.#credentials !== this.#signIn) return;
    const line = this.#line;
    if (line && this.#isIn) {
      await this.#present(line, token ?? (await this.#signIn.access(line.token))).catch((error) => {
        if (line === this.#line) throw error;
      });
    }
    // No line was left, or it ended under this, or belongs to who was here before: the next one takes the new sign-in.
    if (this.state.name === "held" && !this.#line) void this.connect().catch(() => {});
  }

  /** Sign out, on the server and in the other tabs; this client ends. */
  async logout() {
    // Forget first, tell afterwards: whoever hears of the end must not find the sign-in still there.
    const over = this.#signIn.logout();
    this.#finish("signed_out");
    await over;
  }

  /** Close the line and forget the subscriptions; the sign-in stays. */
  disconnect() {
    this.#finish("left");
  }

  /** Something changed (the network came back, the page is seen again): try now, or make sure that the line still lives. */
  nudge() {
    if (this.#retryTimer !== undefined) {
      this.#cancelRetry();
      void this.#dial();
    } else if (this.#line && this.#isIn) {
      const line = this.#line;
      const timer = setTimeout(() => line.leave("silent"), this.#timing.probeMs);
      const done = () => clearTimeout(timer);
      line.call("session.describe", {}).then(done, done);
    }
  }

  /**
   * Any command of the protocol. `message.send` waits for a line, gets a `client_id`, and is sent again with the same one
   * until it is answered; every other command fails with `connection_lost` when the line is, or gets, lost.
   * @param {string} method
   * @param {Record<string, unknown>} [params]
   * @returns {Promise<any>} the result; rejects with ParleyError
   */
  call(method, params = {}) {
    if (method !== "message.send") return this.#callLine(method, params);
    if (this.state.name === "ended") return Promise.reject(new ParleyError(this.state.reason ?? "ended", 0, "the connection ended"));
    return this.#lanes.add({ ...params, client_id: params.client_id ?? randomId() }, this.#isOpen);
  }

  /**
   * @param {string} room
   * @param {string} text
   * @param {{reply_to?: string, client_id?: string, data?: object}} [more]
   * @returns {Promise<{message: Message, duplicate: boolean}>}
   */
  send(room, text, more = {}) {
    return this.call("message.send", { room, text, ...more });
  }

  /**
   * Follow a room. One subscription for each room; end it before you make another.
   * @param {string} room
   * @param {import("./client/subscription.js").SubscriptionHandlers} handlers
   * @param {{after?: number, epoch?: string}} [from] left out: from now
   * @returns {import("./client/subscription.js").Subscription}
   */
  subscribe(room, handlers, from = {}) {
    return this.#following.add(room, handlers, from);
  }

  /** @param {string} room */
  unsubscribe(room) {
    if (this.#following.remove(room) && this.#isOpen) this.#callLine("room.unsubscribe", { room }).catch(() => {});
  }

  /** @param {string} method @param {object} params */
  #callLine(method, params) {
    if (!this.#line || !this.#isIn) return Promise.reject(connectionLost("not connected"));
    return this.#line.call(method, params);
  }

  /** What rooms are asked for with: it fails once the line is another. @returns {import("./client/subscription.js").Call|null} */
  #callOnThisLine() {
    const line = this.#line;
    if (!line || !this.#isOpen) return null;
    return (method, params) => (line === this.#line ? line.call(method, params) : Promise.reject(connectionLost("another line")));
  }

  async #dial() {
    const era = this.#era;
    let token;
    try {
      token = await this.#credentials.access(this.#refused);
    } catch (error) {
      if (era !== this.#era) return;
      const refusal = /** @type {ParleyError} */ (error);
      // A callback of the user's may throw anything: that passes, as their server's trouble does.
      if (!(error instanceof ParleyError) || refusal.passing) this.#retry({ code: 0, reason: refusal.code ?? "token_callback" });
      else this.#hold(refusal.code);
      return;
    }
    if (era !== this.#era || this.#line) return;
    try {
      /** @type {Line} */
      const line = new Line(`${this.#base.replace(/^http/, "ws")}/ws`, token, this.#lineOptions, {
        live: (session) => this.#welcome(session),
        notice: (method, params) => this.#notice(line, method, params),
        ended: (end) => this.#lost(line, end),
      });
      this.#line = line;
    } catch (error) {
      if (/** @type {Error} */ (error).name !== "SyntaxError") throw error;
      this.#hold("token_malformed"); // No socket takes it: a space, say.
    }
  }

  /** @param {Session} session */
  #welcome(session) {
    this.#isIn = true;
    this.#sinceMs = Date.now();
    this.#refusals = 0;
    this.#refused = undefined;
    this.#open(session);
  }

  /** @param {Session} session */
  #open(session) {
    const other = this.session !== null && this.session.subject !== session.subject;
    this.session = session;
    // Rooms and messages of one person are not carried over to another.
    const era = this.#era;
    if (other) this.#dropAll("signed_out");
    this.#isOpen = true;
    this.emit("session", session);
    // Whoever heard of it may have hung up.
    if (era !== this.#era) return;
    this.#enter({ name: "live" });
    this.#following.open();
    this.#lanes.open();
  }

  /** @param {Line} line @param {string} method @param {any} params */
  #notice(line, method, params) {
    if (line !== this.#line) return;
    if (method === "event") {
      this.#following.take(params);
      this.emit("event", params);
    } else if (method === "signal") {
      this.#following.hear(params);
      this.emit("signal", params);
    } else if (method === "subscription.ended") {
      this.#following.end(params.room, params.reason);
    } else if (method === "session.changed" && this.session) {
      this.session = { ...this.session, roles: params.roles };
      this.emit("session", this.session);
    } else if (method === "session.expiring") {
      void this.#renew(line, params.expires_at);
    }
  }

  /** @param {Line} line @param {string} expiresAt */
  #renew(line, expiresAt) {
    return renewInTime({
      access: () => this.#credentials.access(line.token),
      present: (token) => this.#present(line, token),
      isCurrent: () => line === this.#line,
      hold: (reason) => this.#enter({ name: "held", reason, isOpen: true, expiresAt }),
      retryMs: this.#timing.retryMs,
    });
  }

  /** @param {Line} line @param {string} token */
  async #present(line, token) {
    try {
      const session = await line.call("session.refresh", { token });
      line.token = token;
      if (line === this.#line) this.#open(session);
    } catch (error) {
      if (!(error instanceof ParleyError) || error.code !== "subject_mismatch") throw error;
      // Somebody else signed in: this line belongs to the one before.
      line.leave("subject_mismatch");
    }
  }

  /** @param {Line} line @param {import("./client/line.js").LineEnd} end */
  #lost(line, end) {
    if (line !== this.#line) return;
    // A line that is cut as soon as it is up (by what we send on it, perhaps) must not be dialled again every second.
    if (this.#isIn && Date.now() - this.#sinceMs > LASTING_MS) this.#attempts = 0;
    this.#close();
    if (end.code === 4401) {
      this.#refused = line.token;
      this.#refusals += 1;
      if (this.state.name === "held" || this.#refusals > REFUSALS_MAX) this.#hold(end.reason);
      else this.#retry(end, 0);
    } else if (isFinal(end.code)) {
      this.#finish(end.reason || "bad_request");
    } else if (this.state.name === "held") {
      this.#hold(this.state.reason ?? "sign_in_needed");
    } else {
      this.#retry(end);
    }
  }

  /** @param {import("./client/line.js").LineEnd} end @param {number} [inMs] */
  #retry(end, inMs = after(end.code, this.#attempts, this.#timing)) {
    this.#attempts += 1;
    this.#enter({ name: this.session ? "reconnecting" : "connecting", reason: end.reason || "lost", retryAtMs: Date.now() + inMs });
    this.#retryTimer = setTimeout(() => {
      this.#cancelRetry();
      void this.#dial();
    }, inMs);
  }

  #cancelRetry() {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    if (this.state.retryAtMs !== undefined) this.#enter({ name: this.state.name, reason: this.state.reason });
  }

  /** @param {string} reason */
  #hold(reason) {
    this.#close();
    this.#enter({ name: "held", reason, isOpen: false });
  }

  /** @param {string} reason */
  #finish(reason) {
    this.#era += 1;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    const line = this.#line;
    this.#close();
    line?.leave(reason);
    this.#enter({ name: "ended", reason });
    this.#dropAll(reason);
  }

  #close() {
    this.#line = null;
    this.#isIn = false;
    this.#isOpen = false;
    this.#lanes.close();
    this.#following.pause();
  }

  /** @param {string} reason */
  #dropAll(reason) {
    this.#lanes.fail(new ParleyError(reason, 0, `the connection ended: ${reason}`));
    this.#following.endAll(reason);
  }

  /** @param {State} state */
  #enter(state) {
    this.state = state;
    this.emit("state", state);
  }
}
