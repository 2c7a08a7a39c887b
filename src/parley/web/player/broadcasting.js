/**
 * Broadcasting to one stream: the lease asked for, sound encoded and sent, the place kept over lost lines. Draws nothing.
 * @module
 */

import { peek } from "../client/credentials.js";
import { Emitter } from "../client/emitter.js";
import { describe, streamPath } from "./asking.js";
import { CHANNELS, Encoder } from "./encoder.js";
import { KeptLine } from "./kept_line.js";
import { OpusWriter } from "./opus.js";

/**
 * What one sees: `off` the air (`said` tells why it ended, where it did not end by us), `opening`, `on_air`, `reconnecting`,
 * `held` for a sign-in.
 * @typedef {"off"|"opening"|"on_air"|"reconnecting"|"held"} Phase
 *
 * @typedef {{changed: null}} BroadcastingEvents
 */

/** After a cut the server keeps our place for so long. */
export const GRACE_S = 10;
/** It may notice a dead line only when pages stay away for 10 s: until then our own old line is in our way. */
const OWN_PLACE_MS = 25_000;
/** Sound that the network holds up is kept for so long (at 12 KB a second); what is older is of no use to anybody. */
const UNSENT_BYTES_MAX = 64_000;
/** Whether the line lives is asked by us: there is nothing that has to come on it. */
const PULSE_MS = 3_000;
const PULSE_MISSED_MS = 4_500;

/** @extends {Emitter<BroadcastingEvents>} */
export class Broadcasting extends Emitter {
  /** @type {import("./asking.js").Stream|null} */
  stream = null;
  /** As whom one is signed in. */
  me = "";
  /** Why it ended. @type {string|null} */
  said = null;
  /** When we went on the air, as `performance.now()` tells it. @type {number|null} */
  sinceMs = null;
  /** The network takes less than we send. */
  isSlow = false;
  /** Renewing the token needs a person. */
  needsSignIn = false;

  #name;
  #signIn;
  #line;
  #encoder = new Encoder();
  /** @type {OpusWriter|null} */
  #writer = null;
  #wants = false;
  /** Whether the server gave us the place on this line: it tells of the stream then. */
  #isOurs = false;
  /** When the line was lost. @type {number|null} */
  #lostMs = null;
  /** @type {ReturnType<typeof setInterval>|undefined} */
  #pulse;

  /**
   * @param {string} name of the stream
   * @param {import("../client/credentials.js").SignIn} signIn
   */
  constructor(name, signIn) {
    super();
    this.#name = name;
    this.#signIn = signIn;
    this.#line = new KeptLine({
      path: `${streamPath(name)}/publish`,
      stream: name,
      signIn,
      needsToken: true,
      retryMaxMs: 1_500,
      isOver: (end) => this.#isOver(end),
    });
    this.#line.on("state", (state) => this.#moved(state));
    this.#line.on("notice", ({ method, params }) => this.#hear(method, params));
    this.#encoder.packet = (packet) => this.#send(packet);
  }

  /** @returns {import("./kept_line.js").LineState} */
  get line() {
    return this.#line.state;
  }

  /** @returns {Phase} */
  get phase() {
    if (!this.#wants) return "off";
    if (this.#line.state.name === "held") return "held";
    if (this.sinceMs === null) return "opening";
    return this.#writer ? "on_air" : "reconnecting";
  }

  /** Seconds until the place may be somebody else's, while the line is lost. */
  get graceLeftS() {
    return this.#lostMs === null ? GRACE_S : Math.max(0, GRACE_S - (performance.now() - this.#lostMs) / 1000);
  }

  /** @returns {Promise<void>} rejects with the refusal */
  async look() {
    const token = await this.#signIn.access();
    const before = this.stream;
    const found = await describe(this.#name, token);
    // What the line told meanwhile, or our own end, is newer; but it says nothing of what one may.
    this.stream = this.stream === before ? found : { ...found, ...this.stream };
    this.me = String(peek(token).name ?? "");
    this.emit("changed", null);
  }

  go() {
    this.#wants = true;
    this.said = null;
    this.#line.start();
    this.#pulse ??= setInterval(() => void this.#beat(), PULSE_MS);
    this.emit("changed", null);
  }

  stop() {
    if (this.#writer) this.#line.send(this.#writer.end());
    this.#end(null);
  }

  /** Somebody signed in, or the network is back. */
  resume() {
    if (this.needsSignIn) this.#line.renew();
    this.needsSignIn = false;
    if (!this.#wants) return;
    this.#line.nudge();
    this.#line.start();
    this.emit("changed", null);
  }

  /** @param {import("./capture.js").Frame} frame */
  take({ planes }) {
    if (this.#wants) this.#encoder.encode(planes);
  }

  /** @param {Uint8Array} packet */
  #send(packet) {
    if (!this.#isOurs) return;
    const isSlow = this.#line.unsentBytes > UNSENT_BYTES_MAX;
    if (isSlow !== this.isSlow) {
      this.isSlow = isSlow;
      this.emit("changed", null);
    }
    if (isSlow) return;
    if (!this.#writer) {
      // Each line carries a stream of its own, headers first: the server joins them.
      const [serial] = crypto.getRandomValues(new Uint32Array(1));
      this.#writer = new OpusWriter({ channels: CHANNELS, preSkip: this.#encoder.preSkip, serial });
      this.#line.send(this.#writer.headers());
      this.sinceMs ??= performance.now();
      this.#lostMs = null;
      this.emit("changed", null);
    }
    const page = this.#writer.add(packet);
    if (page) this.#line.send(page);
  }

  /** @param {import("./kept_line.js").LineState} state */
  #moved({ name, reason }) {
    if (name !== "open" && this.#isOurs) {
      this.#isOurs = false;
      this.#writer = null;
      this.#lostMs = performance.now();
    }
    if (name === "ended") this.#end(reason ?? "lost");
    else this.emit("changed", null);
  }

  /** @param {string} method @param {any} params */
  #hear(method, params) {
    if (method === "signal" && params.type === "stream.changed") {
      this.stream = params.data.stream;
      this.#isOurs = true;
    } else if (method === "sign_in_needed") this.needsSignIn = true;
    else return;
    this.emit("changed", null);
  }

  /** @param {import("./line.js").LineEnd} end */
  #isOver({ code, reason }) {
    if (code === 4409 && this.#lostMs !== null) return performance.now() - this.#lostMs > OWN_PLACE_MS;
    return [1002, 1003, 1007, 1009, 4400, 4403, 4408, 4409].includes(code) || (code === 4429 && reason === "rate_limited");
  }

  /** @param {string|null} why */
  #end(why) {
    this.said = why;
    this.#wants = false;
    clearInterval(this.#pulse);
    this.#pulse = undefined;
    this.#writer = null;
    this.#isOurs = false;
    this.#encoder.close();
    this.sinceMs = null;
    this.#lostMs = null;
    this.isSlow = false;
    this.needsSignIn = false;
    this.#line.stop();
    if (this.stream) this.stream = { ...this.stream, live: false };
    // Who has the place now, and whether it may be ours at all, is a part of why it is not.
    if (why === "already_live" || why === "forbidden") void this.look().catch(() => {});
    this.emit("changed", null);
  }

  /** Any answer proves that the line lives; none gives it up while the place is still ours. */
  async #beat() {
    if (!this.#line.isOpen) return;
    const { state } = this.#line;
    const timer = setTimeout(() => state === this.#line.state && this.#line.redial("silent"), PULSE_MISSED_MS);
    await this.#line.call("session.describe").catch(() => {});
    clearTimeout(timer);
  }
}
