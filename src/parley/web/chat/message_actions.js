/**
 * What can be done with a message: one small toolbar that moves to the message under the pointer or the focus.
 * (One for all, because ten thousand of them would be most of the page.)
 * @module
 */

import { fill, h, iconButton } from "../elements/dom.js";

/**
 * @typedef {import("../parley.js").Message} Message
 * @typedef {object} Deeds
 * @property {(key: string) => Message|null} find
 * @property {(message: Message) => {reply: boolean, edit: boolean, delete: boolean}} may
 * @property {(message: Message) => void} reply
 * @property {(message: Message) => void} edit
 * @property {(message: Message) => void} delete
 */

export class MessageActions {
  #deeds;
  #bar = h("div", { class: "message-actions", role: "toolbar", "aria-label": "Message" });
  /** @type {Message|null} */
  #message = null;

  /**
   * @param {HTMLElement} log
   * @param {Deeds} deeds
   */
  constructor(log, deeds) {
    this.#deeds = deeds;
    log.addEventListener("pointerover", (event) => event.pointerType === "mouse" && this.#move(event.target));
    log.addEventListener("focusin", (event) => this.#move(event.target));
    log.addEventListener("pointerleave", () => {
      if (!this.#bar.closest("article")?.contains(document.activeElement)) this.#away();
    });
    log.addEventListener("keydown", (event) => this.#key(event));
  }

  /** @param {EventTarget|null} target */
  #move(target) {
    const article = target instanceof Element ? target.closest("article") : null;
    if (!article || this.#bar.parentElement === article) return;
    // The focus wins over the pointer: a toolbar that is being used stays.
    if (this.#bar.contains(document.activeElement)) return;
    const message = this.#deeds.find(article.getAttribute("data-key") ?? "");
    if (!message) {
      this.#away();
      return;
    }
    this.#message = message;
    const may = this.#deeds.may(message);
    fill(
      this.#bar,
      may.reply && iconButton("reply", "Reply (R)", () => this.#do("reply")),
      may.edit && iconButton("edit", "Edit (E)", () => this.#do("edit")),
      may.delete && iconButton("delete", "Delete (Del)", () => this.#do("delete")),
    );
    if (this.#bar.firstChild) article.append(this.#bar);
    else this.#away();
  }

  #away() {
    this.#bar.remove();
    this.#message = null;
  }

  /** @param {"reply"|"edit"|"delete"} deed */
  #do(deed) {
    const message = this.#message;
    if (!message || !this.#deeds.may(message)[deed]) return;
    this.#deeds[deed](message);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.target instanceof HTMLElement) || event.target.tagName !== "ARTICLE") return;
    const message = this.#deeds.find(event.target.getAttribute("data-key") ?? "");
    const deed = /** @type {const} */ ({ r: "reply", e: "edit", Delete: "delete" })[event.key === "Delete" ? event.key : event.key.toLowerCase()];
    if (!message || !deed) return;
    event.preventDefault();
    this.#message = message;
    this.#do(/** @type {"reply"|"edit"|"delete"} */ (deed));
  }
}
