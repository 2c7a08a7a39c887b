/**
 * `<parley-composer>`: where one writes. New messages, answers and edits; Enter sends, Shift+Enter breaks, Escape leaves.
 * Tells its owner by events and keeps no drafts itself: `draft` for every change, `submit-text`, `cancel`, `edit-last`.
 * @module
 */

import { bdi, fill, h, icon, iconButton } from "./dom.js";

/**
 * What is being written: a new message, an answer to one, or a new text of one of ours.
 * @typedef {{kind: "new"}|{kind: "reply", id: string, name: string, text: string}|{kind: "edit", id: string}} Mode
 */

const HEIGHT_MAX_PX = 240;
const CHARS_MAX = 8000;
/** A placeholder has one line, and no browser ends it with dots in a field of several. */
const PLACEHOLDER_MAX = 34;
/** How near to the limit the count of characters appears. */
const CHARS_WARN = 500;

export class ParleyComposer extends HTMLElement {
  /** @type {Mode} */
  #mode = { kind: "new" };
  #banner = h("div", { class: "composer-banner", hidden: true });
  #field = h("textarea", { class: "composer-field", rows: "1", dir: "auto", enterkeyhint: "send", autocomplete: "off" });
  #count = h("span", { class: "composer-count", hidden: true, role: "status" });
  #button = h("button", { type: "submit", class: "send-button", "aria-label": "Send", title: "Send (Enter)" }, icon("send"));

  connectedCallback() {
    if (this.firstChild) return;
    const form = h("form", { class: "composer", on: { submit: (/** @type {Event} */ event) => this.#submit(event) } });
    fill(form, this.#banner, h("div", { class: "composer-box" }, this.#field, this.#count, this.#button));
    this.append(form);
    this.#field.addEventListener("input", () => this.#changed());
    this.#field.addEventListener("keydown", (event) => this.#key(event));
    this.#changed(false);
  }

  /** @param {string} label also the placeholder, as much of it as there is room for */
  set label(label) {
    const chars = [...label];
    this.#field.placeholder = chars.length > PLACEHOLDER_MAX ? `${chars.slice(0, PLACEHOLDER_MAX).join("").trimEnd()}…` : label;
    this.#field.setAttribute("aria-label", label);
  }

  get text() {
    return this.#field.value;
  }

  get mode() {
    return this.#mode;
  }

  /**
   * @param {string} text
   * @param {Mode} [mode]
   */
  set(text, mode = { kind: "new" }) {
    this.#mode = mode;
    this.#field.value = text;
    this.#banner.hidden = mode.kind === "new";
    if (mode.kind !== "new") {
      const what =
        mode.kind === "edit"
          ? h("span", null, "Editing your message")
          : h("span", null, "Replying to ", h("b", null, bdi(mode.name)), " ", h("span", { class: "quoted", dir: "auto" }, mode.text));
      const leave = iconButton("close", mode.kind === "edit" ? "Stop editing" : "Do not reply", () => this.#emit("cancel"));
      fill(this.#banner, icon(mode.kind), what, leave);
    }
    this.#changed(false);
    this.#field.setSelectionRange(text.length, text.length);
  }

  focus() {
    this.#field.focus();
  }

  #changed(isTold = true) {
    const length = this.#field.value.length;
    const isTooLong = length > CHARS_MAX;
    this.#count.hidden = length < CHARS_MAX - CHARS_WARN;
    this.#count.textContent = isTooLong ? `${length - CHARS_MAX} too many` : `${CHARS_MAX - length} left`;
    this.#count.classList.toggle("over", isTooLong);
    // Not `disabled`: a button that vanishes from the keyboard's way confuses more than one that does nothing.
    this.#button.setAttribute("aria-disabled", String(isTooLong || this.#field.value.trim() === ""));
    this.#field.style.blockSize = "auto";
    this.#field.style.blockSize = `${Math.min(this.#field.scrollHeight, HEIGHT_MAX_PX)}px`;
    if (isTold) this.#emit("draft");
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    // While a candidate of an input method is open, Enter and Escape belong to it. (229: Safari tells it late.)
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      this.#submit(event);
    } else if (event.key === "Escape" && this.#mode.kind !== "new") {
      event.stopPropagation();
      this.#emit("cancel");
    } else if (event.key === "ArrowUp" && this.#field.value === "" && this.#mode.kind === "new") {
      event.preventDefault();
      this.#emit("edit-last");
    }
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    if (this.#button.getAttribute("aria-disabled") === "true") return;
    this.#emit("submit-text");
  }

  /** @param {string} name */
  #emit(name) {
    this.dispatchEvent(new CustomEvent(name));
  }
}

customElements.define("parley-composer", ParleyComposer);
