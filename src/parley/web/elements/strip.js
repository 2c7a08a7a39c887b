/**
 * `<parley-strip>`: one calm line that says where the connection stands, and the one thing to do about it.
 * Shown only where there is something to say; the words for every reason are here.
 * @module
 */

import { fill, h, icon } from "./dom.js";

/** @typedef {import("../parley.js").State} State */

/** A connection that is made at once needs no words. */
const PATIENCE_MS = 800;

/** Why it ended, in words; what is not listed is told by its code. @type {Record<string, string>} */
const ENDED = {
  signed_out: "You are signed out.",
  revoked: "Your sign-in was ended.",
  forbidden: "You may no longer use this.",
  replaced: "This tab was closed because you are connected in too many places.",
  bad_request: "The connection ended because of a mistake in this page.",
};

/** @type {Record<string, string>} */
const HELD = {
  token_expired: "Your sign-in has run out.",
  token_revoked: "Your sign-in was ended.",
  invalid_grant: "Your sign-in has run out.",
};

export class ParleyStrip extends HTMLElement {
  /** What its buttons do. */
  signIn = () => {};
  retry = () => {};

  /** @type {ReturnType<typeof setInterval>|undefined} */
  #ticking;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #waiting;
  /** @type {State} */
  #state = { name: "idle" };
  #text = h("span", { class: "strip-text" });
  #seconds = h("span", { class: "strip-seconds", "aria-hidden": "true" });
  #action = h("button", { type: "button", class: "link" });
  #code = h("span", { class: "code" });
  #act = () => {};

  connectedCallback() {
    if (this.firstChild) return;
    this.hidden = true;
    this.#action.addEventListener("click", () => this.#act());
    // The seconds count outside of what is announced: a screen reader need not hear each.
    fill(this, icon("offline"), h("span", { role: "status" }, this.#text), this.#seconds, this.#code, this.#action);
  }

  /** @param {State} state */
  show(state) {
    clearInterval(this.#ticking);
    clearTimeout(this.#waiting);
    this.#state = state;
    this.dataset.state = state.name;
    if (state.name === "live" || state.name === "idle") {
      this.hidden = true;
      this.#text.textContent = "";
    } else if (this.hidden && (state.name === "connecting" || state.name === "reconnecting")) {
      this.#waiting = setTimeout(() => this.#tell(), PATIENCE_MS);
    } else {
      this.#tell();
    }
  }

  #tell() {
    const { name, reason = "", isOpen } = this.#state;
    this.hidden = false;
    this.#seconds.textContent = "";
    this.#code.textContent = "";
    if (name === "connecting" || name === "reconnecting") {
      const text = name === "connecting" ? "Connecting." : reason === "restarting" ? "The server restarts." : "Connection lost.";
      this.#say(`${text} ${name === "reconnecting" ? "What you write is kept and sent." : ""}`, "Try now", this.retry);
      this.#tick();
      this.#ticking = setInterval(() => this.#tick(), 500);
    } else if (name === "held") {
      const text = isOpen ? "Your sign-in is about to run out." : (HELD[reason] ?? "Your sign-in is needed again.");
      this.#say(`${text} Nothing is lost.`, "Sign in", this.signIn);
    } else {
      this.#say(ENDED[reason] ?? "The connection was ended by the server.", reason === "replaced" ? "Use it here" : "Sign in", this.signIn);
      if (reason !== "signed_out") this.#code.textContent = reason;
    }
  }

  /**
   * @param {string} text
   * @param {string} label
   * @param {() => void} act
   */
  #say(text, label, act) {
    if (this.#text.textContent !== text) this.#text.textContent = text;
    this.#action.textContent = label;
    this.#action.hidden = false;
    this.#act = act;
  }

  #tick() {
    const { retryAtMs } = this.#state;
    const seconds = retryAtMs === undefined ? 0 : Math.ceil((retryAtMs - Date.now()) / 1000);
    this.#seconds.textContent = seconds > 0 ? `Next try in ${seconds} s.` : "Trying…";
    this.#action.hidden = seconds <= 0;
  }
}

customElements.define("parley-strip", ParleyStrip);
