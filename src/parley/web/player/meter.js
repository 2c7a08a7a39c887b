/**
 * `<parley-meter>`: how loud it is, as a bar with the peak of the last second; with `words` also said in words.
 * @module
 */

import { fill, h } from "../elements/dom.js";

/** Where the bar begins; below is silence to the ear. */
const FLOOR_DB = -54;
const PEAK_MS = 1_200;
/** How fast the bar falls, in its length for each second: the eye follows what does not flicker. */
const FALL_PER_S = 1.6;
/** So often it is told in words and to screen readers. */
const WORDS_MS = 700;

/** @param {number} amplitude 0 to 1 */
export const decibels = (amplitude) => (amplitude > 0 ? 20 * Math.log10(amplitude) : -Infinity);

/** @param {number} db */
const share = (db) => Math.min(1, Math.max(0, 1 - db / FLOOR_DB));

/** @param {number} peakDb */
function inWords(peakDb) {
  if (peakDb < FLOOR_DB) return "Silence";
  if (peakDb < -30) return "Quiet";
  return peakDb > -1 ? "Too loud" : "Good";
}

export class ParleyMeter extends HTMLElement {
  #words = h("span", { class: "meter-words" });
  #level = 0;
  #shownMs = 0;
  #peak = 0;
  #peakMs = 0;
  #loudest = 0;
  #saidMs = 0;
  #isSilent = true;

  connectedCallback() {
    if (this.firstChild) return;
    const bar = h("span", { class: "meter-bar", "aria-hidden": "true" }, h("span", { class: "meter-level" }), h("span", { class: "meter-peak" }));
    fill(this, bar, this.hasAttribute("words") && this.#words);
    this.setAttribute("role", "meter");
    this.setAttribute("aria-valuemin", String(FLOOR_DB));
    this.setAttribute("aria-valuemax", "0");
    this.clear();
  }

  /** @param {number} peak 0 to 1 @param {number} rms 0 to 1 */
  show(peak, rms) {
    const nowMs = performance.now();
    if (peak >= this.#peak || nowMs - this.#peakMs > PEAK_MS) {
      this.#peak = peak;
      this.#peakMs = nowMs;
    }
    this.#loudest = Math.max(this.#loudest, peak);
    const fallen = this.#level - (FALL_PER_S * (nowMs - this.#shownMs)) / 1000;
    this.#level = Math.max(share(decibels(rms) + 3), fallen);
    this.#shownMs = nowMs;
    this.#draw(this.#level, share(decibels(this.#peak)));
    // That something is heard at all is said at once.
    const isNews = this.#isSilent && decibels(peak) >= FLOOR_DB;
    if (!isNews && nowMs - this.#saidMs < WORDS_MS) return;
    this.#saidMs = nowMs;
    this.#say(decibels(this.#loudest));
    this.#loudest = 0;
  }

  /** Nothing is measured. */
  clear() {
    this.#level = 0;
    this.#peak = 0;
    this.#saidMs = 0;
    this.#draw(0, 0);
    this.#say(null);
  }

  /** @param {number} level @param {number} peak */
  #draw(level, peak) {
    this.style.setProperty("--level", level.toFixed(3));
    this.style.setProperty("--peak", peak.toFixed(3));
  }

  /** @param {number|null} db */
  #say(db) {
    this.#isSilent = db === null || db < FLOOR_DB;
    const words = db === null ? "" : inWords(db);
    this.dataset.is = words.toLowerCase().replace(" ", "-");
    if (this.#words.textContent !== words) this.#words.textContent = words;
    this.setAttribute("aria-valuenow", String(Math.round(Math.min(0, Math.max(FLOOR_DB, db ?? FLOOR_DB)))));
    this.setAttribute("aria-valuetext", words || "Nothing to measure");
  }
}

customElements.define("parley-meter", ParleyMeter);
