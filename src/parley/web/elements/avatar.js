/**
 * A person as a small square: initials on a colour that their subject decides. Always beside the name, never instead of it.
 * @module
 */

import { h } from "./dom.js";

/** Twelve hues, far enough apart to tell two people in one room from each other. */
const HUES = [20, 48, 78, 110, 142, 168, 195, 222, 250, 280, 310, 345];

const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** @param {string} text */
const first = (text) => segmenter.segment(text)[Symbol.iterator]().next().value?.segment ?? "";

/** @param {string} name */
export function initials(name) {
  const words = name.trim().split(/\s+/u).filter(Boolean);
  if (words.length === 0) return "?";
  // Two initials need two words in a script that has capitals; elsewhere one character says as much.
  const isCased = first(words[0]).toLowerCase() !== first(words[0]).toUpperCase();
  const letters = words.length > 1 && isCased ? first(words[0]) + first(words[words.length - 1]) : first(words[0]);
  return letters.toLocaleUpperCase();
}

/** @param {string} subject */
function hue(subject) {
  let hash = 2166136261;
  for (let i = 0; i < subject.length; i++) hash = Math.imul(hash ^ subject.charCodeAt(i), 16777619);
  return HUES[(hash >>> 8) % HUES.length];
}

/**
 * @param {{subject: string, name: string}} person
 * @param {number} [sizePx]
 */
export function avatar({ subject, name }, sizePx = 36) {
  const square = h("span", { class: "avatar", "aria-hidden": "true" }, initials(name));
  square.style.setProperty("--hue", String(hue(subject)));
  if (sizePx !== 36) square.style.setProperty("--avatar", `${sizePx}px`);
  return square;
}
