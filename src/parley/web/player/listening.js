/**
 * Listening to one stream: what is on, whether it is heard, and what is in the way. Draws nothing.
 * @module
 */

import { Emitter } from "../client/emitter.js";
import { streamPath, ticket } from "./asking.js";
import { KeptLine } from "./kept_line.js";
import { MediaSpeaker, canPlayStreams } from "./media_speaker.js";
import { readPages } from "./ogg.js";
import { OpusReader, RATE } from "./opus.js";
import { Speaker, canDecode } from "./speaker.js";

/**
 * What one sees: `connecting`; `off` the air; `ready` to be played; `buffering`; `live`; `gap` (on the air, but nothing comes);
 * `reconnecting`; `held` for a sign-in; `ended`.
 * @typedef {"connecting"|"off"|"ready"|"buffering"|"live"|"gap"|"reconnecting"|"held"|"ended"} Phase
 *
 * @typedef {{changed: null, reading: import("./speaker.js").Reading}} ListeningEvents
 */

/** So much of the newest sound is kept before play is pressed, so that it starts with the press. */
const RECENT_S = 0.3;
/** Without a page for so long, a broadcast has a gap. */
const GAP_MS = 1_000;
/** On the air, a line without a page for so long is dead; the server cuts a broadcaster that stalls for 10 s. */
const SILENCE_LIVE_MS = 13_000;
const SILENCE_MS = 45_000;
/** A page that is only looked at gives its line back. */
const IDLE_MS = 60_000;
const TICK_MS = 250;
/** A browser that lets sound begin by itself does so at once: on a busy machine within this. */
const ALLOWED_MS = 3_000;
/** For so long a loss is worth a word. */
const LOSS_MS = 5_000;
/** What could not be played is not tried again at once. */
const BROKEN_MS = 2_000;

/** @extends {Emitter<ListeningEvents>} */
export class Listening extends Emitter {
  /** @type {import("./asking.js").Stream|null} */
  stream = null;
  /** Whether sound is wanted: null until somebody said. @type {boolean|null} */
  wants = null;
  /** @type {import("./speaker.js").Reading|null} */
  reading = null;
  /** Whether sound was wanted and could not be opened. */
  isBroken = false;
  /** Whether this browser can, in one way or the other. */
  canPlay = true;

  #name;
  #signIn;
  #line;
  #opus = new OpusReader();
  /** @type {import("./opus.js").Head|null} */
  #head = null;
  /** @type {import("./opus.js").Packet[]} */
  #recent = [];
  /** @type {Speaker|null} */
  #speaker = null;
  /** Whether the speaker takes packets. */
  #isReady = false;
  /** @type {MediaSpeaker|null} */
  #media = null;
  #isDecoding = true;
  #hasPlayed = false;
  #pageMs = -Infinity;
  #lossMs = -Infinity;
  #volume = 1;
  #idleMs = 0;
  /** @type {ReturnType<typeof setInterval>|undefined} */
  #ticking;

