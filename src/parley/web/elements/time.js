/**
 * Times as people say them: relative within a day, else the local date; the full time on hover and for screen readers.
 * Holds no clock of its own: `refreshTimes` is called by whoever has one.
 * @module
 */

import { h } from "./dom.js";

const DAY_MS = 86_400_000;

const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const dayOfYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const weekdayOfYear = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });

/**
 * @param {number} ms Unix milliseconds
 * @param {number} nowMs
 */
export function shortTime(ms, nowMs) {
  const minutes = Math.floor((nowMs - ms) / 60_000);
  if (minutes < 1) return "now";
  if (minutes < 60) return `${minutes} min`;
  if (nowMs - ms < DAY_MS) return `${Math.floor(minutes / 60)} h`;
  const date = new Date(ms);
  const named = date.getFullYear() === new Date(nowMs).getFullYear() ? day : dayOfYear;
  return `${named.format(date)}, ${clock.format(date)}`;
}

/** @param {number} ms */
export const fullTime = (ms) => full.format(new Date(ms));

/** @param {number} ms */
export const clockTime = (ms) => clock.format(new Date(ms));

/**
 * The heading of a day in a log.
 * @param {number} ms
 * @param {number} nowMs
 */
export function dayName(ms, nowMs) {
  const date = new Date(ms);
  const now = new Date(nowMs);
  const days = Math.round((midnight(now) - midnight(date)) / DAY_MS);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return (date.getFullYear() === now.getFullYear() ? weekday : weekdayOfYear).format(date);
}

/** @param {Date} date */
const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();

/**
 * @param {number} a
 * @param {number} b
 */
export const sameDay = (a, b) => midnight(new Date(a)) === midnight(new Date(b));

/** @param {string} at RFC 3339 */
export function time(at) {
  const ms = Date.parse(at);
  const label = fullTime(ms);
  // A <time> names itself by its text; the full time is for those who cannot hover.
  return h(
    "time",
    { class: "time", datetime: at, title: label },
    h("span", { "aria-hidden": "true" }, shortTime(ms, Date.now())),
    h("span", { class: "unseen" }, label),
  );
}

/** Bring the relative times under `root` up to date. @param {ParentNode} root */
export function refreshTimes(root) {
  const nowMs = Date.now();
  for (const element of root.querySelectorAll("time.time")) {
    const shown = element.firstElementChild;
    const text = shortTime(Date.parse(element.getAttribute("datetime") ?? ""), nowMs);
    if (shown && shown.textContent !== text) shown.textContent = text;
  }
}
