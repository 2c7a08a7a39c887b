/**
 * The middle of the console: one talk's log with its notes, and the composer that answers or notes.
 * Decides nothing of the conversation's life: it asks the desk.
 * @module
 */

import "../elements/composer.js";
import { bdi, fill, h, iconButton } from "../elements/dom.js";
import { messageRow } from "../elements/message_row.js";
import { dayName, sameDay, time } from "../elements/time.js";
import { transferDialog } from "./dialogs.js";

/** @typedef {import("./talk.js").Item} Item */

/** Said to whom has keys as a key, and to a finger as what to press. */
export function howToClaim() {
  return matchMedia("(pointer: coarse)").matches ? "Open one of the queue and claim it." : "Press c to claim who waits longest.";
}

export class TalkView {
  /** To the lists, on a phone. */
  back = () => {};

  #desk;
  /** @type {import("./talk.js").Talk|null} */
  #talk = null;
  /** @type {(() => void)[]} */
  #offs = [];
  #log = /** @type {import("../elements/log.js").ParleyLog<Item>} */ (document.createElement("parley-log"));
  #composer = /** @type {import("../elements/composer.js").ParleyComposer} */ (document.createElement("parley-composer"));
  #heading = h("h1", { class: "room-heading" });
  #facts = h("p", { class: "room-facts", role: "status" });
  #deeds = h("div", { class: "deeds" });
  aboutButton = iconButton("people", "About the visitor", () => {}, { class: "about-button", "aria-expanded": "false", "aria-controls": "about" });
  #typing = h("div", { class: "typing" });
  #replies = h("div", { class: "replies", role: "group", "aria-label": "Canned replies" });
  #said = h("div", { class: "unseen", role: "status", "aria-live": "polite" });
  #modes = [false, true].map((isNote) =>
    h("button", { type: "button", class: "mode", on: { click: () => this.write(isNote) } }, isNote ? "Note" : "Reply"),
  );
  #foot = h("div", { class: "foot" }, this.#typing, this.#replies, h("div", { class: "modes", role: "group", "aria-label": "What you write" }, ...this.#modes), this.#composer);
  #deedsDrawn = "";

  /** @param {import("./desk.js").Desk} desk */
  constructor(desk) {
    this.#desk = desk;
    this.#log.drawRow = (item, before) => this.#row(item, before);
    this.#log.setAttribute("aria-label", "Messages");
    const head = h(
      "header",
      { class: "pane-head room-head" },
      iconButton("back", "Back to the conversations", () => this.back(), { class: "only-narrow" }),
      h("div", { class: "room-name" }, this.#heading, this.#facts),
      this.#deeds,
      this.aboutButton,
    );
    this.element = h("section", { class: "room-view" }, head, h("div", { class: "log-frame" }, this.#log), this.#foot, this.#said);
    this.#composer.addEventListener("submit-text", () => this.#submit());
    this.#composer.addEventListener("draft", () => this.#drafted());
    this.#composer.addEventListener("edit-last", () => this.#editLast());
    this.#composer.addEventListener("cancel", () => this.#composer.set(this.#talk?.draft ?? ""));
    // While a message is being edited Escape leaves that alone (`cancel`).
    this.#composer.addEventListener("keydown", (event) => event.key === "Escape" && this.#log.focus());
  }

  get focusTarget() {
    return this.#log;
  }

  /** @param {import("./talk.js").Talk|null} talk */
  show(talk) {
    for (const off of this.#offs.splice(0)) off();
    this.#talk = talk;
    this.drawHead();
    this.#foot.hidden = this.aboutButton.hidden = !talk;
    if (!talk) return this.#log.reset([]);
    this.#log.reset(talk.items);
    this.#log.setTail(talk.pending);
    this.#log.scrollToEnd();
    this.#composer.set(talk.draft);
    this.#drawMode();
    this.#drawTyping();
    talk.read();
    this.#offs = [
      talk.on("added", (item) => this.#added(item)),
      talk.on("updated", (item) => this.#log.update(item)),
      talk.on("reset", () => this.#log.reset(talk.items)),
      talk.on("pending", () => this.#log.setTail(talk.pending)),
      talk.on("typing", () => this.#drawTyping()),
    ];
    this.#composer.focus();
  }

  /** @param {boolean} isNote */
  write(isNote) {
    const talk = this.#talk;
    if (!talk) return;
    const isEdit = this.#composer.mode.kind === "edit";
    const text = isEdit ? talk.draft : this.#composer.text;
    const leavesEdit = isEdit && talk.isNote !== isNote;
    talk.isNote = isNote;
    talk.draft = text;
    // What is typed as a note must never become the new text of a reply.
    if (leavesEdit) this.#composer.set(text);
    this.#drawMode();
    this.#composer.focus();
  }

  handOver() {
    const one = this.#desk.conversations.get(this.#talk?.id ?? "");
    if (one && one.status !== "closed") transferDialog(this.#desk, one.id, () => this.#log);
  }

  drawHead() {
    const one = this.#desk.conversations.get(this.#talk?.id ?? "");
    this.#heading.textContent = one ? one.visitor.name || "Visitor" : "Helpdesk";
    const mine = one?.assignee === this.#desk.me.subject;
    const states = { queued: "Waiting", open: mine ? "Yours" : `With ${one?.assignee_name}`, closed: "Closed" };
    const facts = one ? states[one.status] + (one.blocked ? ", blocked" : "") : `Choose a conversation. ${howToClaim()}`;
    if (this.#facts.textContent !== facts) this.#facts.textContent = facts;
    const drawn = `${one?.id} ${one?.status}`;
    if (drawn === this.#deedsDrawn) return;
    this.#deedsDrawn = drawn;
    this.#drawMode();
    const deed = (/** @type {string} */ label, /** @type {string} */ method, more = "") =>
      h("button", { type: "button", class: `button ${more}`, on: { click: () => void this.#desk.ask(method, one?.id ?? "").catch(() => {}) } }, label);
    fill(
      this.#deeds,
      one?.status === "queued" && deed("Claim", "conversation.claim", "leads"),
      one && one.status !== "closed" && deed("Close", "conversation.close"),
      one?.status === "closed" && deed("Reopen", "conversation.reopen"),
      one && one.status !== "closed" && h("button", { type: "button", class: "button", on: { click: () => this.handOver() } }, "Hand over"),
    );
  }

  /** @param {Item} item @param {Item|null} before */
  #row(item, before) {
    if (item.life) return this.#lifeRow(item, before);
    const talk = this.#talk;
    const isOther = Boolean(before?.isNote) !== Boolean(item.isNote);
    // A note does not stand in a group with messages: who may read it is another.
    const above = before && isOther ? { ...before, message: { ...before.message, sender: { subject: "", name: "" } } } : before;
    const row = messageRow(item, above, {
      firstNew: null,
      find: (id) => talk?.items.find(({ key }) => key === id)?.message ?? null,
      readers: () => [],
      retry: (one) => talk?.retry(one),
      discard: (one) => talk?.discard(one.key),
      show: (id) => void this.#log.scrollToKey(id),
    });
    row.classList.toggle("note", Boolean(item.isNote));
    if (item.isNote) row.querySelector(".message-head")?.append(h("span", { class: "role" }, "Note"));
    return row;
  }

  /** @param {Item} item @param {Item|null} before */
  #lifeRow({ life = "", message }, before) {
    const atMs = Date.parse(message.at);
    const isNewDay = !before || !sameDay(atMs, Date.parse(before.message.at));
    const day = dayName(atMs, Date.now());
    return h(
      "div",
      { class: "row" },
      isNewDay && h("div", { class: "divider day", role: "separator", "aria-label": day }, h("span", { "aria-hidden": "true" }, day)),
      h("p", { class: "life" }, bdi(life), " · ", time(message.at)),
    );
  }

  /** @param {Item} item */
  #added(item) {
    const talk = this.#talk;
    if (!talk) return;
    if (talk.items.at(-1)?.key === item.key) this.#log.addNewer([item]);
    else this.#log.replace(talk.items);
    this.#log.setTail(talk.pending);
    if (item.life) return void (this.#said.textContent = item.life);
    const { sender, text } = item.message;
    if (sender.subject !== this.#desk.me.subject) this.#said.textContent = `${sender.name}: ${text ?? ""}`;
    if (document.visibilityState === "visible") talk.read();
  }

  #drawMode() {
    const isNote = Boolean(this.#talk?.isNote);
    const isClosed = this.#desk.conversations.get(this.#talk?.id ?? "")?.status === "closed";
    this.#composer.label = isNote ? "A note, for agents only" : isClosed ? "Closed: reopen it to reply" : "Reply to the visitor";
    this.#foot.classList.toggle("noting", isNote);
    this.#modes.forEach((button, i) => button.setAttribute("aria-pressed", String(isNote === (i === 1))));
  }

  #drawTyping() {
    const one = [...(this.#talk?.typing.values() ?? [])][0];
    fill(this.#typing, one && h("span", null, bdi(one.name), one.text ? " is typing: " : " is typing", one.text && h("q", null, bdi(one.text))));
  }

  #editLast() {
    const last = this.#talk?.lastOwn;
    if (last) this.#composer.set(last.text ?? "", { kind: "edit", id: last.id });
  }

  #drafted() {
    const { text, mode } = this.#composer;
    if (mode.kind === "edit") return; // It is no draft: what was typed before it is.
    if (this.#talk) this.#talk.draft = text;
    this.#talk?.type(text !== "");
    const row = (/** @type {{shortcut: string, text: string}} */ one) =>
      h("button", { type: "button", class: "reply", on: { click: () => this.#put(one.text) } }, h("b", null, `/${one.shortcut}`), h("span", null, bdi(one.text)));
    fill(this.#replies, ...this.#matching(text).map(row));
  }

  /** @param {string} text */
  #matching(text) {
    return text.startsWith("/") ? this.#desk.replies.filter(({ shortcut }) => shortcut.startsWith(text.slice(1))).slice(0, 8) : [];
  }

  /** @param {string} text */
  #put(text) {
    this.#composer.set(text);
    if (this.#talk) this.#talk.draft = text;
    fill(this.#replies);
    this.#composer.focus();
  }

  /** @param {string} id @param {string} text */
  async #saveEdit(id, text) {
    const talk = this.#talk;
    const isNote = talk?.isNote;
    this.#composer.set(talk?.draft ?? "");
    try {
      await this.#desk.parley.call("message.edit", { message: id, text });
    } catch (error) {
      this.#desk.emit("trouble", /** @type {any} */ (error));
      // It goes back to where it was written: a text is never lost.
      if (talk === this.#talk && talk?.isNote === isNote) this.#composer.set(text, { kind: "edit", id });
    }
  }

  #submit() {
    const text = this.#composer.text.trim();
    const { mode } = this.#composer;
    if (mode.kind === "edit") {
      void this.#saveEdit(mode.id, text);
      return;
    }
    const found = this.#matching(text);
    // A shortcut becomes its text, to be read once more before it goes out.
    if (found.length > 0) return this.#put(found[0].text);
    this.#talk?.send(text);
    this.#composer.set("");
    if (this.#talk) this.#talk.draft = "";
    this.#log.scrollToEnd();
  }
}
