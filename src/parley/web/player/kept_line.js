/**
 * A stream's socket that is kept: dialled again when it is lost, with a token that is renewed in time.
 * Knows nothing of sound; what an end means to a listener or a broadcaster is theirs to say.
 * @module
 */

import { Emitter } from "../client/emitter.js";
import { ParleyError } from "../client/errors.js";
import { isFinal } from "../client/reconnecting.js";
import { renewInTime } from "../client/renewing.js";
import { mayListen } from "./asking.js";
import { Line } from "./line.js";

/**
 * Where it stands. `connecting` and `waiting` go on by themselves (`retryAtMs`, Unix milliseconds); `held` needs a sign-in;
 * `ended` is final until `start`. `reason` is a refusal's code, or `lost`, `silent`.
 * @typedef {{name: "idle"|"connecting"|"open"|"waiting"|"held"|"ended", reason?: string, code?: number, retryAtMs?: number}} LineState
 *
 * @typedef {{state: LineState, sound: Uint8Array, notice: {method: string, params: any}}} KeptLineEvents
 *
 * @typedef {object} KeptLineOptions
 * @property {string} path of the socket
 * @property {string} stream its name, for asking why an upgrade was refused
 * @property {import("../client/credentials.js").SignIn} signIn
 * @property {boolean} needsToken false where one may be nobody
 * @property {number} retryMaxMs the longest pause between attempts
 * @property {(end: import("./line.js").LineEnd) => boolean} [isOver] whether this end is final; otherwise the protocol's table says
 */

const RETRY_MS = 400;
const CONNECT_MS = 8_000;
/** Nobody in particular is told of the stream at once, or is waited for to say who they are. */
const PATIENCE_MS = 800;
const REFUSALS_MAX = 2;

/** @extends {Emitter<KeptLineEvents>} */
export class KeptLine extends Emitter {
  /** @type {LineState} */
  state = { name: "idle" };
  /** A line that brings nothing for so long is given up. */
  silenceMs = 45_000;

  #options;
  /** @type {Line|null} */
  #line = null;
  #attempts = 0;
  #refusals = 0;
  /** @type {string|undefined} */
  #refused;
  /** Counts starts and stops; what began under an older one is void. */
  #era = 0;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #timer;
  /** @type {ReturnType<typeof setInterval>|undefined} */
  #watching;

  /** @param {KeptLineOptions} options */
  constructor(options) {
    super();
    this.#options = options;
  }

  get isOpen() {
    return this.state.name === "open";
  }

  get unsentBytes() {
    return this.#line?.unsentBytes ?? 0;
  }

