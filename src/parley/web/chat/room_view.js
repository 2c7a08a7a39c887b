/**
 * The middle pane: one room's heading, its log, who types. Holds no messages: `room.js` does; writing is `composing.js`'s.
 * @module
 */

import { fill, h, icon, iconButton, bdi } from "../elements/dom.js";
import { messageRow, updateReaders } from "../elements/message_row.js";
import { fullTime } from "../elements/time.js";
import { Announcer } from "./announcer.js";
import { Composing } from "./composing.js";
import { deleteDialog } from "./dialogs.js";
import { MessageActions } from "./message_actions.js";

/**
 * @typedef {import("./room.js").Room} Room
 * @typedef {import("../elements/message_row.js").Item} Item
 * @typedef {import("../elements/log.js").ParleyLog<Item>} Log
 * @typedef {import("../parley.js").Message} Message
 */

const READ_MS = 400;
/** How far back a quoted message is looked for. */
const SEARCH_PAGES = 30;

export class RoomView {
  #workspace;
  /** @type {Room|null} */
  #room = null;
  #log = /** @type {Log} */ (document.createElement("parley-log"));
  #composing;
  #title = h("h1", { class: "room-heading", tabindex: "-1" });
  #facts = h("p", { class: "room-facts" });
  #typing = h("p", { class: "typing" });
  #notice = h("div", { class: "room-notice", hidden: true });
  #pill = h("button", { type: "button", class: "pill", hidden: true });
  #empty = h("div", { class: "log-empty", hidden: true });
  #announcer = new Announcer();
  #people;
  #newWhileAway = 0;
  #isLoadingOlder = false;
  /** @type {(() => void)[]} */
  #offs = [];
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #readTimer;
  #abort = new AbortController();

