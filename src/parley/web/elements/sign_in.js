/**
 * Signing in: the form, alone on the page or in a dialog over a conversation that waits for it.
 * Shows refusals in words; what a sign-in leads to is the caller's.
 * @module
 */

import { openDialog, troubleSpot } from "./dialog.js";
import { fill, h } from "./dom.js";
import { ParleyError } from "../parley.js";

/** Whoever can sign in: `Parley`, or the `SignIn` of a page that has no line to the chat. @typedef {{login(username: string, password: string): Promise<unknown>}} CanSignIn */

const LAST_NAME = "parley.username";

/** The name last used here, to save typing it; never the password. */
function lastName() {
  try {
    return localStorage.getItem(LAST_NAME) ?? "";
  } catch {
    return "";
  }
}

/** @param {string} name */
function keepName(name) {
  try {
    localStorage.setItem(LAST_NAME, name);
  } catch {
    // Without storage it is typed again.
  }
}

/**
 * @param {CanSignIn} parley
 * @param {() => void} done
 * @param {string} [username] fixed, where the same person must come back
 */
function signInForm(parley, done, username) {
  const trouble = troubleSpot();
  const known = username ?? lastName();
  const name = h("input", {
    id: "username",
    name: "username",
    autocomplete: "username",
    autocapitalize: "none",
    spellcheck: "false",
    required: true,
    maxlength: "128",
    value: known,
    "data-focus": known === "",
  });
  const password = h("input", {
    id: "password",
    name: "password",
    type: "password",
    autocomplete: "current-password",
    required: true,
    "data-focus": known !== "",
  });
  const button = h("button", { type: "submit", class: "button leads" }, "Sign in");
  const form = h(
    "form",
    { class: "sign-in-form", method: "post", action: "/auth/login", novalidate: true },
    h("div", { class: "field" }, h("label", { for: "username" }, "Name"), name),
    h("div", { class: "field" }, h("label", { for: "password" }, "Password"), password),
    trouble.element,
    button,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.getAttribute("aria-busy") === "true") return;
    trouble.clear();
    if (name.value.trim() === "" || password.value === "") {
      trouble.tell("Enter your name and your password.");
      (name.value.trim() === "" ? name : password).focus();
      return;
    }
    button.setAttribute("aria-busy", "true");
    fill(button, "Signing in…");
    try {
      await parley.login(name.value.trim(), password.value);
      keepName(name.value.trim());
      done();
    } catch (error) {
      const refusal = /** @type {ParleyError} */ (error);
      trouble.tell(inWords(refusal), refusal.code);
      if (refusal.code === "invalid_credentials") {
        password.select();
        password.focus();
      }
    } finally {
      button.removeAttribute("aria-busy");
      fill(button, "Sign in");
    }
  });
  return form;
}

/** @param {ParleyError} refusal */
function inWords(refusal) {
  if (refusal.code === "invalid_credentials") return "This name and password do not go together.";
  if (refusal.code === "rate_limited") {
    const seconds = refusal.retryAfterS ?? 60;
    return `Too many attempts. Try again in ${seconds > 90 ? `${Math.ceil(seconds / 60)} minutes` : `${Math.ceil(seconds)} seconds`}.`;
  }
  if (refusal.code === "connection_lost") return "The server cannot be reached. Nothing is lost; try again in a moment.";
  if (refusal.code === "origin_denied") return "The server does not accept sign-ins from this address.";
  return "The server could not sign you in. Try again in a moment.";
}

/**
 * The page before anything else.
 * @param {HTMLElement} app
 * @param {CanSignIn} parley
 * @param {string} [note] why one is here again
 * @returns {Promise<void>} signed in
 */
export function signInPage(app, parley, note) {
  return new Promise((resolve) => {
    const card = h(
      "main",
      { class: "sign-in" },
      h("img", { class: "sign-in-mark", src: "/static/chat/mark.svg", alt: "", width: "48", height: "48" }),
      h("h1", null, "Sign in to Parley"),
      note ? h("p", { class: "hint", role: "status" }, note) : null,
      signInForm(parley, resolve),
    );
    fill(app, h("div", { class: "sign-in-page" }, card));
    /** @type {HTMLElement|null} */ (card.querySelector("[data-focus]"))?.focus();
  });
}

/**
 * The same over an open conversation, whose line waits, or over whatever `hint` says.
 * @param {CanSignIn} parley
 * @param {() => HTMLElement|null} returnTo
 * @param {string} [hint]
 * @param {() => void} [done]
 */
export function signInDialog(parley, returnTo, hint = "What you see stays, and what you wrote is sent afterwards.", done) {
  openDialog({ title: "Sign in again", returnTo }, (dialog) => [
    h("p", { class: "hint" }, hint),
    signInForm(parley, () => {
      dialog.close();
      done?.();
    }),
  ]);
}
