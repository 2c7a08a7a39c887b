/**
 * What the two pages of the player share: the frame, the badge, times as clocks, the sign-in of the other pages.
 * @module
 */

import { SignIn, localStore } from "../client/credentials.js";
import { fill, h } from "../elements/dom.js";
import { clockTime, fullTime } from "../elements/time.js";

/** The sign-in that the chat keeps too: who is in there is in here. */
export function keptSignIn() {
  const name = `parley.session ${location.origin}`;
  return new SignIn(location.origin, localStore(name), globalThis.fetch.bind(globalThis), name);
}

/**
 * @param {HTMLElement} app
 * @param {HTMLElement} card
 */
export function drawFrame(app, card) {
  const mark = h("img", { src: "/static/chat/mark.svg", alt: "", width: "24", height: "24" });
  const home = h("a", { href: "/", class: "home" }, mark, "Parley");
  fill(app, h("div", { class: "player-page" }, h("header", { class: "player-top" }, home), card));
}

/** Text that is set only where it changed: a selection in it, and a screen reader, stay undisturbed. @param {Element} element @param {string} text */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {number} seconds */
export function asClock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  return `${hours > 0 ? `${hours}:` : ""}${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}

/** @param {string} at RFC 3339 */
export function sinceTime(at) {
  const ms = Date.parse(at);
  return h("time", { datetime: at, title: fullTime(ms) }, clockTime(ms));
}

/** @param {number} count */
export const listenersInWords = (count) => (count === 1 ? "1 listener" : `${count} listeners`);

/** Whether a key belongs to what has the focus. @param {KeyboardEvent} event */
export function isTaken(event) {
  const target = /** @type {Element} */ (event.target);
  return event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select, textarea, dialog") !== null;
}
