/**
 * The visitor's side: who they are, who else looks, what they asked before, and what one may do about them.
 * Asks the desk; knows nothing of messages.
 * @module
 */

import { bdi, fill, h, iconButton } from "../elements/dom.js";
import { time } from "../elements/time.js";
import { blockDialog } from "./dialogs.js";

/** @typedef {import("./desk.js").Conversation} Conversation */

export class About {
  /** Folds it away, where it lies over the conversation. */
  leave = () => {};

  #desk;
  #facts = h("div", { class: "about-facts" });
  #past = h("div", { class: "about-past" });
  #deeds = h("div", { class: "about-deeds" });
  element = h(
    "aside",
    { class: "about-pane", "aria-label": "Visitor", id: "about" },
    iconButton("close", "Back to the conversation", () => this.leave(), { class: "about-leave" }),
    this.#facts,
    this.#deeds,
    this.#past,
  );
  #drawn = "";
  /** Whose past is shown. */
  #whose = "";
  #deedsDrawn = "";

  /** @param {import("./desk.js").Desk} desk */
  constructor(desk) {
    this.#desk = desk;
  }

  draw() {
    const one = this.#desk.conversations.get(this.#desk.current?.id ?? "");
    const present = this.#desk.current?.present ?? new Map();
    const drawn = JSON.stringify([one, [...present], this.#desk.departments.size]);
    // What did not change is not drawn anew: somebody may be reading it out, or copying from it.
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    if (!one) {
      this.#whose = this.#deedsDrawn = "";
      fill(this.#deeds);
      fill(this.#past);
      return void fill(this.#facts, h("p", { class: "desk-empty" }, "Who you talk with is described here."));
    }
    this.#drawFacts(one, present);
    this.#drawDeeds(one);
    const whose = `${one.id} ${one.visitor.identity ?? ""}`;
    if (whose === this.#whose) return;
    this.#whose = whose;
    fill(this.#past);
    this.#desk.history(one).then(
      (found) => whose === this.#whose && this.#drawPast(found),
      (/** @type {import("../parley.js").ParleyError} */ { passing }) => {
        // What the line, or a busy server, kept from us is asked for again with the next change.
        if (passing && whose === this.#whose) this.#whose = this.#drawn = "";
      },
    );
  }

  /** @param {Conversation} one @param {Map<string, string>} present */
  #drawFacts(one, present) {
    const { visitor } = one;
    const isHere = present.has(visitor.subject);
    const others = [...present].filter(([subject]) => subject !== visitor.subject && subject !== this.#desk.me.subject).map(([, name]) => name);
    /** @type {[string, import("../elements/dom.js").Child][]} */
    const facts = [
      ["Email", visitor.email && h("a", { href: `mailto:${visitor.email}` }, visitor.email)],
      ["Identity", visitor.verified ? h("span", null, "Verified ", h("span", { class: "code" }, visitor.identity ?? "")) : "Not verified: as they say themselves"],
      ["Page", visitor.page && bdi(visitor.page)],
      ["Department", one.department && (this.#desk.departments.get(one.department) ?? one.department)],
      ["Began", time(one.created_at)],
      ["Closed", one.closed_at && time(one.closed_at)],
      ["With", one.assignee_name && bdi(one.assignee_name)],
      ["Also looking", others.length > 0 && bdi(new Intl.ListFormat("en").format(others))],
      ["Rating", one.rating !== null && `${one.rating} of 5${one.comment ? `: ${one.comment}` : ""}`],
    ];
    const told = facts.filter(([, value]) => value).flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value)]);
    const here = h("p", { class: isHere ? "here" : "not-here" }, isHere ? "Here now" : "Not here now");
    fill(this.#facts, h("h2", null, bdi(visitor.name || "Visitor")), here, h("dl", null, ...told));
  }

  /** @param {Conversation} one */
  #drawDeeds(one) {
    const drawn = `${one.id} ${one.blocked}`;
    if (drawn === this.#deedsDrawn) return;
    this.#deedsDrawn = drawn;
    const unblock = () => void this.#desk.ask("conversation.unblock", one.id).catch(() => {});
    const block = () => blockDialog(this.#desk, one.id, () => this.element);
    const button = one.blocked
      ? h("button", { type: "button", class: "button", on: { click: unblock } }, "Unblock")
      : h("button", { type: "button", class: "button", on: { click: block } }, "Block");
    fill(this.#deeds, button);
  }

  /** @param {Conversation[]} found */
  #drawPast(found) {
    if (found.length === 0) return;
    const row = (/** @type {Conversation} */ one) =>
      h(
        "button",
        { type: "button", class: "desk-item", on: { click: () => this.#desk.show(one.id) } },
        h("span", { class: "desk-line" }, bdi(this.#desk.lastLine(one) || "Nothing was said")),
        time(one.created_at),
      );
    fill(this.#past, h("h3", { class: "group-title" }, "Earlier"), h("ul", null, ...found.map((one) => h("li", null, row(one)))));
  }
}
