/**
 * The page at `/widget`, inside the frame that `widget.js` makes: what a visitor sees of their conversation.
 * Talks to the host's page only of being open, unread and begun; the conversation itself is `visit.js`'s.
 * @module
 */

import { bdi, fill, h, icon, iconButton } from "../elements/dom.js";
import { written } from "../elements/text.js";
import { Visit } from "./visit.js";
import { put, wordsOf } from "./words.js";

const HEIGHT_MAX_PX = 140;
const CHARS_MAX = 8000;
const GROUP_MS = 5 * 60_000;

const given = new URLSearchParams(location.hash.slice(1));
const { lang, dir, words } = wordsOf(given.get("lang"));
const accent = given.get("accent");
const theme = given.get("theme");
const root = document.documentElement;
root.lang = lang;
root.dir = dir;
document.title = given.get("title") || words.title;
// The sheet makes it dark or light enough to be read.
if (accent && CSS.supports("color", accent)) root.style.setProperty("--site", accent);
if (theme === "light" || theme === "dark") root.style.colorScheme = theme;

// The language of the words, as this person's country writes the time.
const locale = navigator.languages.find((one) => one.toLowerCase().startsWith(lang)) ?? lang;
const clock = new Intl.DateTimeFormat(locale, { hour: "numeric", minute: "2-digit" });
const full = new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "short" });
const visit = new Visit(given.get("page"), given.get("department"));

const status = h("p", { class: "status", role: "status" });
const greeting = h("p", { class: "greeting" }, given.get("greeting") || words.greeting);
const messages = h("div", { class: "messages" });
const aside = h("div", { class: "aside" });
const typing = h("p", { class: "typing", "aria-live": "polite" });
const log = h("div", { class: "log", role: "log", "aria-label": words.log, tabindex: "0" }, greeting, messages, typing);
const field = h("textarea", { rows: "1", dir: "auto", maxlength: CHARS_MAX, enterkeyhint: "send", "aria-label": words.placeholder });
field.placeholder = words.placeholder;
const send = h("button", { type: "submit", class: "send", "aria-label": words.send, title: words.send }, icon("send"));
const notice = h("p", { class: "notice", hidden: true }, words.preview);
const form = h("form", { class: "composer", on: { submit } }, field, send);
const title = h("h1", null, document.title);
fill(
  document.body,
  h("header", null, h("div", null, title, status), iconButton("close", words.close, () => tell("close"))),
  h("main", null, log, aside, notice, form),
);

let isOpen = true;
let unread = 0;
/** Why the conversation before this one is no more. @type {"over"|"ended"|null} */
let over = null;
/** @type {Map<string, {row: HTMLElement, of: unknown}>} */
let rows = new Map();
/** What stands beneath the log, so that a change elsewhere does not take a half-typed name. */
let asideKind = "";

/** @param {string} kind @param {unknown} [value] */
function tell(kind, value) {
  // Nothing in it is secret; who may frame us, our policy says.
  parent.postMessage({ parley: kind, value }, "*");
}

/** @param {Event} event */
function submit(event) {
  event.preventDefault();
  const text = field.value.trim();
  if (text === "") return;
  over = null;
  field.value = "";
  grow();
  visit.say(text);
  log.scrollTop = log.scrollHeight;
  field.focus();
}

function grow() {
  send.setAttribute("aria-disabled", String(field.value.trim() === ""));
  field.style.blockSize = "auto";
  field.style.blockSize = `${Math.min(field.scrollHeight, HEIGHT_MAX_PX)}px`;
}

function draw() {
  const { conversation } = visit;
  const isNear = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  status.textContent = said();
  notice.hidden = !conversation?.preview || conversation.status === "closed";
  drawMessages();
  drawAside();
  if (isNear) log.scrollTop = log.scrollHeight;
}

function said() {
  const { conversation } = visit;
  if (over) return words[over];
  if (!visit.isLive) return words.offline;
  if (!conversation) return "";
  if (conversation.status === "closed") return words.closed;
  if (conversation.status === "open" && conversation.assignee_name) return put(words.answers, conversation.assignee_name);
  if (conversation.attended === false) return words.unattended;
  return conversation.position ? put(words.position, conversation.position) : words.waiting;
}

function drawMessages() {
  const drawn = new Map();
  const elements = [];
  /** @type {import("../parley.js").Message|null} */
  let before = null;
  for (const message of visit.messages.values()) {
    const old = rows.get(message.id);
    const row = old?.of === message ? old.row : messageRow(message, before);
    drawn.set(message.id, { row, of: message });
    elements.push(row);
    before = message;
  }
  for (const one of visit.unsent) {
    const key = `${one.client_id} ${one.code ?? ""}`;
    const row = rows.get(key)?.row ?? unsentRow(one);
    drawn.set(key, { row, of: one });
    elements.push(row);
  }
  rows = drawn;
  // Only what changed is touched: a row that stays keeps its focus, and is not announced again.
  elements.forEach((row, i) => messages.children[i] !== row && messages.insertBefore(row, messages.children[i] ?? null));
  while (messages.children.length > elements.length) messages.lastChild?.remove();
}

