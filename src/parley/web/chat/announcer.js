/**
 * Tells screen readers what arrived: one polite sentence for each burst, however many messages it has. Errors are shown too.
 * @module
 */

import { fill, h, icon } from "../elements/dom.js";

const BURST_MS = 700;
const SHOWN_MS = 8_000;

export class Announcer {
  #words = h("div", { class: "unseen", role: "status", "aria-live": "polite" });
  #toast = h("div", { class: "toast", role: "alert", hidden: true });
  element = h("div", { class: "announcer" }, this.#words, this.#toast);
  /** @type {import("../parley.js").Message[]} */
  #burst = [];
  /** The id of the message whose words stand there. @type {string|undefined} */
  #said;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #timer;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #hiding;

  /** @param {import("../parley.js").Message[]} messages */
  add(messages) {
    this.#burst.push(...messages);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const burst = this.#burst.splice(0);
      const last = burst.at(-1);
      if (!last) return;
      this.#said = last.id;
      const words = `${last.sender.name}: ${last.text ?? ""}`;
      this.#words.textContent = burst.length === 1 ? words : `${burst.length} new messages. ${words}`;
    }, BURST_MS);
  }

  /** A message was edited or deleted: its old words must not stand anywhere. @param {import("../parley.js").Message} message */
  forget(message) {
    this.#burst = this.#burst.map((one) => (one.id === message.id ? message : one)).filter((one) => !one.deleted);
    if (this.#said === message.id) this.#words.textContent = "";
  }

  clear() {
    clearTimeout(this.#timer);
    this.#burst = [];
    this.#words.textContent = "";
  }

  /**
   * @param {string} text
   * @param {boolean} [isTrouble]
   */
  tell(text, isTrouble = false) {
    fill(this.#toast, isTrouble && icon("warning"), h("span", null, text));
    this.#toast.hidden = false;
    clearTimeout(this.#hiding);
    this.#hiding = setTimeout(() => (this.#toast.hidden = true), SHOWN_MS);
  }
}
