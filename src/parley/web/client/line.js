/**
 * One WebSocket to Parley, from dialling to its close, and the JSON-RPC that runs over it.
 * Does not reconnect, renew tokens or know rooms: `../parley.js` decides what follows a close.
 * @module
 */

import { ParleyError, connectionLost, fromRpc } from "./errors.js";

/**
 * How a line ended. `code` is the close code, or 0 where we gave it up ourselves; `reason` then is `silent`, `no_answer` or `left`.
 * @typedef {{code: number, reason: string}} LineEnd
 *
 * @typedef {object} LineOptions
 * @property {"subprotocol"|"message"} carrier how the token travels
 * @property {typeof WebSocket} WebSocket
 * @property {number} silenceMs a line that brings nothing for so long is dead
 * @property {number} connectMs how long dialling and signing in may take
 *
 * @typedef {object} LineHandlers
 * @property {(session: import("../parley.js").Session) => void} live the server knows who we are
 * @property {(method: string, params: any) => void} notice a notification of the server's
 * @property {(end: LineEnd) => void} ended called once, whatever happened; nothing follows it
 */

const REQUEST_BYTES_MAX = 131072;

export class Line {
  #socket;
  #handlers;
  #options;
  #nextId = 1;
  /** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void}>} */
  #waiting = new Map();
  #over = false;
  #heardMs = Date.now();
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #timer;
  /** What was said before we are in: the owner, who decides by who we are, hears it after that. @type {[string, any][]|null} */
  #early = [];
  /** The `session.closing` that announced the end, for where the close frame itself gets lost. @type {LineEnd|null} */
  #announced = null;

  /**
   * @param {string} url of the socket, `ws:` or `wss:`
   * @param {string} token
   * @param {LineOptions} options
   * @param {LineHandlers} handlers
   */
  constructor(url, token, options, handlers) {
    this.token = token;
    this.#options = options;
    this.#handlers = handlers;
    const offered = options.carrier === "subprotocol" ? ["parley.v1", `bearer.${token}`] : ["parley.v1"];
    this.#socket = new options.WebSocket(url, offered);
    this.#socket.onopen = () => this.#introduce();
    this.#socket.onmessage = (message) => this.#hear(message.data);
    this.#socket.onclose = (close) => this.#end({ code: close.code, reason: close.reason });
    this.#timer = setTimeout(() => this.leave("no_answer"), options.connectMs);
  }

  /**
   * @param {string} method
   * @param {object} params
   * @returns {Promise<any>} the result; rejects with ParleyError, `connection_lost` where the line ended before the answer
   */
  call(method, params) {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      const text = JSON.stringify({ jsonrpc: "2.0", id, method, params });
      // Longer than that closes the socket with 1009 and takes everything else down with it.
      if (text.length > REQUEST_BYTES_MAX / 4 && new TextEncoder().encode(text).length > REQUEST_BYTES_MAX) {
        reject(new ParleyError("too_large", 413, "a message may have 128 KiB"));
      } else if (this.#over || this.#socket.readyState !== 1) {
        reject(connectionLost("not open"));
      } else {
        this.#waiting.set(id, { resolve, reject });
        this.#socket.send(text);
      }
    });
  }

  /** Give the line up from our side. @param {string} reason */
  leave(reason) {
    // The closing handshake is not waited for: on a dead line its answer never comes.
    this.#socket.close(1000, reason);
    this.#end({ code: 0, reason });
  }

  #introduce() {
    // An upgrade with a refused token is accepted and closed at once, so only an answer proves that we are in.
    const first =
      this.#options.carrier === "subprotocol"
        ? this.call("session.describe", {})
        : this.call("session.authenticate", { token: this.token });
    first.then(
      (session) => {
        if (this.#over) return;
        clearTimeout(this.#timer);
        this.#watch(this.#options.silenceMs);
        this.#handlers.live(session);
        const early = this.#early ?? [];
        this.#early = null;
        for (const [method, params] of early) if (!this.#over) this.#handlers.notice(method, params);
      },
      (/** @type {ParleyError} */ error) => {
        // A failed first message is followed by 4401; nothing is lost by not waiting for that.
        if (!this.#over && error.status === 401) this.#end({ code: 4401, reason: error.code });
        else if (!this.#over) this.leave(error.code);
      },
    );
  }

  /** @param {number} afterMs */
  #watch(afterMs) {
    this.#timer = setTimeout(() => {
      const silentMs = Date.now() - this.#heardMs;
      const leftMs = this.#options.silenceMs - silentMs;
      if (leftMs <= 0) this.leave("silent");
      // A clock that was set back must not stretch the wait.
      else this.#watch(Math.min(leftMs, this.#options.silenceMs));
    }, afterMs);
  }

  /** @param {string} text */
  #hear(text) {
    this.#heardMs = Date.now();
    if (this.#over) return;
    const heard = JSON.parse(text);
    for (const one of Array.isArray(heard) ? heard : [heard]) this.#take(one);
  }

  /** @param {{id?: number|null, method?: string, params?: any, result?: any, error?: any}} one */
  #take(one) {
    if (one.method !== undefined) {
      if (one.method === "session.closing") this.#announced = { code: one.params.code, reason: one.params.reason };
      if (one.method === "ping") return;
      if (this.#early) this.#early.push([one.method, one.params ?? {}]);
      else this.#handlers.notice(one.method, one.params ?? {});
      return;
    }
    const waiting = typeof one.id === "number" ? this.#waiting.get(one.id) : undefined;
    if (!waiting) return;
    this.#waiting.delete(/** @type {number} */ (one.id));
    if (one.error) waiting.reject(fromRpc(one.error));
    else waiting.resolve(one.result);
  }

  /** @param {LineEnd} end */
  #end(end) {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    const told = end.code === 1006 && this.#announced ? this.#announced : end;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    // First the owner, who decides what is sent again; then those who wait.
    this.#handlers.ended(told);
    for (const { reject } of waiting) reject(connectionLost(told.reason || `closed with ${told.code}`));
  }
}
