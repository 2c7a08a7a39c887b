/**
 * The page at `/`: who is here signs in and is led to their rooms; here the parts of the page meet.
 * @module
 */

import "../elements/composer.js";
import "../elements/log.js";
import "../elements/strip.js";
import { refreshTimes } from "../elements/time.js";
import { fill, h, icon } from "../elements/dom.js";
import { Parley, ParleyError } from "../parley.js";
import { accountDialog, browseDialog, createDialog, jumpDialog, keysDialog } from "./dialogs.js";
import { PeoplePane } from "./people.js";
import { RoomList } from "./room_list.js";
import { RoomView } from "./room_view.js";
import { signInDialog, signInPage } from "../elements/sign_in.js";
import { Workspace } from "./workspace.js";

const TIMES_MS = 20_000;
/** How soon the rooms are asked for again where the server had trouble with it. */
const AGAIN_MS = 2_000;

const app = /** @type {HTMLElement} */ (document.getElementById("app"));

/** @param {string} [note] */
async function begin(note) {
  const parley = new Parley();
  for (let isSignedIn = await parley.isSignInKept; ; ) {
    if (!isSignedIn) await signInPage(app, parley, note);
    fill(app, h("div", { class: "waiting", role: "status" }, h("span", null, "Connecting…")));
    try {
      const workspace = await enter(parley);
      workspace.resume();
      return run(parley, workspace);
    } catch (error) {
      // A bug of ours: told as one, and not by "Connecting…" for ever.
      if (!(error instanceof ParleyError)) reportError(error);
      const refusal = error instanceof ParleyError ? error : null;
      note = refusal?.code === "sign_in_needed" ? undefined : "Please sign in again.";
      // A line that was cut just now comes back by itself: that needs nobody's password.
      isSignedIn = refusal !== null && refusal.passing && parley.state.name !== "held" && parley.state.name !== "ended";
      if (refusal && parley.state.name === "live") await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}

/** @param {Parley} parley */
async function enter(parley) {
  const workspace = new Workspace(parley, await parley.connect());
  try {
    await workspace.look();
    return workspace;
  } catch (error) {
    workspace.close();
    throw error;
  }
}

/**
 * @param {Parley} parley
 * @param {Workspace} workspace
 */
function run(parley, workspace) {
  const { subject } = workspace.me;
  const strip = /** @type {import("../elements/strip.js").ParleyStrip} */ (document.createElement("parley-strip"));
  const frame = h("div", { class: "frame", "data-pane": "rooms" });
  const isNarrow = () => matchMedia("(max-width: 719px)").matches;
  /** On a phone one pane is seen at a time. @param {"rooms"|"room"|"people"} name */
  const pane = (name) => void (frame.dataset.pane = name);
  const view = new RoomView(workspace, {
    back: () => pane("rooms"),
    togglePeople: () => (isNarrow() ? pane("people") : void frame.toggleAttribute("data-people-toggled")),
  });
  const focusComposer = () => view.focusTarget;
  const dialogs = {
    create: () => createDialog(workspace, focusComposer),
    browse: () => browseDialog(workspace, focusComposer),
    jump: () => jumpDialog(workspace, focusComposer),
    keys: () => keysDialog(focusComposer),
    account: () => accountDialog(workspace, { signOut: () => parley.logout(), keys: () => dialogs.keys() }, focusComposer),
  };
  const list = new RoomList(workspace, dialogs);
  const people = new PeoplePane(workspace, () => {
    pane("room");
    if (!isNarrow()) frame.removeAttribute("data-people-toggled");
    view.focusPeopleToggle();
  });
  fill(frame, list.element, h("main", { class: "middle" }, strip, view.element), people.element);
  fill(app, frame);

  strip.retry = () => parley.nudge();
  strip.signIn = () => {
    if (parley.state.name === "ended" && parley.state.reason === "replaced") void parley.connect().catch(() => {});
    else if (parley.state.name === "ended") finish("Please sign in again.");
    else signInDialog(parley, focusComposer);
  };
  strip.show(parley.state);

  const offs = [
    parley.on("state", (state) => {
      strip.show(state);
      if (state.name !== "ended" || state.reason !== "signed_out") return;
      finish();
      // In every tab, and after the last draft was saved.
      workspace.kept.forget();
    }),
    // Somebody else signed in where this one was asked to: what is before their eyes is not theirs.
    parley.on("session", (session) => session.subject !== subject && finish()),
    workspace.on("rooms", () => title()),
    workspace.on("current", (room) => {
      if (room && location.hash !== hashOf(room.id)) history.pushState(null, "", hashOf(room.id));
      if (room) pane("room");
      title();
    }),
  ];

  function title() {
    const { unread, current } = workspace;
    document.title = `${unread > 0 ? `(${unread > 99 ? "99+" : unread}) ` : ""}${current ? `${current.title} · ` : ""}Parley`;
  }

  function follow() {
    const room = workspace.rooms.get(named());
    if (room && room !== workspace.current) workspace.show(room);
    else if (!room && isNarrow()) pane("rooms");
  }

  /** @param {string} [note] */
  function finish(note) {
    for (const off of offs.splice(0)) off();
    abort.abort();
    clearInterval(times);
    view.close();
    workspace.close();
    for (const dialog of document.querySelectorAll("dialog")) dialog.close();
    document.title = "Parley";
    parley.disconnect();
    void begin(note);
  }

  const abort = new AbortController();
  const { signal } = abort;
  addEventListener("popstate", follow, { signal });
  addEventListener("online", () => parley.nudge(), { signal });
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && parley.nudge(), { signal });
  addEventListener(
    "keydown",
    (event) => {
      if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "k") {
        event.preventDefault();
        if (!document.querySelector("dialog")) dialogs.jump();
      } else if (event.key === "?" && !isTyping(event.target) && !document.querySelector("dialog")) {
        event.preventDefault();
        dialogs.keys();
      }
    },
    { signal },
  );
  const times = setInterval(() => refreshTimes(app), TIMES_MS);

  const asked = workspace.rooms.get(named());
  const first = asked ?? workspace.sorted.find(({ unread }) => unread > 0) ?? workspace.sorted[0] ?? null;
  if (first) history.replaceState(null, "", hashOf(first.id));
  workspace.show(first);
  title();
}

/** The room that the address names; an address may say anything. */
function named() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

/** @param {string} id */
const hashOf = (id) => `#${encodeURIComponent(id)}`;

/** @param {EventTarget|null} target */
const isTyping = (target) => target instanceof Element && target.closest("input, textarea, select") !== null;

// The sprite is fetched before the first icon is drawn, so that none appears late.
icon("send");
void begin();