  /**
   * @param {string} name of the stream
   * @param {import("../client/credentials.js").SignIn} signIn
   */
  constructor(name, signIn) {
    super();
    this.#name = name;
    this.#signIn = signIn;
    this.#line = new KeptLine({ path: `${streamPath(name)}/listen`, stream: name, signIn, needsToken: false, retryMaxMs: 10_000 });
    this.#line.on("state", ({ name: state }) => {
      if (state === "held" || state === "ended") this.#silence();
      // Whether it is live is told anew with the next line. What was held goes on by itself; what ended does not.
      if ((state === "held" || state === "ended") && this.stream) this.stream = { ...this.stream, live: false };
      if (state === "ended") this.wants = false;
      this.emit("changed", null);
    });
    this.#line.on("sound", (bytes) => this.#hear(bytes));
    this.#line.on("notice", ({ method, params }) => {
      if (method === "signal" && params.type === "stream.changed") this.#told(params.data.stream);
    });
  }

  /** Look at the stream; where it is off the air, wait for it. */
  async start() {
    this.#isDecoding = await canDecode();
    this.canPlay = this.#isDecoding || canPlayStreams();
    if (!this.canPlay) return this.emit("changed", null);
    this.#ticking ??= setInterval(() => this.#tick(), TICK_MS);
    this.#line.start();
  }

  /** Somebody looks again, or the network is back: what waits is tried now. What ended stays so. */
  wake() {
    this.#idleMs = 0;
    if (this.wants) this.#speaker?.wake();
    this.#line.nudge();
    if (this.#media === null && this.#line.state.name === "idle" && this.canPlay) this.#line.start();
  }

  /** Somebody signed in, or wants to try again whatever happened. */
  resume() {
    this.wake();
    if (this.#media === null && this.canPlay) this.#line.start();
    if (this.wants && this.#isDecoding && !this.#speaker) void this.#open(new Speaker());
  }

  /** @returns {import("./kept_line.js").LineState} */
  get line() {
    return this.#line.state;
  }

  /** @returns {Phase} */
  get phase() {
    const { name } = this.#line.state;
    if (!this.canPlay) return "ended";
    if (name === "held" || name === "ended") return name;
    if (this.wants && this.reading?.isPlaying) return "live";
    if (this.#media === null && name !== "open" && !(name === "idle" && this.stream)) return this.stream ? "reconnecting" : "connecting";
    if (!this.isLive) return this.stream ? "off" : "connecting";
    if (!this.wants) return "ready";
    return this.#hasPlayed && performance.now() - this.#pageMs > GAP_MS && this.#media === null ? "gap" : "buffering";
  }

  /** Whether somebody is on the air. */
  get isLive() {
    return this.stream?.live === true || performance.now() - this.#pageMs < GAP_MS;
  }

  /** Whether pages were missing lately: the server passes over who takes them too slowly. */
  get isLossy() {
    return performance.now() - this.#lossMs < LOSS_MS;
  }

  /** @param {number} volume 0 to 1 */
  set volume(volume) {
    this.#volume = volume;
    for (const speaker of [this.#speaker, this.#media]) if (speaker) speaker.volume = volume;
  }

  /** To be called where somebody pressed: a browser lets sound begin only there. */
  play() {
    this.wants = true;
    this.isBroken = false;
    this.resume();
    if (!this.#isDecoding) this.#playMedia();
    this.emit("changed", null);
  }

  stop() {
    this.wants = false;
    this.#silence();
    if (!this.#isDecoding) this.#line.start();
    this.emit("changed", null);
  }

  #silence() {
    this.#speaker?.close();
    this.#media?.close();
    this.#speaker = null;
    this.#media = null;
    this.#isReady = false;
    this.reading = null;
    this.#hasPlayed = false;
  }

  /** @param {Speaker} speaker */
  async #open(speaker) {
    this.#speaker = speaker;
    speaker.volume = this.#volume;
    speaker.told = (reading) => this.#read(reading);
    try {
      await speaker.open();
    } catch {
      // Its module could not be loaded, or the page is going: play can be pressed again.
      if (speaker === this.#speaker) {
        this.#silence();
        this.isBroken = this.wants === true;
        if (this.wants) this.wants = false;
      }
      this.emit("changed", null);
      return;
    }
    if (speaker !== this.#speaker) return;
    if (this.#head) speaker.begin(this.#head);
    const recent = this.#recent.splice(0);
    if (performance.now() - this.#pageMs < Math.max(GAP_MS, lengthOf(recent) * 1000)) speaker.play(recent);
    this.#isReady = true;
  }

  /** @param {import("./speaker.js").Reading} reading */
  #read(reading) {
    const wasPlaying = this.reading?.isPlaying;
    this.reading = reading;
    if (reading.isPlaying) this.#hasPlayed = true;
    this.emit("reading", reading);
    if (wasPlaying !== reading.isPlaying) this.emit("changed", null);
  }

  async #playMedia() {
    if (this.#media || !this.isLive) return;
    const media = (this.#media = new MediaSpeaker());
    media.volume = this.#volume;
    media.told = (reading) => this.#read(reading);
    media.ended = (isBroken) => {
      if (media !== this.#media) return;
      this.#silence();
      // It is played again once the socket says that it is live.
      if (this.stream) this.stream = { ...this.stream, live: false };
      setTimeout(() => this.#media === null && this.#line.start(), isBroken ? BROKEN_MS : 0);
      this.emit("changed", null);
    };
    // The stream comes by one way or by the other; what is on was told already.
    this.#line.stop();
    const token = await this.#signIn.isKept().then((isKept) => (isKept ? this.#signIn.access() : null)).catch(() => null);
    const query = token === null ? "" : `?ticket=${encodeURIComponent(await ticket(token).catch(() => ""))}`;
    if (media === this.#media) await media.play(streamPath(this.#name) + query);
  }

  /** @param {import("./asking.js").Stream} stream */
  #told(stream) {
    const wasLive = this.stream?.live;
    this.stream = stream;
    this.#line.silenceMs = stream.live ? SILENCE_LIVE_MS : SILENCE_MS;
    if (stream.live && wasLive === false) this.#begins();
    if (!stream.live) this.#hasPlayed = false;
    this.emit("changed", null);
  }

  /** It went live while we waited. */
  #begins() {
    if (this.wants && !this.#isDecoding) this.#playMedia();
    if (this.wants !== null || this.#speaker || !this.#isDecoding) return;
    // Nobody pressed anything, but was here: it starts by itself where the browser lets it.
    const speaker = new Speaker();
    const sinceMs = performance.now();
    void this.#open(speaker);
    const looking = setInterval(() => {
      const isOurs = speaker === this.#speaker && this.wants === null;
      if (isOurs && !speaker.isRunning && performance.now() - sinceMs < ALLOWED_MS) return;
      clearInterval(looking);
      if (!isOurs) return;
      if (speaker.isRunning) this.wants = true;
      else this.#silence();
      this.emit("changed", null);
    }, TICK_MS);
  }

  /** @param {Uint8Array} bytes */
  #hear(bytes) {
    this.#pageMs = performance.now();
    for (const page of readPages(bytes)) {
      const heard = this.#opus.take(page);
      if (heard === null) continue;
      if ("head" in heard) {
        this.#head = heard.head;
        this.#recent = [];
        if (!this.#isReady) continue;
        if (!this.reading?.isPlaying) this.#speaker?.drop();
        this.#speaker?.begin(heard.head);
      } else {
        this.#take(heard.packets);
      }
    }
  }

  /** @param {import("./opus.js").Packet[]} packets */
  #take(packets) {
    if (packets.some(({ isAfterLoss }) => isAfterLoss)) this.#lossMs = performance.now();
    if (this.#speaker && this.#isReady) {
      this.#speaker.play(packets);
      return;
    }
    this.#recent.push(...packets);
    // A page that is longer stays whole: the next comes when it has been heard.
    const most = Math.max(RECENT_S, lengthOf(packets));
    while (lengthOf(this.#recent) > most) this.#recent.shift();
  }

  #tick() {
    // What is seen hangs on time too: a gap begins when nothing came for a while.
    this.emit("changed", null);
    this.#idleMs = this.wants || !this.isLive || !this.#line.isOpen ? 0 : this.#idleMs + TICK_MS;
    if (this.#idleMs >= IDLE_MS) {
      this.#idleMs = 0;
      this.#line.stop();
    }
  }
}

/** @param {import("./opus.js").Packet[]} packets @returns {number} seconds */
const lengthOf = (packets) => packets.reduce((sum, { samples }) => sum + samples, 0) / RATE;
