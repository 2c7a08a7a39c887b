/**
 * The page at `/agent`: the queue and what is mine, the conversation, the visitor. Keyboard first.
 * What is known of them is `desk.js`'s and `talk.js`'s.
 * @module
 */

import "../elements/log.js";
import "../elements/strip.js";
import { openDialog } from "../elements/dialog.js";
import { bdi, fill, h, icon, settle } from "../elements/dom.js";
import { refreshTimes, time } from "../elements/time.js";
import { signInDialog, signInPage } from "../elements/sign_in.js";
import { Parley, ParleyError } from "../parley.js";
import { About } from "./about.js";
import { Availability } from "./availability.js";
import { Bell } from "./bell.js";
import { Desk } from "./desk.js";
import { jumpDialog } from "./dialogs.js";
import { howToClaim, TalkView } from "./talk_view.js";

const TIMES_MS = 20_000;
/** @param {import("../parley.js").Session} session */
const isStaff = ({ roles }) => roles.includes("agent") || roles.includes("admin");
const app = /** @type {HTMLElement} */ (document.getElementById("app"));

/** @param {string} [note] */
async function begin(note) {
  const parley = new Parley();
  for (let isKept = await parley.isSignInKept; ; isKept = false) {
    if (!isKept) await signInPage(app, parley, note);
    fill(app, h("div", { class: "waiting", role: "status" }, h("span", null, "Connecting…")));
    try {
      const session = await parley.connect();
      if (isStaff(session)) return run(parley, session);
      note = "The console is for agents. Sign in as one.";
      // The sign-in stays: other tabs, with the chat, go on with it.
      parley.disconnect();
    } catch (error) {
      note = error instanceof ParleyError && error.code !== "sign_in_needed" ? "Please sign in again." : undefined;
    }
  }
}

