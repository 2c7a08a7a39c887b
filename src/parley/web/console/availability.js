/**
 * Whether I take conversations, and how many: one line at the foot of the lists, and the dialog behind it, where one signs out.
 * The desk asks the server; what the others see comes back from it.
 * @module
 */

import { openDialog, troubleSpot } from "../elements/dialog.js";
import { bdi, fill, h } from "../elements/dom.js";

const CAPACITY_MAX = 1000;

export class Availability {
  #desk;
  #words = h("span", { class: "me-name" });
  #load = h("span", { class: "load" });
  element = h(
    "button",
    { type: "button", class: "me availability", "aria-haspopup": "dialog", on: { click: () => this.open() } },
    h("span", { class: "lamp", "aria-hidden": "true" }),
    this.#words,
    this.#load,
  );

  /** @param {import("./desk.js").Desk} desk */
  constructor(desk) {
    this.#desk = desk;
    this.draw();
  }

  draw() {
    const { agent, me, mine } = this.#desk;
    const status = agent ? (agent.status === "away" ? "Away" : "Available") : "Looking on";
    this.element.dataset.status = agent?.status ?? "none";
    const words = `${me.name} ${status}`;
    if (this.#words.dataset.words !== words) {
      this.#words.dataset.words = words;
      fill(this.#words, bdi(me.name), h("span", { class: "status-word" }, status));
    }
    const load = agent ? `${mine.length} of ${agent.capacity}` : "";
    if (this.#load.textContent !== load) this.#load.textContent = load;
  }

  /** The other of the two. */
  async toggle() {
    const { agent } = this.#desk;
    if (agent) await this.#desk.setStatus(agent.status === "away" ? "available" : "away").catch((error) => this.#desk.emit("trouble", error));
  }

  open() {
    const { agent } = this.#desk;
    const out = h("button", { type: "button", class: "button", on: { click: () => this.#leave() } }, "Sign out");
    const returnTo = () => this.element;
    if (!agent) return openDialog({ title: this.#desk.me.name, returnTo }, () => [h("p", null, "You look on: an admin answers only as an agent."), h("div", { class: "dialog-actions" }, out)]);
    const trouble = troubleSpot();
    /** @type {["available"|"away", string][]} */
    const states = [["available", "Available: I take conversations"], ["away", "Away: what I have goes back to the queue in a while"]];
    const radios = states.map(([value, label]) => {
      const radio = h("input", { type: "radio", name: "status", value, checked: agent.status === value });
      return h("label", { class: "choice" }, radio, label);
    });
    const capacity = h("input", { class: "input", type: "number", min: "0", max: CAPACITY_MAX, required: true, id: "capacity", value: agent.capacity });
    openDialog({ title: this.#desk.me.name, returnTo }, (dialog) => {
      const submit = async (/** @type {Event} */ event) => {
        event.preventDefault();
        trouble.clear();
        const chosen = dialog.querySelector("input[name=status]:checked");
        try {
          await this.#desk.setStatus(/** @type {any} */ (chosen)?.value ?? agent.status, capacity.valueAsNumber);
          dialog.close();
        } catch (error) {
          trouble.tell("That did not work. Nothing has changed.", /** @type {any} */ (error).code);
        }
      };
      const cancel = h("button", { type: "button", class: "button", on: { click: () => dialog.close() } }, "Cancel");
      const save = h("button", { type: "submit", class: "button leads" }, "Save");
      return [
        h(
          "form",
          { class: "dialog-form", on: { submit } },
          h("fieldset", { class: "choices" }, h("legend", { class: "unseen" }, "Status"), ...radios),
          h("div", { class: "field" }, h("label", { for: "capacity" }, "Conversations at once"), capacity),
          trouble.element,
          h("div", { class: "dialog-actions" }, out, h("span", { class: "apart" }), cancel, save),
        ),
      ];
    });
  }

  /** What was typed and not sent goes with the one who typed it. */
  async #leave() {
    this.#desk.kept.forget();
    document.querySelector("dialog")?.close();
    await this.#desk.parley.logout();
  }
}
