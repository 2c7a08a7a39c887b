/**
 * The left pane: our rooms, the unread in bold, a filter on top, oneself at the foot.
 * @module
 */

import { avatar } from "../elements/avatar.js";
import { bdi, fill, h, icon, iconButton } from "../elements/dom.js";

export class RoomList {
  #workspace;
  #items = h("ul", { class: "room-items" });
  #empty = h("div", { class: "room-list-empty", hidden: true });
  #filter = h("input", { class: "input filter", type: "search", placeholder: "Filter rooms", "aria-label": "Filter rooms", autocomplete: "off" });
  #me = h("button", { type: "button", class: "me", "aria-haspopup": "dialog" });
  #dialogs;
  /** What is drawn, and of what. @type {Map<import("./room.js").Room, {item: HTMLElement, link: HTMLElement, of: string}>} */
  #drawn = new Map();

  /**
   * @param {import("./workspace.js").Workspace} workspace
   * @param {{create: () => void, browse: () => void, account: () => void, jump: () => void}} dialogs
   */
  constructor(workspace, dialogs) {
    this.#workspace = workspace;
    this.#dialogs = dialogs;
    this.#filter.addEventListener("input", () => this.#draw());
    this.#filter.addEventListener("keydown", (event) => this.#key(event));
    this.#me.addEventListener("click", () => dialogs.account());
    this.#items.addEventListener("keydown", (event) => this.#walk(event));
    this.element = h(
      "nav",
      { class: "rooms-pane", "aria-label": "Rooms" },
      h(
        "div",
        { class: "pane-head" },
        h("img", { src: "/static/chat/mark.svg", alt: "", width: "24", height: "24" }),
        h("span", { class: "brand" }, "Parley"),
        iconButton("browse", "Browse rooms", () => dialogs.browse()),
        iconButton("plus", "New room", () => dialogs.create()),
      ),
      h("div", { class: "filter-line" }, icon("search"), this.#filter),
      h("div", { class: "room-scroll" }, this.#items, this.#empty),
      this.#me,
    );
    workspace.on("rooms", () => this.#draw());
    workspace.on("current", () => this.#draw());
    workspace.on("me", () => this.#drawMe());
    this.#draw();
    this.#drawMe();
  }

  #draw() {
    const wanted = this.#filter.value.trim().toLocaleLowerCase();
    const all = this.#workspace.sorted;
    const rooms = all.filter(({ title, id }) => `${title} ${id}`.toLocaleLowerCase().includes(wanted));
    const focused = this.#items.contains(document.activeElement) ? document.activeElement?.getAttribute("data-room") : null;
    this.#drawn = new Map(rooms.map((room) => [room, this.#item(room)]));
    // What did not change is not touched: a button that is replaced between press and release is not clicked.
    [...this.#drawn.values()].forEach(({ item }, i) => this.#items.children[i] !== item && this.#items.insertBefore(item, this.#items.children[i] ?? null));
    while (this.#items.children.length > rooms.length) this.#items.lastChild?.remove();
    if (focused) /** @type {HTMLElement|null} */ (this.#items.querySelector(`[data-room="${CSS.escape(focused)}"]`))?.focus();
    this.#empty.hidden = rooms.length > 0;
    if (rooms.length === 0 && all.length > 0) fill(this.#empty, h("p", { class: "hint" }, "No room of yours is called that."));
    else if (rooms.length === 0) {
      const browse = h("button", { type: "button", class: "button", on: { click: () => this.#dialogs.browse() } }, "Browse rooms");
      fill(this.#empty, h("p", { class: "hint" }, "The rooms you are in will be here."), browse);
    }
  }

  /** @param {import("./room.js").Room} room */
  #item(room) {
    const isCurrent = room === this.#workspace.current;
    const isUnread = room.unread > 0 && room.ended === null;
    const sign = room.info.archived ? "archive" : room.info.visibility === "private" ? "lock" : "hash";
    const count = room.unread > 99 ? "99+" : String(room.unread);
    const of = JSON.stringify([isCurrent, isUnread, sign, count, room.title, room.isGone]);
    const known = this.#drawn.get(room);
    if (known?.of === of) return known;
    const link = known?.link ?? h("button", { type: "button", class: "room-item", "data-room": room.id, on: { click: () => this.#workspace.show(room) } });
    fill(
      link,
      icon(sign),
      h("span", { class: "room-title" }, bdi(room.title)),
      room.info.visibility === "private" ? h("span", { class: "unseen" }, "private") : null,
      isUnread ? h("span", { class: "count", "aria-hidden": "true" }, count) : null,
      isUnread ? h("span", { class: "unseen" }, `${count} unread`) : null,
    );
    if (isCurrent) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    link.classList.toggle("unread", isUnread);
    link.classList.toggle("gone", room.isGone);
    return { item: known?.item ?? h("li", null, link), link, of };
  }

  #drawMe() {
    const { subject, name, roles } = this.#workspace.me;
    const role = roles.includes("admin") ? "admin" : "";
    fill(
      this.#me,
      avatar({ subject, name: name || subject }, 28),
      h("span", { class: "me-name" }, bdi(name || subject)),
      role ? h("span", { class: "role" }, role) : null,
      icon("more"),
      h("span", { class: "unseen" }, "account"),
    );
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const first = /** @type {HTMLElement|null} */ (this.#items.querySelector(".room-item"));
    if (event.key === "ArrowDown") {
      event.preventDefault();
      first?.focus();
    } else if (event.key === "Enter" && first) {
      event.preventDefault();
      this.#filter.value = "";
      first.click();
      this.#draw();
    } else if (event.key === "Escape" && this.#filter.value !== "") {
      event.stopPropagation();
      this.#filter.value = "";
      this.#draw();
    }
  }

  /** @param {KeyboardEvent} event */
  #walk(event) {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step === 0) return;
    event.preventDefault();
    const links = /** @type {HTMLElement[]} */ ([...this.#items.querySelectorAll(".room-item")]);
    const next = links.indexOf(/** @type {HTMLElement} */ (document.activeElement)) + step;
    if (next < 0) this.#filter.focus();
    else links[next]?.focus();
  }
}
