/**
 * The right pane: who is in the room and who of them is here now; for those who may, what can be done about it.
 * @module
 */

import { avatar } from "../elements/avatar.js";
import { bdi, fill, h, iconButton } from "../elements/dom.js";
import { inviteDialog, memberDialog } from "./dialogs.js";

const collator = new Intl.Collator(undefined, { sensitivity: "base" });
/** More are counted, not listed: nobody reads a thousand names at the edge of a page. */
const SHOWN_MAX = 200;

export class PeoplePane {
  #workspace;
  #body = h("div", { class: "people-body" });
  #heading = h("h2", { class: "pane-title" }, "People");
  #invite;
  /** @type {() => void} */
  #off = () => {};

  /**
   * @param {import("./workspace.js").Workspace} workspace
   * @param {() => void} back
   */
  constructor(workspace, back) {
    this.#workspace = workspace;
    this.#invite = iconButton("invite", "Invite someone", () => {
      const room = workspace.current;
      if (room) inviteDialog(workspace, room, () => this.#invite);
    });
    this.element = h(
      "aside",
      { class: "people-pane", "aria-label": "People" },
      h("div", { class: "pane-head" }, iconButton("back", "Back to the room", back, { class: "only-narrow" }), this.#heading, this.#invite),
      this.#body,
    );
    workspace.on("current", (room) => this.#show(room));
    this.#show(workspace.current);
  }

  /** @param {import("./room.js").Room|null} room */
  #show(room) {
    this.#off();
    this.#draw();
    const offs = room ? [room.on("people", () => this.#draw()), room.on("info", () => this.#draw())] : [];
    this.#off = () => offs.forEach((off) => off());
  }

  #draw() {
    const room = this.#workspace.current;
    this.#invite.hidden = !room || !room.mayModerate || room.ended !== null || room.info.archived;
    if (!room) {
      fill(this.#body);
      return;
    }
    const members = [...room.members.values()].sort((a, b) => collator.compare(a.name, b.name));
    const here = members.filter(({ subject }) => room.present.has(subject));
    const away = members.filter(({ subject }) => !room.present.has(subject));
    const focused = this.#body.contains(document.activeElement) ? document.activeElement?.getAttribute("data-subject") : null;
    fill(this.#body, ...this.#group("Here now", here, room, room.presentCount), ...this.#group("Away", away, room, null));
    if (focused) /** @type {HTMLElement|null} */ (this.#body.querySelector(`[data-subject="${CSS.escape(focused)}"]`))?.focus();
  }

  /**
   * @param {string} label
   * @param {import("./room.js").Member[]} members
   * @param {import("./room.js").Room} room
   * @param {number|null} count
   */
  #group(label, members, room, count) {
    if (members.length === 0 && count === null) return [];
    const total = count ?? members.length;
    const shown = members.slice(0, SHOWN_MAX);
    const list = h("ul", { class: "people" }, ...shown.map((member) => h("li", null, this.#person(member, room))));
    const more = total > shown.length ? h("p", { class: "hint" }, `and ${total - shown.length} more`) : null;
    return [h("h3", { class: "group-title" }, `${label} `, h("span", null, String(total))), list, more];
  }

  /**
   * @param {import("./room.js").Member} member
   * @param {import("./room.js").Room} room
   */
  #person(member, room) {
    const isHere = room.present.has(member.subject);
    const isMe = member.subject === this.#workspace.me.subject;
    const children = [
      h("span", { class: isHere ? "presence here" : "presence" }, avatar(member, 28)),
      h("span", { class: "person-name" }, bdi(member.name), isMe ? h("span", { class: "hint" }, " you") : null),
      member.role === "member" ? null : h("span", { class: "role" }, member.role),
    ];
    const mayAct = !isMe && room.ended === null && (room.mayManage || (room.mayModerate && member.role === "member"));
    if (!mayAct) return h("div", { class: "person" }, ...children);
    const open = () => memberDialog(this.#workspace, room, member);
    return h("button", { type: "button", class: "person", "data-subject": member.subject, "aria-haspopup": "dialog", on: { click: open } }, ...children);
  }
}