/** @param {import("../parley.js").Message} message @param {import("../parley.js").Message|null} before */
function messageRow(message, before) {
  const isMine = message.sender.subject === visit.conversation?.visitor.subject || message.sender.type === "guest";
  const at = new Date(message.at);
  const isGrouped =
    before?.sender.subject === message.sender.subject && at.getTime() - Date.parse(before?.at ?? "") < GROUP_MS;
  const name = isMine ? words.you : message.sender.name;
  const head = h(
    "header",
    { class: isGrouped ? "unseen" : "" },
    h("span", { class: isMine ? "unseen" : "name" }, bdi(name)),
    " ",
    h("time", { datetime: message.at, title: full.format(at) }, clock.format(at)),
  );
  const text = message.deleted
    ? h("p", { class: "text deleted" }, words.deleted)
    : h("p", { class: "text", dir: "auto" }, ...written(message.text ?? ""));
  return h("article", { class: isMine ? "mine" : "theirs", "aria-label": `${name}, ${full.format(at)}` }, head, text);
}

/** @param {import("./visit.js").Unsent} one */
function unsentRow(one) {
  const article = h("article", { class: "mine unsent", "aria-label": `${words.you}, ${words.sending}` });
  const text = h("p", { class: "text", dir: "auto" }, one.text);
  if (!one.code) return fill(article, text);
  const again = h("button", { type: "button", class: "link", on: { click: () => visit.retry(one) } }, words.again);
  const drop = h("button", { type: "button", class: "link", on: { click: () => visit.drop(one.client_id) } }, words.drop);
  return fill(article, text, h("p", { class: "failure", role: "alert" }, words.failed, " ", again, " ", drop, " ", h("code", null, one.code)));
}

function drawAside() {
  const { conversation } = visit;
  let kind = "";
  if (conversation?.status === "closed") kind = conversation.rating ? "thanks" : "rate";
  else if (conversation && !visit.isAsked && !visit.identity && !conversation.visitor.verified) kind = "who";
  if (kind === asideKind) return;
  asideKind = kind;
  if (kind === "rate") fill(aside, rating());
  else if (kind === "thanks") fill(aside, h("p", { role: "status" }, words.thanks));
  else if (kind === "who") fill(aside, introduction());
  else fill(aside);
}

function rating() {
  const scores = [1, 2, 3, 4, 5].map((score) =>
    h("button", { type: "button", "aria-label": put(words.stars, score), on: { click: () => rate(score) } }, String(score)),
  );
  return h("fieldset", { class: "rating" }, h("legend", null, words.rate, " ", h("span", null, words.scale)), ...scores);
}

/** @param {number} score */
function rate(score) {
  visit.rate(score).then(
    () => field.focus(),
    () => {}, // It stays to be pressed again.
  );
}

function introduction() {
  const name = h("input", { name: "name", autocomplete: "name", maxlength: "80", "aria-label": words.name });
  const email = h("input", { name: "email", type: "email", autocomplete: "email", maxlength: "254", "aria-label": words.email });
  name.placeholder = words.name;
  email.placeholder = words.email;
  const done = (/** @type {string} */ called, /** @type {string} */ address) =>
    visit.introduce(called, address).then(
      () => field.focus(),
      () => email.focus(),
    );
  const save = (/** @type {Event} */ event) => {
    event.preventDefault();
    void done(name.value.trim(), email.value.trim());
  };
  const skip = h("button", { type: "button", class: "link", on: { click: () => void done("", "") } }, words.skip);
  const button = h("button", { type: "submit", class: "button" }, words.save);
  return h("form", { class: "who", on: { submit: save } }, h("p", null, words.who), name, email, h("div", null, button, skip));
}

/** What is before the visitor's eyes is read: not in a panel that is closed, nor in a tab behind others. */
function read() {
  if (isOpen && document.visibilityState === "visible") visit.read();
}

visit.on("changed", draw);
visit.on("over", (why) => (over = why));
visit.on("live", () => {
  over = null;
  read();
});
visit.on("started", (id) => tell("start", id));
visit.on("identified", (code) => tell("identify", code));
visit.on("typing", (name) => void (typing.textContent = name ? put(words.typing, name) : ""));
visit.on("message", (message) => {
  if (isOpen) read();
  else if (message.sender.type !== "guest") tell("unread", ++unread);
});

field.addEventListener("input", () => {
  grow();
  visit.write(field.value);
});
field.addEventListener("keydown", (event) => {
  // While a candidate of an input method is open, Enter belongs to it. (229: Safari tells it late.)
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229) submit(event);
});
addEventListener("keydown", (event) => event.key === "Escape" && !event.isComposing && tell("close"));
addEventListener("message", ({ source, data }) => {
  if (source !== parent || typeof data?.parley !== "string") return;
  if (data.parley === "identify") visit.identify(String(data.value)).catch(() => {});
  isOpen = data.parley === "open" || (isOpen && data.parley !== "close");
  if (data.parley !== "open") return;
  unread = 0;
  read();
  field.focus();
});
document.addEventListener("visibilitychange", read);

field.value = visit.draft;
grow();
draw();
void visit.resume();
field.focus();
tell("ready");
