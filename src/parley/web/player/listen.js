/**
 * The page at `/listen/{stream}`: one large button, and what is on.
 * What is known of the stream is `listening.js`'s.
 * @module
 */

import "./meter.js";
import { openDialog } from "../elements/dialog.js";
import { bdi, fill, h, icon, iconButton } from "../elements/dom.js";
import { signInPage } from "../elements/sign_in.js";
import { broadcasterName, streamOfPage } from "./asking.js";
import { asClock, drawFrame, isTaken, keptSignIn, listenersInWords, put, sinceTime } from "./frame.js";
import { Listening } from "./listening.js";
import { CANNOT_PLAY, listeningEnded } from "./words.js";

const VOLUME = "parley.volume";
const VOLUME_STEP = 0.05;

const app = /** @type {HTMLElement} */ (document.getElementById("app"));
const name = streamOfPage();
const signIn = keptSignIn();
const listening = new Listening(name, signIn);

/** @type {Record<import("./listening.js").Phase, string>} */
const BADGE = {
  connecting: "Connecting",
  off: "Off air",
  ready: "On air",
  buffering: "Buffering",
  live: "Live",
  gap: "Gap",
  reconnecting: "Reconnecting",
  held: "Sign in",
  ended: "Ended",
};

const badge = h("span", { class: "badge-text" });
const title = h("h1", null, name);
const about = h("p", { class: "about" });
const playIcon = h("span", { class: "play-icon" });
const play = h("button", { type: "button", class: "play", on: { click: toggle } }, h("span", { class: "play-ring" }), playIcon);
const position = h("span", { class: "clock" });
const meter = /** @type {import("./meter.js").ParleyMeter} */ (h(/** @type {any} */ ("parley-meter"), { "aria-label": "Level" }));
const mute = iconButton("sound", "Mute", () => setVolume(volume > 0 ? 0 : loud));
const slider = h("input", { type: "range", min: "0", max: "100", step: "1", id: "volume", "aria-label": "Volume" });
const listeners = h("p", { class: "listeners" });
const status = h("span", { role: "status" });
const seconds = h("span", { "aria-hidden": "true", class: "seconds" });
const code = h("span", { class: "code" });
const action = h("button", { type: "button", class: "link", hidden: true });
const card = h(
  "main",
  { class: "player-card listen" },
  h("p", { class: "badge" }, h("span", { class: "badge-dot" }), badge),
  title,
  about,
  h("div", { class: "play-place" }, h("span", { class: "halo" }), play),
  h("p", { class: "position", title: "Where in the broadcast you are" }, h("span", { class: "unseen" }, "Live position "), position),
  meter,
  h("p", { class: "said" }, status, " ", seconds, " ", code, " ", action),
  h("div", { class: "player-foot" }, h("div", { class: "volume" }, mute, slider), listeners),
);

let volume = keptVolume();
/** What unmuting goes back to. */
let loud = volume || 0.8;

function keptVolume() {
  try {
    const kept = Number.parseFloat(localStorage.getItem(VOLUME) ?? "");
    return kept >= 0 && kept <= 1 ? kept : 0.8;
  } catch {
    return 0.8;
  }
}

/** @param {number} to 0 to 1 */
function setVolume(to) {
  volume = Math.min(1, Math.max(0, to));
  if (volume > 0) loud = volume;
  try {
    localStorage.setItem(VOLUME, String(volume));
  } catch {
    // Without storage it is set again next time.
  }
  drawVolume();
}

function drawVolume() {
  listening.volume = volume;
  slider.value = String(Math.round(volume * 100));
  const label = volume > 0 ? "Mute" : "Unmute";
  mute.setAttribute("aria-label", label);
  mute.title = label;
  fill(mute, icon(volume > 0 ? "sound" : "muted"));
}

function toggle() {
  if (listening.wants) listening.stop();
  else listening.play();
}

/** What is said below the button, and the one thing to do. */
function words() {
  const { phase, line, wants } = listening;
  switch (phase) {
    case "off":
      return wants ? "Waiting. It starts by itself when somebody goes on the air." : "Nobody is on the air. Press play, and it starts by itself when somebody is.";
    case "ready":
      return listening.isBroken ? "The sound could not be opened. Press play to try again." : "Press play to listen.";
    case "live":
      return listening.isLossy ? "Your network is slow: some of the sound is missing." : "";
    case "buffering":
      return "One moment.";
    case "gap":
      return "The broadcaster’s line was cut. It goes on by itself when they are back.";
    case "reconnecting":
      return "Your connection was lost. It goes on by itself.";
    case "ended":
      return listening.canPlay ? listeningEnded(line.reason ?? "") : CANNOT_PLAY;
    default:
      return "";
  }
}

