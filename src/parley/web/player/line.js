/**
 * One socket of a stream, from dialling to its close: Ogg in binary messages, JSON-RPC in text.
 * Does not reconnect or renew tokens: `kept_line.js` does.
 * @module
 */

import { connectionLost, fromRpc } from "../client/errors.js";

/**
 * How it ended. `code` is the close code, 0 where we gave it up; `isRefused` says that it never opened, for which a browser
 * gives no reason.
 * @typedef {{code: number, reason: string, isRefused: boolean}} LineEnd
 *
 * @typedef {object} LineHandlers
 * @property {() => void} open
 * @property {(bytes: Uint8Array) => void} sound
 * @property {(method: string, params: any) => void} notice
 * @property {(end: LineEnd) => void} ended called once; nothing follows it
 */

/** Of a code that is not 1000 the server takes a broadcaster for cut off, and keeps the place. */
const ABANDONED = 3008;

export class Line {
  /** When something last came, as `performance.now()` tells it. */
  heardMs = performance.now();

  #socket;
  #handlers;
  #isOpen = false;
  #isOver = false;
  #nextId = 1;
  /** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void}>} */
  #waiting = new Map();
  /** The `session.closing` that announced the end. @type {{code: number, reason: string}|null} */
  #announced = null;

  /**
   * @param {string} path on our own origin
   * @param {string|null} token
   * @param {LineHandlers} handlers
   */
  constructor(path, token, handlers) {
    this.token = token;
    this.#handlers = handlers;
    const url = new URL(path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    this.#socket = new WebSocket(url, ["parley.stream.v1", ...(token === null ? [] : [`bearer.${token}`])]);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.onopen = () => {
      this.#isOpen = true;
      if (!this.#isOver) handlers.open();
    };
    this.#socket.onmessage = ({ data }) => this.#hear(data);
    this.#socket.onclose = ({ code, reason }) => this.#end({ code, reason, isRefused: !this.#isOpen });
  }

  /** What was sent and has not left the browser. */
  get unsentBytes() {
    return this.#socket.bufferedAmount;
  }

  /** @param {Uint8Array<ArrayBuffer>} bytes whole pages */
  send(bytes) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(bytes);
  }

  /**
   * @param {string} method
   * @param {object} params
   * @returns {Promise<any>} the result; rejects with ParleyError
   */
  call(method, params) {
    return new Promise((resolve, reject) => {
      if (this.#isOver || this.#socket.readyState !== WebSocket.OPEN) return reject(connectionLost("not open"));
      const id = this.#nextId++;
      this.#waiting.set(id, { resolve, reject });
      this.#socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    });
  }

  /** We are done. */
  leave() {
    this.#giveUp(1000, "left");
  }

  /** It is dead, or as good as: a broadcaster who closes so means to come back. @param {string} reason */
  abandon(reason) {
    this.#giveUp(ABANDONED, reason);
  }

  /** @param {number} code @param {string} reason */
  #giveUp(code, reason) {
    // The closing handshake is not waited for: on a dead line its answer never comes.
    this.#socket.close(code, reason);
    this.#end({ code: 0, reason, isRefused: false });
  }

  /** @param {string|ArrayBuffer} data */
  #hear(data) {
    this.heardMs = performance.now();
    if (this.#isOver) return;
    if (typeof data !== "string") return this.#handlers.sound(new Uint8Array(data));
    const heard = JSON.parse(data);
    for (const one of Array.isArray(heard) ? heard : [heard]) this.#take(one);
  }

  /** @param {{id?: number|null, method?: string, params?: any, result?: any, error?: any}} one */
  #take(one) {
    if (one.method !== undefined) {
      if (one.method === "session.closing") this.#announced = one.params;
      this.#handlers.notice(one.method, one.params ?? {});
      return;
    }
    const waiting = this.#waiting.get(one.id ?? 0);
    this.#waiting.delete(one.id ?? 0);
    if (one.error) waiting?.reject(fromRpc(one.error));
    else waiting?.resolve(one.result);
  }

  /** @param {LineEnd} end */
  #end(end) {
    if (this.#isOver) return;
    this.#isOver = true;
    const told = end.code === 1006 && this.#announced ? { ...end, ...this.#announced } : end;
    this.#handlers.ended(told);
    for (const { reject } of this.#waiting.values()) reject(connectionLost(told.reason || `closed with ${told.code}`));
    this.#waiting.clear();
  }
}
