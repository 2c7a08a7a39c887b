/**
 * Tells an agent who looks elsewhere that somebody waits, or has answered: a short sound, and a notification where the browser allows it.
 * Asks for leave only when pressed.
 * @module
 */

import { fill, h } from "../elements/dom.js";

const KEY = "parley.bell";
const SOUND_S = 0.25;

export class Bell {
  #isOn = false;
  #label = h("span", null);
  element = h("button", { type: "button", class: "bell", on: { click: () => void this.#toggle() } }, this.#label);

  constructor() {
    try {
      this.#isOn = localStorage.getItem(KEY) === "on";
    } catch {
      // Without storage it is off at each visit.
    }
    this.#draw();
  }

  /** @param {string} title @param {string} words */
  ring(title, words) {
    if (!this.#isOn) return;
    this.#sound();
    if (!document.hidden || typeof Notification !== "function" || Notification.permission !== "granted") return;
    // One for all that wait: the next takes the place of the last.
    const notification = new Notification(title, { body: words, tag: "parley" });
    notification.onclick = () => window.focus();
  }

  async #toggle() {
    this.#isOn = !this.#isOn;
    try {
      localStorage.setItem(KEY, this.#isOn ? "on" : "off");
    } catch {
      // It holds until the page goes.
    }
    this.#draw();
    if (!this.#isOn) return;
    this.#sound();
    if (typeof Notification === "function" && Notification.permission === "default") await Notification.requestPermission();
  }

  #draw() {
    this.element.setAttribute("aria-pressed", String(this.#isOn));
    fill(this.#label, this.#isOn ? "Tells you when somebody waits" : "Tell me when somebody waits");
  }

  #sound() {
    const context = new AudioContext();
    const tone = context.createOscillator();
    const loudness = context.createGain();
    loudness.gain.setValueAtTime(0.12, context.currentTime);
    loudness.gain.exponentialRampToValueAtTime(0.001, context.currentTime + SOUND_S);
    tone.frequency.value = 740;
    tone.connect(loudness).connect(context.destination);
    tone.onended = () => void context.close();
    tone.start();
    tone.stop(context.currentTime + SOUND_S);
  }
}
