/**
 * Dialogs: the browser's own `<dialog>`, which traps the focus, with a heading, a way out and the focus given back.
 * @module
 */

import { fill, h, icon, iconButton } from "./dom.js";

/**
 * @typedef {object} DialogOptions
 * @property {string} title
 * @property {string} [class]
 * @property {() => (HTMLElement|null|undefined)} [returnTo] where the focus goes when what opened the dialog is gone
 * @property {() => void} [closed]
 */

let count = 0;

/**
 * Focus with a caret. Chromium, closing a dialog, gives the focus back but not the selection: what is typed then goes nowhere.
 * @param {HTMLElement} target
 */
export function giveFocus(target) {
  if (document.activeElement === target) target.blur();
  target.focus();
}

/**
 * Open a dialog over the page; `body` is built once the dialog exists, so that it can close it.
 * @param {DialogOptions} options
 * @param {(dialog: HTMLDialogElement) => import("./dom.js").Child[]} body
 */
export function openDialog(options, body) {
  const opener = document.activeElement;
  const id = `dialog-${++count}`;
  const dialog = h("dialog", { class: options.class, "aria-labelledby": id });
  fill(
    dialog,
    h(
      "div",
      { class: "dialog-head" },
      h("h2", { id }, options.title),
      iconButton("close", "Close", () => dialog.close()),
    ),
    h("div", { class: "dialog-body" }, ...withoutNothing(body(dialog))),
  );
  dialog.addEventListener("close", () => {
    dialog.remove();
    options.closed?.();
    const focused = document.activeElement;
    const target = opener instanceof HTMLElement && opener.isConnected && opener !== document.body ? opener : options.returnTo?.();
    // This event comes late: what took the focus meanwhile keeps it.
    if (target && (focused === target || focused === document.body || focused === null)) giveFocus(target);
  });
  // A click beside the dialog, begun there too (not a selection dragged out of it), closes it.
  dialog.addEventListener("pointerdown", (event) => {
    if (event.target !== dialog) return;
    const { left, right, top, bottom } = dialog.getBoundingClientRect();
    if (event.clientX < left || event.clientX > right || event.clientY < top || event.clientY > bottom) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  /** @type {HTMLElement|null} */ (dialog.querySelector("[data-focus]") ?? dialog.querySelector("input, textarea"))?.focus();
  return dialog;
}

/** @param {import("./dom.js").Child[]} children */
const withoutNothing = (children) => children.filter((child) => child !== null && child !== undefined && child !== false);

/** A place in a form where trouble is told, in words, with the code in small print. */
export function troubleSpot() {
  const element = h("div", { role: "alert" });
  return {
    element,
    clear: () => fill(element),
    /**
     * @param {string} text
     * @param {string} [code]
     */
    tell(text, code) {
      const words = h("span", null, text, code ? " " : null, code ? h("span", { class: "code" }, code) : null);
      fill(element, h("div", { class: "trouble" }, icon("warning"), words));
    },
  };
}