/** @param {Parley} parley @param {import("../parley.js").Session} session */
function run(parley, session) {
  const desk = new Desk(parley, session);
  const bell = new Bell();
  const strip = /** @type {import("../elements/strip.js").ParleyStrip} */ (document.createElement("parley-strip"));
  const view = new TalkView(desk);
  const lists = h("div", { class: "desk-lists" });
  const about = new About(desk);
  const availability = new Availability(desk);
  const toast = h("div", { class: "toast", role: "alert", hidden: true });
  const keys = h("button", { type: "button", class: "keys-button", "aria-label": "The keys", title: "The keys (?)", on: { click: keysDialog } }, h("kbd", null, "?"));
  const foot = h("div", { class: "desk-foot" }, availability.element, keys);
  const nav = h("nav", { class: "desk-pane", "aria-label": "Conversations" }, lists, bell.element, foot);
  fill(app, h("div", { class: "desk", "data-pane": "lists" }, nav, h("main", { class: "middle" }, strip, view.element), about.element, toast));
  const frame = /** @type {HTMLElement} */ (app.firstElementChild);
  /** What is drawn of each list, by its title. @type {Map<string, {items: HTMLElement, more: HTMLElement}>} */
  const groups = new Map();
  /** What is drawn of each conversation, and of what. @type {Map<string, {item: HTMLElement, button: HTMLElement, of: string}>} */
  const rows = new Map();

  /**
   * @param {string} title
   * @param {import("./desk.js").Conversation[]} found
   * @param {string} empty what stands there instead; without it, an empty list is not shown
   * @param {import("./desk.js").List} [paged]
   * @returns {HTMLElement[]}
   */
  function list(title, found, empty, paged) {
    if (found.length === 0 && !empty) return [];
    const goesOn = paged && desk.goesOn(paged);
    const heading = h("h2", { class: "group-title" }, title, " ", h("span", null, `${found.length}${goesOn ? "+" : ""}`));
    const group = groups.get(title) ?? {
      items: h("ul"),
      more: h("button", { type: "button", class: "button more", "data-id": `more ${paged}`, on: { click: () => paged && void desk.more(paged) } }, "Show more"),
    };
    groups.set(title, group);
    settle(group.items, found.map(row));
    return [heading, found.length > 0 ? group.items : h("p", { class: "desk-empty" }, empty), ...(goesOn ? [group.more] : [])];
  }

  /** @param {import("./desk.js").Conversation} one */
  function row(one) {
    const isCurrent = one.id === desk.current?.id;
    const unread = isCurrent ? 0 : desk.unread(one);
    const name = one.visitor.name || "Visitor";
    const at = one.status === "queued" ? (one.queued_at ?? one.created_at) : (one.closed_at ?? one.created_at);
    const of = JSON.stringify([isCurrent, unread, name, at, desk.lastLine(one)]);
    const known = rows.get(one.id);
    if (known?.of === of) return known.item;
    const button = known?.button ?? h("button", { type: "button", class: "desk-item", "data-id": one.id, on: { click: () => desk.show(one.id) } });
    fill(
      button,
      h("span", { class: "desk-name" }, bdi(name)),
      time(at),
      h("span", { class: "desk-line" }, bdi(desk.lastLine(one))),
      unread > 0 && h("span", { class: "count" }, String(unread), h("span", { class: "unseen" }, " new")),
    );
    if (isCurrent) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
    const item = known?.item ?? h("li", null, button);
    rows.set(one.id, { item, button, of });
    return item;
  }

  function draw() {
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.id : undefined;
    settle(lists, [
      ...list("Queue", desk.waiting, "Nobody is waiting. Who writes next appears here.", "queued"),
      ...list("Mine", desk.mine, `Nothing is yours. ${howToClaim()}`),
      ...list("With others", desk.others, "", "others"),
      ...list("Closed", desk.closed, "", "closed"),
    ]);
    for (const id of rows.keys()) if (!desk.conversations.has(id)) rows.delete(id);
    // Whoever stood in a row that went elsewhere goes with it.
    if (focused && focused !== /** @type {HTMLElement} */ (document.activeElement).dataset.id) /** @type {HTMLElement|null} */ (lists.querySelector(`[data-id="${CSS.escape(focused)}"]`))?.focus();
    about.draw();
    availability.draw();
    view.drawHead();
    document.title = `${desk.waiting.length > 0 ? `(${desk.waiting.length}) ` : ""}Console · Parley`;
  }

  function keysDialog() {
    const known = [["c", "Claim: the one shown, or who waits longest"], ["n", "The next one of mine"], ["Ctrl K", "Jump to a conversation"], ["r", "Write a reply"], ["m", "Write a note"], ["e", "Close the conversation"], ["t", "Hand it over"], ["i", "About the visitor"], ["a", "Available, or away"], ["/", "A canned reply, in the composer"], ["↑", "Edit what you wrote last, in the empty composer"], ["Esc", "Leave the composer"]];
    openDialog({ title: "Keys" }, () => [
      h("dl", { class: "keys" }, ...known.map(([key, what]) => h("div", null, h("dt", null, h("kbd", null, key)), h("dd", null, what)))),
    ]);
  }

  /** @param {KeyboardEvent} event */
  function key(event) {
    if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      if (!document.querySelector("dialog[open]")) jumpDialog(desk, () => view.focusTarget);
      return;
    }
    const target = /** @type {Element} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, textarea, dialog")) return;
    const shown = desk.conversations.get(desk.current?.id ?? "");
    /** @type {Record<string, () => unknown>} */
    const deeds = {
      c: () => desk.claim(shown?.status === "queued" ? shown.id : undefined).catch(() => {}),
      n: () => desk.next(),
      r: () => view.write(false),
      m: () => view.write(true),
      e: () => shown && shown.status !== "closed" && desk.ask("conversation.close", shown.id).catch(() => {}),
      t: () => view.handOver(),
      i: () => showAbout(frame.dataset.about !== "open"),
      a: () => availability.toggle(),
      "?": keysDialog,
    };
    const deed = Object.hasOwn(deeds, event.key) && deeds[event.key];
    if (!deed) return;
    event.preventDefault();
    void deed();
  }

  /** Where it is narrow, the visitor's side lies over the conversation. @param {boolean} isShown */
  function showAbout(isShown) {
    if (!desk.current) return;
    frame.dataset.about = isShown ? "open" : "closed";
    view.aboutButton.setAttribute("aria-expanded", String(isShown));
    if (isShown) /** @type {HTMLElement|null} */ (about.element.querySelector("button"))?.focus();
    else view.aboutButton.focus();
  }

  const abort = new AbortController();
  const { signal } = abort;
  const seen = () => {
    if (document.visibilityState !== "visible") return;
    parley.nudge();
    // What came meanwhile is read now.
    desk.current?.read();
  };
  addEventListener("keydown", key, { signal });
  addEventListener("online", () => parley.nudge(), { signal });
  document.addEventListener("visibilitychange", seen, { signal });
  const times = setInterval(() => {
    refreshTimes(app);
    if (document.visibilityState === "visible") void desk.refresh();
  }, TIMES_MS);
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  let hiding;
  view.back = () => {
    const left = desk.current?.id ?? "";
    // What comes from now on is not seen: it must not count as read.
    desk.leave();
    /** @type {HTMLElement|null} */ (lists.querySelector(`[data-id="${CSS.escape(left)}"]`))?.focus();
  };
  view.aboutButton.addEventListener("click", () => showAbout(frame.dataset.about !== "open"));
  about.leave = () => showAbout(false);
  about.element.addEventListener("keydown", (event) => event.key === "Escape" && frame.dataset.about === "open" && showAbout(false));
  strip.retry = () => parley.nudge();
  strip.signIn = () => (parley.state.name === "held" ? signInDialog(parley, () => view.focusTarget) : finish());
  desk.on("changed", draw);
  desk.on("current", (talk) => {
    frame.dataset.pane = talk ? "talk" : "lists";
    frame.dataset.about = "closed";
    view.aboutButton.setAttribute("aria-expanded", "false");
    view.show(talk);
  });
  desk.on("waiting", ({ visitor }) => bell.ring("Somebody is waiting", visitor.name || "A visitor"));
  desk.on("news", ({ name, text }) => document.hidden && bell.ring(name, text));
  desk.on("trouble", ({ code }) => {
    const words = { already_claimed: "Somebody else was faster.", limit_exceeded: "You have as many as you may have at once." };
    fill(toast, icon("warning"), /** @type {any} */ (words)[code] ?? "That did not work.", " ", h("span", { class: "code" }, code));
    toast.hidden = false;
    clearTimeout(hiding);
    hiding = setTimeout(() => (toast.hidden = true), 8_000);
  });
  const offs = [
    parley.on("state", (state) => {
      strip.show(state);
      if (state.name === "ended" && state.reason === "signed_out") finish();
    }),
    // Somebody else signed in, or is no agent any more: what is here is not theirs to see.
    parley.on("session", (now) => {
      if (now.subject !== session.subject || !isStaff(now)) return finish();
      desk.me = now;
      draw();
    }),
  ];
  function finish() {
    for (const off of offs) off();
    abort.abort();
    clearInterval(times);
    desk.close();
    for (const dialog of document.querySelectorAll("dialog")) dialog.close();
    parley.disconnect();
    void begin();
  }
  draw();
  view.show(null);
  desk.open();
}

void begin();
