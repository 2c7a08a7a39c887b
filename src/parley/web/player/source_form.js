/**
 * What is to be heard: a microphone, by device, or a tab's or screen's sound. Asks for nothing by itself.
 * @module
 */

import { fill, h, icon } from "../elements/dom.js";
import { canShareSound, microphones } from "./capture.js";

export class SourceForm {
  #choose;
  #microphone = radio("microphone");
  #display = radio("display");
  #devices = h("select", { class: "input", "aria-label": "Microphone" });
  #clean = h("input", { type: "checkbox", id: "clean" });
  #details = h(
    "div",
    { class: "source-details", hidden: true },
    this.#devices,
    h("label", { class: "check", for: "clean" }, this.#clean, "Reduce noise and echo (for speech)"),
  );

  /** @param {(source: import("./capture.js").Source) => void} choose */
  constructor(choose) {
    this.#choose = choose;
    const canShare = canShareSound();
    this.element = h(
      "fieldset",
      { class: "choices sources" },
      h("legend", null, "What is heard"),
      choice(this.#microphone, "microphone", "Microphone", "Or any other input of this device"),
      this.#details,
      canShare && choice(this.#display, "screen", "A tab’s or screen’s sound", "The browser asks which"),
    );
    this.#microphone.addEventListener("change", () => this.#changed());
    // Which tab it is can be chosen anew by a second click.
    this.#display.addEventListener("click", () => this.#changed());
    this.#devices.addEventListener("change", () => this.#changed());
    this.#clean.addEventListener("change", () => this.#changed());
  }

  /** @param {boolean} isBusy while the browser asks */
  set isBusy(isBusy) {
    this.element.disabled = isBusy;
  }

  /** Bring the devices up to date. */
  async list() {
    const found = await microphones();
    const chosen = this.#devices.value;
    fill(
      this.#devices,
      ...found.map(({ deviceId, label }, index) => h("option", { value: deviceId }, label || `Microphone ${index + 1}`)),
    );
    if (found.some(({ deviceId }) => deviceId === chosen)) this.#devices.value = chosen;
    this.#devices.hidden = found.length === 0;
  }

  /** Nothing is recorded any more, or still what was before. @param {boolean} isOpen */
  unchoose(isOpen) {
    if (isOpen) {
      this.#microphone.checked = this.#was === "microphone";
      this.#display.checked = this.#was === "display";
    } else {
      this.#microphone.checked = this.#display.checked = false;
    }
    this.#details.hidden = !this.#microphone.checked;
  }

  /** @type {"microphone"|"display"|null} */
  #was = null;

  #changed() {
    const isMicrophone = this.#microphone.checked;
    this.#details.hidden = !isMicrophone;
    this.#choose(
      isMicrophone
        ? { kind: "microphone", device: this.#devices.value || undefined, isCleaned: this.#clean.checked }
        : { kind: "display" },
    );
  }

  /** It is recorded. */
  opened() {
    this.#was = this.#microphone.checked ? "microphone" : "display";
  }
}

/** @param {string} value */
const radio = (value) => h("input", { type: "radio", name: "source", value });

/**
 * @param {HTMLInputElement} input
 * @param {string} name of the icon
 * @param {string} label
 * @param {string} hint
 */
const choice = (input, name, label, hint) =>
  h("label", { class: "choice source" }, input, h("span", { class: "source-name" }, icon(name), label), h("span", { class: "hint" }, hint));
