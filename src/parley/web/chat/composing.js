/**
 * Writing in one room after another: the composer with its draft, a reply, an edit, and telling others that one types.
 * @module
 */

/**
 * @typedef {import("./room.js").Room} Room
 * @typedef {import("../parley.js").Message} Message
 *
 * @typedef {object} ComposingHandlers
 * @property {() => void} sent a message is on its way
 * @property {(text: string) => void} trouble what did not work, in words
 */

const DRAFT_MS = 250;
/** "I type" is repeated this often while one does, and taken back after a pause this long. */
const TYPING_AGAIN_MS = 10_000;
const TYPING_PAUSE_MS = 5_000;

export class Composing {
  element = /** @type {import("../elements/composer.js").ParleyComposer} */ (document.createElement("parley-composer"));

  #workspace;
  #handlers;
  /** @type {Room|null} */
  #room = null;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #draftTimer;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #typingTimer;
  #typingSaidMs = 0;
  /** The draft that an edit pushed aside. */
  #aside = "";
  /** Edits that were refused while something else was written, by room: given back as soon as there is a place. @type {Map<string, {id: string, text: string}>} */
  #refused = new Map();

  /**
   * @param {import("./workspace.js").Workspace} workspace
   * @param {ComposingHandlers} handlers
   * @param {AbortSignal} signal
   */
  constructor(workspace, handlers, signal) {
    this.#workspace = workspace;
    this.#handlers = handlers;
    this.element.addEventListener("submit-text", () => this.#submit());
    this.element.addEventListener("draft", () => this.#drafted());
    this.element.addEventListener("cancel", () => {
      this.#compose(this.#aside);
      this.#giveBack();
    });
    this.element.addEventListener("edit-last", () => {
      const last = this.#room?.lastOwn;
      if (last) this.edit(last);
    });
    addEventListener("pagehide", () => this.#saveDraft(), { signal });
  }

  /** Where the focus goes to write. @returns {HTMLElement|null} */
  get field() {
    return this.element.querySelector("textarea");
  }

  /** Go on where one left off in this room. @param {Room} room */
  enter(room) {
    this.#room = room;
    this.#compose(this.#workspace.kept.draft(room.id));
    this.#giveBack();
  }

  /** Keep what was written; others need not wait for it. */
  leave() {
    this.#saveDraft();
    this.#sayTyping(false);
    this.#room = null;
  }

  /** @param {Room|null} room whether it can be written to may have changed */
  draw(room) {
    this.element.hidden = !room?.mayWrite;
    if (room) this.element.label = `Message ${room.title}`;
  }

  /** @param {Message} message */
  reply(message) {
    if (this.element.mode.kind === "edit") this.#compose(this.#aside);
    this.#compose(this.element.text, { kind: "reply", id: message.id, name: message.sender.name, text: (message.text ?? "").slice(0, 120) });
    this.element.focus();
  }

  /** @param {Message} message */
  edit(message) {
    this.#edit(message.id, message.text ?? "");
    this.element.focus();
  }

  /** @param {string} id @param {string} text */
  #edit(id, text) {
    const aside = this.element.mode.kind === "edit" ? this.#aside : this.element.text;
    this.element.set(text, { kind: "edit", id });
    this.#aside = aside;
  }

  /** An edit that was refused goes back to where it was written; what is being written by now is not overwritten. */
  #giveBack() {
    const refused = this.#room && this.#refused.get(this.#room.id);
    if (!this.#room || !refused || this.element.mode.kind !== "new") return;
    this.#refused.delete(this.#room.id);
    this.#edit(refused.id, refused.text);
  }

  /** @param {string} text @param {import("../elements/composer.js").Mode} [mode] */
  #compose(text, mode) {
    this.element.set(text, mode);
    this.#aside = "";
  }

  #drafted() {
    clearTimeout(this.#draftTimer);
    this.#draftTimer = setTimeout(() => this.#saveDraft(), DRAFT_MS);
    if (this.element.mode.kind !== "edit") this.#sayTyping(this.element.text !== "");
  }

  #saveDraft() {
    clearTimeout(this.#draftTimer);
    if (this.#room) this.#workspace.kept.setDraft(this.#room.id, this.element.mode.kind === "edit" ? this.#aside : this.element.text);
  }

  /** @param {boolean} active */
  #sayTyping(active) {
    const room = this.#room;
    clearTimeout(this.#typingTimer);
    if (active) this.#typingTimer = setTimeout(() => this.#sayTyping(false), TYPING_PAUSE_MS);
    const isSaid = this.#typingSaidMs > 0;
    const isFresh = Date.now() - this.#typingSaidMs < TYPING_AGAIN_MS;
    if (!room?.mayWrite || (active ? isFresh : !isSaid)) return;
    this.#typingSaidMs = active ? Date.now() : 0;
    // Typing is a courtesy: lost, it is not missed.
    this.#workspace.parley.call("typing.set", { room: room.id, active }).catch(() => {});
  }

  #submit() {
    const room = this.#room;
    const { text, mode } = this.element;
    if (!room) return;
    if (mode.kind === "edit") {
      void this.#saveEdit(room, mode.id, text);
      return;
    }
    room.send(text.trim(), mode.kind === "reply" ? mode.id : undefined);
    // The message itself says that we stopped typing.
    clearTimeout(this.#typingTimer);
    this.#typingSaidMs = 0;
    this.#compose("");
    this.#saveDraft();
    this.#giveBack();
    this.#handlers.sent();
  }

  /** @param {Room} room @param {string} id @param {string} text */
  async #saveEdit(room, id, text) {
    this.#compose(this.#aside);
    this.#giveBack();
    if (room.find(id)?.text === text.trim()) return;
    try {
      await this.#workspace.parley.call("message.edit", { message: id, text: text.trim() });
    } catch (error) {
      this.#refused.set(room.id, { id, text });
      this.#giveBack();
      const { code } = /** @type {import("../parley.js").ParleyError} */ (error);
      this.#handlers.trouble(code === "forbidden" ? "Too late: a message can be edited for 15 minutes." : `Not changed, your text is kept. ${code}`);
    }
  }
}
