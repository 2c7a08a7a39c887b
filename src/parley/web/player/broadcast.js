/**
 * The page at `/broadcast/{stream}`: choose a source, see its level, go on the air.
 * The line is `broadcasting.js`'s, the sound `capture.js`'s.
 * @module
 */

import "./meter.js";
import { troubleSpot } from "../elements/dialog.js";
import { h, icon } from "../elements/dom.js";
import { signInDialog, signInPage } from "../elements/sign_in.js";
import { broadcasterName, streamOfPage } from "./asking.js";
import { Broadcasting, GRACE_S } from "./broadcasting.js";
import { Capture } from "./capture.js";
import { canEncode } from "./encoder.js";
import { asClock, drawFrame, keptSignIn, listenersInWords, put } from "./frame.js";
import { SourceForm } from "./source_form.js";
import { broadcastEnded, sourceTrouble } from "./words.js";

const LOOK_MS = 5_000;
const TICK_MS = 250;

const app = /** @type {HTMLElement} */ (document.getElementById("app"));
const name = streamOfPage();
const signIn = keptSignIn();
const broadcasting = new Broadcasting(name, signIn);
const capture = new Capture();
const sources = new SourceForm(choose);

/** @type {Record<import("./broadcasting.js").Phase, string>} */
const BADGE = { off: "Off air", opening: "Going live", on_air: "On air", reconnecting: "Reconnecting", held: "Sign in" };

const badge = h("span", { class: "badge-text" });
const title = h("h1", null, name);
const elapsed = h("span", { class: "clock" });
const listeners = h("span", { class: "listeners" });
const meter = /** @type {import("./meter.js").ParleyMeter} */ (
  h(/** @type {any} */ ("parley-meter"), { words: true, "aria-label": "Level of what is recorded" })
);
const status = h("span", { role: "status" });
const seconds = h("span", { "aria-hidden": "true", class: "seconds" });
const action = h("button", { type: "button", class: "link", hidden: true });
const trouble = troubleSpot();
const button = h("button", { type: "button", class: "button leads air", on: { click: press } });
const link = h("a", { class: "hear", href: `/listen/${encodeURIComponent(name)}`, target: "_blank", rel: "noopener" }, "Listening page");
const card = h(
  "main",
  { class: "player-card broadcast" },
  h("p", { class: "badge", role: "status" }, h("span", { class: "badge-dot" }), badge),
  title,
  h("p", { class: "on-air-facts" }, elapsed, listeners),
  sources.element,
  h("div", { class: "level" }, h("span", { class: "level-name", "aria-hidden": "true" }, "Level"), meter),
  trouble.element,
  button,
  h("p", { class: "said" }, status, " ", seconds, " ", action),
  h("div", { class: "player-foot" }, link),
);

/** What stands there for who may not broadcast: it changes by itself once they may. */
const refusedTitle = h("h1", null);
const verdict = h("p", { class: "verdict", role: "status" });
const missing = h("p", { class: "said" });
const facts = h("p", { class: "code" });
const other = h("button", { type: "button", class: "button", on: { click: () => void begin("Sign in as somebody who may broadcast here.") } }, "Sign in as somebody else");
const refused = h("main", { class: "player-card refused" }, refusedTitle, verdict, missing, facts, other, h("div", { class: "player-foot" }, link.cloneNode(true)));
/** Why there is nothing to broadcast on. @type {string|null} */
let refusal = null;
/** What is on the page; null while one signs in. @type {HTMLElement|null} */
let shown = null;

/** The form, or why there is none. */
function place() {
  if (shown === null) return;
  const { phase, stream, me } = broadcasting;
  const mayNot = phase === "off" && (refusal !== null || stream?.may_publish === false);
  put(refusedTitle, stream?.title || name);
  put(verdict, refusal ? broadcastEnded(refusal) : "You may not broadcast here.");
  const why = `You are signed in as ${me}: not this stream’s owner, not one of its publishers, not an admin. Its owner or an admin can make you a publisher.`;
  put(missing, refusal ? "" : why);
  put(facts, refusal ?? `forbidden · stream.set_publishers · owner ${stream?.owner}`);
  if (mayNot && capture.isOpen) {
    capture.close();
    meter.clear();
    sources.unchoose(false);
  }
  const wanted = mayNot ? refused : card;
  if (wanted === shown) return;
  shown = wanted;
  drawFrame(app, wanted);
}

/** The source that was chosen: the same is opened again where it is changed a little. @param {import("./capture.js").Source} source */
async function choose(source) {
  trouble.clear();
  sources.isBusy = true;
  try {
    await capture.open(source);
    sources.opened();
    await sources.list();
  } catch (error) {
    const { code } = /** @type {import("../client/errors.js").ParleyError} */ (error);
    if (!capture.isOpen) meter.clear();
    sources.unchoose(capture.isOpen);
    trouble.tell(sourceTrouble(code), code);
  } finally {
    sources.isBusy = false;
    draw();
  }
}