function draw() {
  const { phase, stream, line, wants, reading } = listening;
  if (phase === "held") return void askSignIn();
  card.dataset.phase = phase;
  card.toggleAttribute("data-wants", wants === true);
  put(badge, BADGE[phase]);
  put(title, stream?.title || name);
  document.title = `${phase === "live" ? "▶ " : ""}${stream?.title || name} · Parley`;
  drawAbout();
  const label = wants ? "Stop" : "Play";
  if (play.getAttribute("aria-label") !== label) {
    play.setAttribute("aria-label", label);
    fill(playIcon, icon(wants ? "stop" : "play"));
  }
  play.disabled = phase === "connecting" || !listening.canPlay || (phase === "ended" && line.reason === "not_found");
  const startedMs = stream?.started_at ? Date.parse(stream.started_at) : NaN;
  const at = reading && Number.isFinite(reading.at) ? reading.at : (Date.now() - startedMs) / 1000;
  put(position, wants && listening.isLive && Number.isFinite(at) ? asClock(at) : "");
  put(listeners, stream?.listeners === undefined || !listening.isLive ? "" : listenersInWords(stream.listeners));
  put(status, words());
  put(code, phase === "ended" ? (line.reason ?? "") : "");
  const leftS = phase === "reconnecting" && line.retryAtMs !== undefined ? Math.ceil((line.retryAtMs - Date.now()) / 1000) : 0;
  put(seconds, leftS > 1 ? `Next try in ${leftS} s.` : "");
  const canSignIn = phase === "ended" && line.reason === "revoked";
  action.hidden = leftS <= 1 && !canSignIn;
  put(action, canSignIn ? "Sign in" : "Try now");
  action.onclick = () => (canSignIn ? askSignIn() : listening.resume());
  if (phase !== "live") meter.clear();
}

let aboutKey = "";

function drawAbout() {
  const { stream } = listening;
  const who = stream ? broadcasterName(stream) : "";
  const at = listening.isLive ? (stream?.started_at ?? "") : "";
  const key = `${who} ${at} ${listening.isLive}`;
  if (key === aboutKey) return;
  aboutKey = key;
  if (!stream || !listening.isLive) fill(about);
  else fill(about, who ? bdi(who) : "Somebody", " is on the air", at ? " since " : "", at ? sinceTime(at) : null);
}

let isAsking = false;

async function askSignIn() {
  if (isAsking) return;
  isAsking = true;
  document.title = "Sign in · Parley";
  await signInPage(app, signIn, "This stream is for members.");
  isAsking = false;
  drawFrame(app, card);
  play.focus();
  listening.resume();
}

function keysDialog() {
  const known = [["Space", "Play or stop"], ["m", "Mute"], ["↑ ↓", "Volume"]];
  openDialog({ title: "Keys", returnTo: () => play }, () => [
    h("dl", { class: "keys" }, ...known.map(([key, what]) => h("div", null, h("dt", null, h("kbd", null, key)), h("dd", null, what)))),
  ]);
}

/** @param {KeyboardEvent} event */
function key(event) {
  const target = /** @type {Element} */ (event.target);
  if (isTaken(event) || isAsking) return;
  // A button that has the focus is pressed by the browser.
  if (event.key === " " && target.closest("button, a")) return;
  /** @type {Record<string, () => void>} */
  const deeds = {
    " ": () => play.disabled || toggle(),
    m: () => setVolume(volume > 0 ? 0 : loud),
    ArrowUp: () => setVolume(volume + VOLUME_STEP),
    ArrowDown: () => setVolume(volume - VOLUME_STEP),
    "?": keysDialog,
  };
  if (!Object.hasOwn(deeds, event.key)) return;
  event.preventDefault();
  deeds[event.key]();
}

slider.addEventListener("input", () => setVolume(Number(slider.value) / 100));
addEventListener("keydown", key);
addEventListener("online", () => listening.wake());
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && listening.wake());
signIn.onSignedOut = () => listening.stop();
listening.on("changed", draw);
listening.on("reading", ({ isPlaying, peak, rms }) => {
  if (!isPlaying) return;
  meter.show(peak, rms);
  card.style.setProperty("--level", meter.style.getPropertyValue("--level"));
});
drawFrame(app, card);
drawVolume();
draw();
void listening.start();
