/**
 * What one wrote in a room and is not stored yet: sent, sent again, given up; kept over a reload until it is answered.
 * @module
 */

import { randomId } from "../parley.js";

/**
 * @typedef {import("../elements/message_row.js").Item} Item
 *
 * @typedef {object} OutgoingHandlers
 * @property {(message: import("../parley.js").Message) => boolean} isThere whether the log has it, or had
 * @property {() => void} changed
 */

export class Outgoing {
  /** Oldest first. @type {Item[]} */
  items = [];

  #room;
  #workspace;
  #handlers;

  /**
   * @param {string} room its id
   * @param {import("./workspace.js").Workspace} workspace
   * @param {OutgoingHandlers} handlers
   */
  constructor(room, workspace, handlers) {
    this.#room = room;
    this.#workspace = workspace;
    this.#handlers = handlers;
  }

  /**
   * @param {string} text
   * @param {string} [replyTo]
   */
  send(text, replyTo) {
    const unsent = { room: this.#room, client_id: randomId(), text, at: new Date().toISOString(), ...(replyTo ? { reply_to: replyTo } : {}) };
    this.#workspace.kept.add(unsent);
    this.restore(unsent);
  }

  /** Send what is not stored yet, again perhaps: the same `client_id` is never stored twice. @param {import("./kept.js").Unsent} unsent */
  restore(unsent) {
    if (this.items.some(({ key }) => key === unsent.client_id)) return;
    const { subject, name } = this.#workspace.me;
    const message = { id: "", room: this.#room, seq: 0, text: unsent.text, sender: { subject, name }, at: unsent.at, reply_to: unsent.reply_to };
    this.items = [...this.items, { key: unsent.client_id, message, state: "sending" }];
    this.#handlers.changed();
    void this.#deliver(unsent.client_id);
  }

  /** @param {Item} item */
  retry(item) {
    this.#set({ key: item.key, message: item.message, state: "sending" });
    void this.#deliver(item.key);
  }

  /** It is stored, or given up. @param {string} key */
  drop(key) {
    this.#workspace.kept.remove(key);
    if (!this.items.some((one) => one.key === key)) return;
    this.items = this.items.filter((one) => one.key !== key);
    this.#handlers.changed();
  }

  /** @param {string} key */
  async #deliver(key) {
    const item = this.items.find((one) => one.key === key);
    if (!item) return;
    const { text = "", reply_to } = item.message;
    try {
      const { message } = await this.#workspace.parley.send(this.#room, text, { client_id: key, ...(reply_to ? { reply_to } : {}) });
      // It enters the log as an event, as everybody's does; an answer that says "long since there" has none to wait for.
      if (this.#handlers.isThere(message)) this.drop(key);
      else this.#set({ ...item, state: "sent" });
      this.#workspace.kept.remove(key);
    } catch (error) {
      const { code, status } = /** @type {import("../parley.js").ParleyError} */ (error);
      // Signing out is no failure of the message; what is kept is sent after the next sign-in.
      if (code === "signed_out" || code === "left") return;
      this.#set({ ...item, state: "failed", trouble: sendTrouble(code, status), code });
    }
  }

  /** @param {Item} item */
  #set(item) {
    this.items = this.items.map((one) => (one.key === item.key ? item : one));
    this.#handlers.changed();
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
