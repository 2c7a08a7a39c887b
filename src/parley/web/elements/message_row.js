/**
 * One message as a row of a log: who, when, what, and what became of it. Draws; decides nothing and sends nothing.
 * @module
 */

import { avatar } from "./avatar.js";
import { bdi, fill, h, icon } from "./dom.js";
import { isEmojiOnly, written } from "./text.js";
import { clockTime, dayName, fullTime, sameDay, time } from "./time.js";

/**
 * @typedef {import("../parley.js").Message} Message
 * @typedef {import("../parley.js").Person} Person
 *
 * A message of the log, or one on its way: `state` then is `sending`, `sent` (answered, not yet heard) or `failed`.
 * @typedef {{key: string, message: Message, state?: "sending"|"sent"|"failed", trouble?: string, code?: string}} Item
 *
 * @typedef {object} RowContext
 * @property {string|null} firstNew key of the first item not yet read
 * @property {(id: string) => Message|null} find the message that another answers
 * @property {(item: Item) => Person[]} readers who read up to here and no further
 * @property {(item: Item) => void} retry
 * @property {(item: Item) => void} discard
 * @property {(id: string) => void} show scroll to another message
 */

const GROUP_MS = 5 * 60_000;
const READERS_SHOWN = 3;

/**
 * @param {Item} item
 * @param {Item|null} before
 * @param {RowContext} context
 */
export function messageRow(item, before, context) {
  const { message } = item;
  const atMs = Date.parse(message.at);
  const beforeMs = before ? Date.parse(before.message.at) : 0;
  const isNewDay = !before || !sameDay(atMs, beforeMs);
  const isFirstNew = item.key === context.firstNew;
  const isGrouped =
    !isNewDay &&
    !isFirstNew &&
    before?.message.sender.subject === message.sender.subject &&
    atMs - beforeMs < GROUP_MS &&
    !message.reply_to;

  const row = h("div", { class: "row" });
  row.classList.toggle("grouped", isGrouped);
  if (isNewDay) row.append(divider("day", dayName(atMs, Date.now())));
  if (isFirstNew) row.append(divider("new", "New"));
  row.append(article(item, isGrouped, context));
  const readers = context.readers(item);
  if (readers.length > 0) row.append(readersLine(readers));
  return row;
}

/**
 * Bring the readers of a drawn row up to date.
 * @param {HTMLElement} row
 * @param {Person[]} readers
 */
export function updateReaders(row, readers) {
  row.querySelector(".readers")?.remove();
  if (readers.length > 0) row.append(readersLine(readers));
}

/**
 * @param {string} kind
 * @param {string} label
 */
function divider(kind, label) {
  return h("div", { class: `divider ${kind}`, role: "separator", "aria-label": label }, h("span", { "aria-hidden": "true" }, label));
}

/**
 * @param {Item} item
 * @param {boolean} isGrouped
 * @param {RowContext} context
 */
function article(item, isGrouped, context) {
  const { message, state } = item;
  const { sender } = message;
  const head = h("header", { class: "message-head" }, h("span", { class: "name" }, bdi(sender.name)), time(message.at));
  const body = h("div", { class: "message-body" }, head);
  if (message.reply_to && !message.deleted) body.append(quote(message.reply_to, context));
  body.append(message.deleted ? tombstone(message) : textOf(message));
  if (state === "failed") body.append(failure(item, context));
  const side = isGrouped
    ? h("span", { class: "side-time", "aria-hidden": "true" }, clockTime(Date.parse(message.at)))
    : avatar(sender);
  // The name of an article is what a screen reader says on arriving at it.
  const label = `${sender.name}, ${fullTime(Date.parse(message.at))}${state === "sending" ? ", sending" : ""}`;
  const element = h("article", { class: "message", tabindex: "-1", "aria-label": label, "data-key": item.key }, side, body);
  element.classList.toggle("sending", state === "sending");
  element.classList.toggle("failed", state === "failed");
  return element;
}

/** @param {Message} message */
function textOf(message) {
  const text = message.text ?? "";
  const element = h("div", { class: "text", dir: "auto" }, ...written(text));
  element.classList.toggle("large", isEmojiOnly(text));
  if (message.edited_at) {
    const when = fullTime(Date.parse(message.edited_at));
    const edited = h("span", { class: "edited", title: `Edited ${when}`, dir: "ltr" }, "edited", h("span", { class: "unseen" }, ` ${when}`));
    element.append(" ", edited);
  }
  return element;
}

/** @param {Message} message */
function tombstone({ reason, deleted_by: by, sender }) {
  const element = h("div", { class: "tombstone" }, "Message deleted");
  if (by && by.subject !== sender.subject) element.append(" by ", bdi(by.name));
  if (reason) element.append(": ", h("span", { class: "reason", dir: "auto" }, reason));
  return element;
}

/**
 * @param {string} id
 * @param {RowContext} context
 */
function quote(id, context) {
  const original = context.find(id);
  const button = h("button", { type: "button", class: "quote", on: { click: () => context.show(id) } }, icon("reply"));
  if (original) {
    const words = original.deleted ? "Message deleted" : (original.text ?? "").slice(0, 160);
    button.append(h("span", { class: "name" }, bdi(original.sender.name)), h("span", { class: "quoted", dir: "auto" }, words));
  } else {
    button.append(h("span", { class: "quoted" }, "An earlier message"));
  }
  return button;
}

/**
 * @param {Item} item
 * @param {RowContext} context
 */
function failure(item, context) {
  return h(
    "div",
    { class: "failure" },
    h("span", { class: "failure-words" }, icon("warning"), `Not sent: ${item.trouble ?? "something went wrong"}`, " ", h("span", { class: "code" }, item.code ?? "")),
    h("button", { type: "button", class: "link", on: { click: () => context.retry(item) } }, "Try again"),
    h("button", { type: "button", class: "link", on: { click: () => context.discard(item) } }, "Delete"),
  );
}

/** @param {Person[]} readers */
function readersLine(readers) {
  const names = new Intl.ListFormat(undefined).format(readers.slice(0, 20).map(({ name }) => name));
  const more = readers.length > 20 ? ` and ${readers.length - 20} more` : "";
  const line = h("div", { class: "readers", title: `Read up to here by ${names}${more}` });
  fill(
    line,
    h("span", { class: "unseen" }, `Read up to here by ${names}${more}`),
    ...readers.slice(0, READERS_SHOWN).map((person) => avatar(person, 16)),
    readers.length > READERS_SHOWN && h("span", { "aria-hidden": "true" }, `+${readers.length - READERS_SHOWN}`),
  );
  return line;
}