  /**
   * @param {import("./workspace.js").Workspace} workspace
   * @param {{back: () => void, togglePeople: () => void}} frame
   */
  constructor(workspace, frame) {
    this.#workspace = workspace;
    this.#composing = new Composing(
      workspace,
      { sent: () => this.#log.scrollToEnd(), trouble: (text) => this.#announcer.tell(text, true) },
      this.#abort.signal,
    );
    this.#people = iconButton("people", "People", () => frame.togglePeople(), { class: "people-toggle" });
    new MessageActions(this.#log, {
      find: (key) => this.#room?.items.find((item) => item.key === key)?.message ?? null,
      may: (message) => ({
        reply: (this.#room?.mayWrite ?? false) && !message.deleted,
        edit: this.#room?.mayEdit(message) ?? false,
        delete: this.#room?.mayDelete(message) ?? false,
      }),
      reply: (message) => this.#composing.reply(message),
      edit: (message) => this.#composing.edit(message),
      delete: (message) => this.#delete(message),
    });
    this.element = h(
      "section",
      { class: "room-view", "aria-label": "Room" },
      h(
        "header",
        { class: "pane-head room-head" },
        iconButton("back", "Back to the rooms", () => frame.back(), { class: "only-narrow" }),
        h("div", { class: "room-name" }, this.#title, this.#facts),
        this.#people,
      ),
      h("div", { class: "log-frame" }, this.#log, this.#empty, this.#pill),
      h("div", { class: "foot" }, this.#typing, this.#notice, this.#composing.element),
      this.#announcer.element,
    );
    this.#wire();
    workspace.on("current", (room) => this.#show(room));
    this.#show(workspace.current);
  }

  /** Where the focus goes when what had it is gone. */
  get focusTarget() {
    return this.#composing.element.hidden ? this.#title : this.#composing.field;
  }

  focusPeopleToggle() {
    this.#people.focus();
  }

  close() {
    this.#leave();
    this.#abort.abort();
  }

  #wire() {
    const { signal } = this.#abort;
    this.#log.drawRow = (item, before) => messageRow(item, before, this.#context);
    this.#log.addEventListener("older", () => void this.#loadOlder());
    this.#log.addEventListener("end", () => this.#moved());
    this.#pill.addEventListener("click", () => {
      this.#log.scrollToEnd();
      this.#moved();
      this.focusTarget?.focus();
    });
    addEventListener("focus", () => this.#moved(), { signal });
    document.addEventListener("visibilitychange", () => this.#moved(), { signal });
  }

  /** @type {import("../elements/message_row.js").RowContext} */
  get #context() {
    const room = this.#room;
    return {
      firstNew: room?.firstNew ?? null,
      find: (id) => room?.find(id) ?? null,
      readers: (item) => room?.readers(item) ?? [],
      retry: (item) => room?.retry(item),
      discard: (item) => {
        room?.discard(item);
        this.focusTarget?.focus();
      },
      show: (id) => void this.#seek(id),
    };
  }

  /** @param {Room|null} room */
  #show(room) {
    this.#leave();
    this.#room = room;
    this.#newWhileAway = 0;
    this.#log.reset([]);
    this.#log.setTail([]);
    this.#drawHead();
    this.#drawTyping();
    this.#drawPill();
    if (!room) return;
    this.#offs = [
      room.on("reset", () => void this.#open(room)),
      room.on("older", (items) => this.#log.addOlder(items)),
      room.on("newer", (items) => this.#newer(items)),
      room.on("updated", (item) => {
        this.#log.update(item);
        this.#announcer.forget(item.message);
      }),
      room.on("pending", () => this.#drawPending()),
      room.on("typing", () => this.#drawTyping()),
      room.on("people", () => this.#drawHead()),
      room.on("info", () => this.#drawHead()),
      room.on("read", (seqs) => this.#drawReaders(seqs)),
      this.#workspace.parley.on("state", ({ name }) => {
        if (name !== "live") return;
        if (!room.isLoaded) void this.#open(room);
        // What was read could not be told while there was no line.
        else this.#moved();
      }),
    ];
    this.#composing.enter(room);
    if (matchMedia("(pointer: fine)").matches && !document.querySelector("dialog")) this.focusTarget?.focus();
    void this.#open(room);
  }

  #leave() {
    this.#composing.leave();
    for (const off of this.#offs.splice(0)) off();
    clearTimeout(this.#readTimer);
    this.#announcer.clear();
  }

  /** @param {Room} room */
  async #open(room) {
    if (!room.isLoaded) fill(this.#empty);
    try {
      await room.open();
    } catch {
      return; // The strip says why. The room opens with the next line.
    }
    if (room !== this.#room) return;
    room.placeNew();
    this.#log.reset(room.items);
    this.#drawTop();
    this.#drawPending();
    if (room.firstNew) this.#log.scrollToKey(room.firstNew, 0.25);
    else this.#log.scrollToEnd();
    this.#moved();
  }

  #drawHead() {
    const room = this.#room;
    fill(this.#title, room ? bdi(room.title) : "Parley");
    const count = room?.members.size ?? 0;
    const here = room?.presentCount ?? room?.present.size ?? 0;
    fill(this.#facts, room && count > 0 ? `${count} ${count === 1 ? "person" : "people"}, ${here} here` : "");
    this.#people.hidden = !room;
    this.#composing.draw(room);
    this.#drawNotice();
    this.#drawEmpty();
  }

  #drawNotice() {
    const room = this.#room;
    this.#notice.hidden = !room || room.mayWrite;
    if (!room || room.mayWrite) return;
    if (room.ended !== null && !room.isGone) {
      fill(this.#notice, "You can write again once you are connected. A draft is kept.");
    } else if (room.ended !== null) {
      /** @type {Record<string, string>} */
      const reasons = { removed: "You were removed from this room.", banned: "You are banned from this room.", left: "You left this room." };
      fill(this.#notice, reasons[room.ended] ?? "This room can no longer be read.");
    } else if (room.info.archived) {
      fill(this.#notice, icon("archive"), "This room is archived: it can be read, not written to.");
    } else {
      const told = () => this.#announcer.tell("You could not join. Try again in a moment.", true);
      const join = h("button", { type: "button", class: "button leads", on: { click: () => void this.#workspace.join(room.info).catch(told) } }, "Join");
      fill(this.#notice, "You read along without being a member.", join);
    }
  }

  #drawEmpty() {
    const room = this.#room;
    const isEmpty = room ? room.isLoaded && room.items.length === 0 && room.pending.length === 0 : true;
    this.#empty.hidden = !isEmpty;
    if (!isEmpty) return;
    if (room) fill(this.#empty, h("p", { class: "empty-title" }, "Nothing here yet"), h("p", { class: "hint" }, "What is said in this room will be here. Say the first word."));
    else fill(this.#empty, h("p", { class: "empty-title" }, "You are in no room yet"), h("p", { class: "hint" }, "Join one, or make one: the buttons are above the list."));
  }

  #drawTop() {
    const room = this.#room;
    if (!room || room.items.length === 0) this.#log.setTop();
    else if (!room.isComplete) this.#log.setTop(h("p", { class: "hint" }, "Earlier messages come as you scroll."));
    else {
      this.#log.setTop(
        h("p", { class: "beginning" }, "The beginning of ", h("b", null, bdi(room.title))),
        h("p", { class: "hint" }, `Made on ${fullTime(Date.parse(room.info.created_at))}`),
      );
    }
  }

  async #loadOlder() {
    const room = this.#room;
    if (!room || !room.isLoaded || room.isComplete || this.#isLoadingOlder) return;
    this.#isLoadingOlder = true;
    try {
      await room.loadOlder();
      if (room === this.#room) this.#drawTop();
    } catch {
      // Asked again by the next movement.
    } finally {
      this.#isLoadingOlder = false;
    }
  }

  /** @param {Item[]} items */
  #newer(items) {
    const isBehind = !this.#log.isAtEnd;
    const isOwn = items.some(({ message }) => message.sender.subject === this.#workspace.me.subject);
    this.#log.addNewer(items);
    this.#drawEmpty();
    if (!isOwn) this.#announcer.add(items.map(({ message }) => message));
    if (isBehind && !isOwn) this.#newWhileAway += items.length;
    this.#drawPill();
    this.#moved();
  }

  #drawPending() {
    const pending = this.#room?.pending ?? [];
    const isMore = pending.some(({ key }) => !this.#log.row(key));
    this.#log.setTail(pending);
    if (isMore) this.#log.scrollToEnd();
    this.#drawEmpty();
  }

  /** @param {number[]} seqs */
  #drawReaders(seqs) {
    const room = this.#room;
    if (!room) return;
    const wanted = new Set(seqs);
    for (const item of room.items) {
      const row = wanted.has(item.message.seq) ? this.#log.row(item.key) : null;
      if (row) updateReaders(row, room.readers(item));
    }
  }

  #drawTyping() {
    const names = [...(this.#room?.typing.values() ?? [])].map(({ name }) => name);
    const say = (/** @type {import("../elements/dom.js").Child[]} */ ...words) => fill(this.#typing, dots(), h("span", null, ...words));
    if (names.length === 0) fill(this.#typing);
    else if (names.length === 1) say(bdi(names[0]), " is typing");
    else if (names.length === 2) say(bdi(names[0]), " and ", bdi(names[1]), " are typing");
    else say("Several people are typing");
  }

  #drawPill() {
    const count = this.#newWhileAway;
    this.#pill.hidden = this.#log.isAtEnd || !this.#room?.isLoaded;
    fill(this.#pill, icon("down"), count > 0 ? `${count} new` : h("span", { class: "unseen" }, "To the newest message"));
    this.#pill.classList.toggle("fresh", count > 0);
  }

  /** The reader moved, or came back: what is in sight at the end is read. */
  #moved() {
    if (this.#log.isAtEnd) this.#newWhileAway = 0;
    this.#drawPill();
    clearTimeout(this.#readTimer);
    this.#readTimer = setTimeout(() => {
      const room = this.#room;
      if (room?.isLoaded && this.#log.isAtEnd && document.visibilityState === "visible" && document.hasFocus()) room.markRead();
    }, READ_MS);
  }

  /** @param {Message} message */
  #delete(message) {
    const back = () => this.#log.row(message.id)?.querySelector("article") ?? this.focusTarget;
    deleteDialog(this.#workspace, message, back);
  }

  /** Find a message, further back if need be, and show it. @param {string} id */
  async #seek(id) {
    const room = this.#room;
    if (!room) return;
    for (let pages = 0; !room.find(id) && !room.isComplete && pages < SEARCH_PAGES; pages++) {
      const before = room.items.length;
      await this.#loadOlder();
      if (room !== this.#room || room.items.length === before) return;
    }
    const article = this.#log.scrollToKey(id)?.querySelector("article");
    article?.focus({ preventScroll: true });
    article?.classList.add("shown");
    setTimeout(() => article?.classList.remove("shown"), 1600);
  }
}

const dots = () => h("span", { class: "dots", "aria-hidden": "true" }, h("i", null), h("i", null), h("i", null));