function press() {
  trouble.clear();
  if (broadcasting.phase !== "off") broadcasting.stop();
  else if (capture.isOpen) broadcasting.go();
  else trouble.tell("Choose first what is to be heard.");
}

/** What is said below the button. */
function words() {
  const { phase, stream, isSlow, needsSignIn } = broadcasting;
  if (phase === "off" && stream?.live) return `${broadcasterName(stream) || "Somebody"} is on the air. Nobody can take their place; it is free when they are done.`;
  if (phase === "off" && !capture.isOpen) return "Choose a source to see its level. Nothing is sent before you go live.";
  if (phase === "off") return "This is what would be heard. Nothing is sent before you go live.";
  if (phase === "held") return "Your sign-in is needed again.";
  if (phase === "reconnecting" && broadcasting.graceLeftS > 0) return `Connection lost. Your place is kept for ${GRACE_S} seconds; listeners hear a gap.`;
  if (phase === "reconnecting") return "Connection lost. Still trying; somebody else may take the place now.";
  if (!capture.isOpen) return "The source is gone: listeners hear silence. Choose one to go on.";
  if (needsSignIn) return "Your sign-in is about to run out.";
  return isSlow ? "Your network is too slow for this: listeners hear gaps." : "";
}

function draw() {
  const { phase, stream, sinceMs, said } = broadcasting;
  card.dataset.phase = phase;
  put(badge, BADGE[phase]);
  put(title, stream?.title || name);
  document.title = `${phase === "on_air" ? "● " : ""}${stream?.title || name} · Broadcast · Parley`;
  put(elapsed, sinceMs === null ? "" : asClock((performance.now() - sinceMs) / 1000));
  put(listeners, sinceMs === null || stream?.listeners === undefined ? "" : listenersInWords(stream.listeners));
  const isOn = phase !== "off";
  put(button, phase === "opening" ? "Cancel" : isOn ? "End broadcast" : "Go live");
  button.classList.toggle("leads", !isOn);
  button.classList.toggle("warns", isOn);
  button.toggleAttribute("data-idle", !isOn && !capture.isOpen);
  put(status, words());
  const leftS = Math.ceil(broadcasting.graceLeftS);
  put(seconds, phase === "reconnecting" && leftS > 0 && leftS < GRACE_S ? `${leftS} s left.` : "");
  const needs = phase === "held" || (isOn && broadcasting.needsSignIn);
  action.hidden = !needs && phase !== "reconnecting";
  put(action, needs ? "Sign in" : "Try now");
  action.onclick = () => (needs ? signInAgain() : broadcasting.resume());
  if (said !== null && said !== shownSaid) {
    if (said === "revoked") void begin("Your sign-in was ended, and the broadcast with it.");
    else trouble.tell(broadcastEnded(said), said);
  }
  shownSaid = said;
  place();
}

/** @type {string|null} */
let shownSaid = null;

function signInAgain() {
  const hint = broadcasting.phase === "held" ? "The broadcast goes on afterwards." : "The broadcast goes on meanwhile.";
  signInDialog(signIn, () => button, hint, () => broadcasting.resume());
}

/** Whoever has no sign-in gets the form; then what the stream is. @param {string} [note] */
async function begin(note) {
  shown = null;
  for (;;) {
    refusal = null;
    if (note !== undefined || !(await signIn.isKept())) await signInPage(app, signIn, note ?? "To broadcast, sign in.");
    try {
      await broadcasting.look();
      break;
    } catch (error) {
      const { code, status, passing } = /** @type {import("../client/errors.js").ParleyError} */ (error);
      if (status === 401) {
        note = "Please sign in again.";
        continue;
      }
      if (passing) trouble.tell("The server cannot be reached. Nothing is lost; reload in a moment.", code);
      else refusal = code;
      break;
    }
  }
  drawFrame(app, (shown = card));
  place();
  await sources.list();
  draw();
}

async function look() {
  if (document.visibilityState !== "visible") return;
  await broadcasting.look().then(() => (refusal = null), () => {});
}

capture.heard = (/** @type {import("./capture.js").Frame} */ frame) => {
  broadcasting.take(frame);
  meter.show(frame.peak, frame.rms);
};
capture.ended = () => {
  meter.clear();
  sources.unchoose(false);
  draw();
};
broadcasting.on("changed", draw);
addEventListener("online", () => broadcasting.resume());
addEventListener("beforeunload", (event) => broadcasting.phase !== "off" && event.preventDefault());
// Others go on and off the air too, and listeners come and go.
setInterval(() => void look(), LOOK_MS);
setInterval(draw, TICK_MS);
navigator.mediaDevices?.addEventListener("devicechange", () => void sources.list());

if (await canEncode()) {
  icon("microphone");
  void begin();
} else {
  const text = isSecureContext
    ? "This browser cannot make Opus. Use a current Chrome, Edge, Firefox or Safari, or send with ffmpeg or “parley broadcast”."
    : sourceTrouble("insecure");
  drawFrame(app, h("main", { class: "player-card" }, h("h1", null, "Broadcast"), h("p", { class: "said" }, text)));
}
