/**
 * A field over a list: type to narrow it, arrows to walk it, Enter to pick (the ARIA pattern "combobox with a listbox").
 * @module
 */

import { fill, h } from "../elements/dom.js";

/**
 * @typedef {object} Option
 * @property {string} key
 * @property {string} words what is searched
 * @property {() => import("../elements/dom.js").Child[]} content
 * @property {() => void} pick
 *
 * @typedef {object} PickerOptions
 * @property {string} label
 * @property {string} empty said where nothing fits
 * @property {() => Promise<Option[]>} load
 * @property {(text: string) => void} [other] Enter on something that is not in the list
 */

const SHOWN_MAX = 100;
let count = 0;

export class Picker {
  /** @type {Option[]} */
  #options = [];
  /** @type {Option[]} */
  #shown = [];
  #active = 0;
  #asked;
  #id = `picker-${++count}`;
  #list;
  #field;
  #note = h("p", { class: "hint", role: "status" });
  /** Carries "busy" for whoever picks. */
  button = h("button", { type: "button", hidden: true });

  /** @param {PickerOptions} asked */
  constructor(asked) {
    this.#asked = asked;
    this.#list = h("ul", { class: "options", role: "listbox", id: this.#id, "aria-label": asked.label });
    this.#field = h("input", {
      class: "input",
      role: "combobox",
      "aria-label": asked.label,
      placeholder: asked.label,
      "aria-expanded": "true",
      "aria-controls": this.#id,
      "aria-autocomplete": "list",
      autocomplete: "off",
      spellcheck: "false",
      dir: "auto",
      "data-focus": true,
    });
    this.#field.addEventListener("input", () => {
      this.#active = 0;
      this.#draw();
    });
    this.#field.addEventListener("keydown", (event) => this.#key(event));
    this.element = h("div", { class: "picker" }, this.#field, this.#list, this.#note);
    void this.#load();
  }

  async #load() {
    try {
      this.#options = await this.#asked.load();
      this.#draw();
    } catch {
      this.#note.textContent = "The list could not be read just now.";
    }
  }

  #draw() {
    const wanted = this.#field.value.trim().toLocaleLowerCase();
    this.#shown = this.#options.filter(({ words }) => words.toLocaleLowerCase().includes(wanted)).slice(0, SHOWN_MAX);
    this.#active = Math.min(this.#active, Math.max(0, this.#shown.length - 1));
    fill(
      this.#list,
      ...this.#shown.map((option, i) =>
        h(
          "li",
          {
            role: "option",
            id: `${this.#id}-${i}`,
            class: "option",
            "aria-selected": String(i === this.#active),
            on: { click: () => option.pick(), pointermove: () => this.#select(i) },
          },
          ...option.content(),
        ),
      ),
    );
    this.#list.hidden = this.#shown.length === 0;
    this.#field.setAttribute("aria-expanded", String(this.#shown.length > 0));
    this.#note.textContent = this.#shown.length === 0 ? this.#asked.empty : "";
    this.#point();
  }

  /** @param {number} index */
  #select(index) {
    if (index === this.#active) return;
    this.#list.children[this.#active]?.setAttribute("aria-selected", "false");
    this.#active = index;
    this.#list.children[index]?.setAttribute("aria-selected", "true");
    this.#point();
  }

  #point() {
    if (this.#shown.length > 0) this.#field.setAttribute("aria-activedescendant", `${this.#id}-${this.#active}`);
    else this.#field.removeAttribute("aria-activedescendant");
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.isComposing) return;
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step !== 0 && this.#shown.length > 0) {
      event.preventDefault();
      this.#select((this.#active + step + this.#shown.length) % this.#shown.length);
      this.#list.children[this.#active]?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter") {
      event.preventDefault();
      const option = this.#shown[this.#active];
      const text = this.#field.value.trim();
      if (option) option.pick();
      else if (text !== "") this.#asked.other?.(text);
    }
  }
}
