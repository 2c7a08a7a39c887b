/**
 * How the explorer asks: one operation by HTTP, a subscription over `graphql-transport-ws`. Knows no element.
 * Source: https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
 * @module
 */

/**
 * @typedef {{query: string, variables?: object}} Asked
 * @typedef {{status: number, tookMs: number, body: any}} Answer `body` is JSON's value, or text that is none
 */

/** @param {string} token */
function headers(token) {
  /** @type {Record<string, string>} */
  const sent = {
    "Content-Type": "application/json",
    Accept: "application/graphql-response+json, application/json;q=0.9",
  };
  if (token) sent.Authorization = `Bearer ${token}`;
  return sent;
}

/**
 * @param {Asked} asked
 * @param {string} token
 * @returns {Promise<Answer>} rejected where the server is not reached
 */
export async function ask(asked, token) {
  const begun = performance.now();
  const answer = await fetch("/graphql", { method: "POST", headers: headers(token), body: JSON.stringify(asked) });
  const text = await answer.text();
  const tookMs = performance.now() - begun;
  try {
    return { status: answer.status, tookMs, body: JSON.parse(text) };
  } catch {
    return { status: answer.status, tookMs, body: text };
  }
}

/**
 * One subscription on a socket of its own, until it ends or is stopped.
 */
export class Subscription {
  /** @param {any} _payload */
  next = (_payload) => {};
  /** It is live: the server knows who asks. */
  live = () => {};
  /** It ended: by errors, by the server (`code`, `reason`), or as it should. @param {{errors?: any[], code?: number, reason?: string}} _how */
  ended = (_how) => {};

  /** @type {WebSocket} */
  #socket;
  #isOver = false;

  /**
   * @param {Asked} asked
   * @param {string} token
   */
  constructor(asked, token) {
    const url = new URL("/graphql", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = (this.#socket = new WebSocket(url, "graphql-transport-ws"));
    socket.addEventListener("open", () => this.#send({ type: "connection_init", payload: token ? { token } : {} }));
    socket.addEventListener("message", ({ data }) => this.#hear(JSON.parse(data), asked));
    socket.addEventListener("close", ({ code, reason }) => this.#end({ code, reason }));
  }

  stop() {
    if (this.#isOver) return;
    if (this.#socket.readyState === WebSocket.OPEN) this.#send({ type: "complete", id: "1" });
    this.#end({});
  }

  /** @param {object} message */
  #send(message) {
    this.#socket.send(JSON.stringify(message));
  }

  /**
   * @param {{type: string, payload?: any}} message
   * @param {Asked} asked
   */
  #hear(message, asked) {
    switch (message.type) {
      case "connection_ack":
        this.#send({ type: "subscribe", id: "1", payload: asked });
        this.live();
        break;
      case "ping":
        this.#send({ type: "pong" });
        break;
      case "next":
        this.next(message.payload);
        break;
      case "error":
        this.#end({ errors: message.payload });
        break;
      case "complete":
        this.#end({});
    }
  }

  /** @param {{errors?: any[], code?: number, reason?: string}} how */
  #end(how) {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#socket.close(1000);
    this.ended(how);
  }
}