  start() {
    if (this.#line || this.state.name === "connecting" || this.state.name === "waiting") return;
    this.#era += 1;
    this.#attempts = 0;
    this.#refusals = 0;
    void this.#dial();
  }

  stop() {
    this.#era += 1;
    this.#hangUp(true);
    this.#enter({ name: "idle" });
  }

  /** Something changed: try now. */
  nudge() {
    if (this.state.name !== "waiting") return;
    clearTimeout(this.#timer);
    void this.#dial();
  }

  /** Somebody signed in: a line that is there goes on with the new token, before the old one has run out. */
  renew() {
    if (this.#line && this.isOpen) void this.#renew(this.#line);
  }

  /** The line is dead, whatever the browser thinks. @param {string} reason */
  redial(reason) {
    this.#line?.abandon(reason);
  }

  /** @param {Uint8Array<ArrayBuffer>} bytes */
  send(bytes) {
    this.#line?.send(bytes);
  }

  /** @param {string} method @param {object} [params] */
  call(method, params = {}) {
    return this.#line ? this.#line.call(method, params) : Promise.reject(new ParleyError("connection_lost", 0, "not connected"));
  }

  async #dial() {
    const era = this.#era;
    this.#enter({ name: "connecting", reason: this.state.reason });
    let token;
    try {
      token = await this.#token();
    } catch (error) {
      if (era === this.#era) this.#refuse(/** @type {ParleyError} */ (error));
      return;
    }
    if (era !== this.#era) return;
    const line = new Line(this.#options.path, token, {
      open: () => this.#opened(line),
      sound: (bytes) => {
        this.#settled(line);
        this.emit("sound", bytes);
      },
      notice: (method, params) => {
        this.#settled(line);
        if (method === "session.expiring") void this.#renew(line);
        this.emit("notice", { method, params });
      },
      ended: (end) => this.#lost(line, end),
    });
    this.#line = line;
    this.#timer = setTimeout(() => line.abandon("no_answer"), CONNECT_MS);
  }

  /** @returns {Promise<string|null>} rejects with ParleyError */
  async #token() {
    const { signIn, needsToken } = this.#options;
    if (!needsToken && !(await signIn.isKept())) return null;
    try {
      return await signIn.access(this.#refused);
    } catch (error) {
      // A sign-in that is over must not keep anybody from what is public.
      if (needsToken || (error instanceof ParleyError && error.passing)) throw error;
      return null;
    }
  }

  /** @param {Line} line */
  #opened(line) {
    clearTimeout(this.#timer);
    if (line.token === null) this.#timer = setTimeout(() => void this.#ask(line), PATIENCE_MS);
    else this.#enter({ name: "open" });
    this.#watching = setInterval(() => {
      if (performance.now() - line.heardMs > this.silenceMs) line.abandon("silent");
    }, 1_000);
  }

  /** Something came: we are in. @param {Line} line */
  #settled(line) {
    if (line.token === null) clearTimeout(this.#timer);
    this.#attempts = 0;
    this.#refusals = 0;
    this.#refused = undefined;
    if (!this.isOpen) this.#enter({ name: "open" });
  }

  /** @param {Line} line without a token, and nothing came */
  async #ask(line) {
    try {
      await mayListen(this.#options.stream, null);
      if (line === this.#line) this.#settled(line);
    } catch (error) {
      if (line === this.#line) this.#refuse(/** @type {ParleyError} */ (error));
    }
  }

  /** @param {Line} line @param {import("./line.js").LineEnd} end */
  #lost(line, end) {
    if (line !== this.#line) return;
    this.#hangUp();
    if (end.isRefused) void this.#askWhy(line);
    else if (end.code === 4401) this.#renounce(line, end.reason);
    else if (end.code === 4408 && line.token === null) this.#enter({ name: "held", reason: "sign_in_needed" });
    else if (this.#options.isOver?.(end) ?? isFinal(end.code)) this.#enter({ name: "ended", reason: end.reason || "lost", code: end.code });
    else this.#retry(end.reason || "lost");
  }

  /** @param {Line} line */
  async #askWhy(line) {
    const era = this.#era;
    try {
      await mayListen(this.#options.stream, line.token);
      if (era === this.#era) this.#retry("lost");
    } catch (error) {
      const refusal = /** @type {ParleyError} */ (error);
      if (era !== this.#era) return;
      if (refusal.status === 401 && line.token !== null) this.#renounce(line, refusal.code);
      else this.#refuse(refusal);
    }
  }

  /** The token was refused: another, or a person. @param {Line} line @param {string} code */
  #renounce(line, code) {
    this.#refused = line.token ?? undefined;
    this.#refusals += 1;
    if (this.#refusals > REFUSALS_MAX || line.token === null) this.#enter({ name: "held", reason: code });
    else void this.#dial();
  }

  /** @param {ParleyError} refusal */
  #refuse(refusal) {
    this.#hangUp(true);
    if (refusal.passing) this.#retry(refusal.code);
    else if (refusal.status === 401) this.#enter({ name: "held", reason: refusal.code });
    else this.#enter({ name: "ended", reason: refusal.code });
  }

  /** @param {string} reason */
  #retry(reason) {
    const mostMs = Math.min(this.#options.retryMaxMs, RETRY_MS * 2 ** Math.min(this.#attempts, 10));
    const inMs = mostMs * (0.5 + Math.random() / 2);
    this.#attempts += 1;
    this.#timer = setTimeout(() => void this.#dial(), inMs);
    this.#enter({ name: "waiting", reason, retryAtMs: Date.now() + inMs });
  }

  /** @param {Line} line */
  #renew(line) {
    return renewInTime({
      access: () => this.#options.signIn.access(line.token ?? undefined),
      present: async (token) => {
        await line.call("session.refresh", { token });
        line.token = token;
      },
      isCurrent: () => line === this.#line,
      // Until the token runs out all goes on; then the server closes with 4401.
      hold: (reason) => this.emit("notice", { method: "sign_in_needed", params: { reason } }),
      retryMs: RETRY_MS,
    });
  }

  /** @param {boolean} [leaves] whether the line is still there */
  #hangUp(leaves = false) {
    clearTimeout(this.#timer);
    clearInterval(this.#watching);
    const line = this.#line;
    this.#line = null;
    if (leaves) line?.leave();
  }

  /** @param {LineState} state */
  #enter(state) {
    this.state = state;
    this.emit("state", state);
  }
}
