/**
 * The console's questions: to whom a conversation goes, whether its visitor is really to be blocked, which one to jump to.
 * @module
 */

import { Picker } from "../chat/picker.js";
import { giveFocus, openDialog, troubleSpot } from "../elements/dialog.js";
import { bdi, fill, h } from "../elements/dom.js";

/**
 * @typedef {import("./desk.js").Desk} Desk
 * @typedef {import("./desk.js").Agent} Agent
 */

/**
 * A form whose command either closes its dialog or says what is wrong in it; `act` may give the words for what is missing.
 * @param {HTMLDialogElement} dialog
 * @param {string} label
 * @param {string} look
 * @param {() => Promise<void|string>} act
 * @param {...import("../elements/dom.js").Child} fields
 */
function form(dialog, label, look, act, ...fields) {
  const trouble = troubleSpot();
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    trouble.clear();
    try {
      const missing = await act();
      if (missing) trouble.tell(missing);
      else dialog.close();
    } catch (error) {
      const { code } = /** @type {import("../parley.js").ParleyError} */ (error);
      trouble.tell(code === "limit_exceeded" ? "They have as many as they may have at once." : "That did not work. Nothing has changed.", code);
    }
  };
  const cancel = h("button", { type: "button", class: "button", on: { click: () => dialog.close() } }, "Cancel");
  const actions = h("div", { class: "dialog-actions" }, cancel, h("button", { type: "submit", class: `button ${look}` }, label));
  return h("form", { class: "dialog-form", novalidate: true, on: { submit } }, ...fields, trouble.element, actions);
}

/** @param {string} label @param {HTMLElement} control */
function field(label, control) {
  control.id = `field-${label.toLowerCase()}`;
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control);
}

/** @param {Desk} desk @param {string} id @param {() => HTMLElement} returnTo */
export function transferDialog(desk, id, returnTo) {
  const target = h("select", { class: "input", required: true });
  const reason = h("input", { maxlength: "500" });
  const option = (/** @type {string} */ value, /** @type {string} */ name) => h("option", { value }, name);
  const departments = [...desk.departments].map(([department, name]) => option(`department ${department}`, name));
  /** @param {Agent[]} agents */
  const draw = (agents) => {
    const chosen = target.value;
    const others = agents.filter((one) => one.subject !== desk.me.subject);
    const named = others.map((one) => option(`agent ${one.subject}`, `${one.name} (${one.status === "away" || !one.online ? "away" : `${one.conversations} of ${one.capacity}`})`));
    const groups = [["Agents", named], ["Departments", departments]].map(([label, options]) =>
      options.length > 0 ? h("optgroup", { label }, .../** @type {HTMLElement[]} */ (options)) : null,
    );
    fill(target, option("", others.length + departments.length > 0 ? "Choose" : "There is nobody else"), ...groups);
    // It may be open, and chosen from, by the time the newest is known.
    if ([...target.options].some(({ value }) => value === chosen)) target.value = chosen;
  };
  draw([...desk.agents.values()]);
  desk.parley.call("agent.list").then(({ agents }) => draw(agents), () => {});
  const act = async () => {
    const [kind, ...rest] = target.value.split(" ");
    if (!kind) return "Choose to whom it goes.";
    const more = { [kind]: rest.join(" "), ...(reason.value.trim() && { reason: reason.value.trim() }) };
    await desk.ask(kind === "agent" ? "conversation.assign" : "conversation.transfer", id, more);
  };
  openDialog({ title: "Hand over", returnTo }, (dialog) => [
    form(dialog, "Hand over", "leads", act, field("To", target), field("Reason", reason), h("p", { class: "hint" }, "The reason is a note: agents read it, the visitor does not.")),
  ]);
}

/** @param {Desk} desk @param {string} id @param {() => HTMLElement} returnTo */
export function blockDialog(desk, id, returnTo) {
  const reason = h("input", { maxlength: "100" });
  const act = () => desk.ask("conversation.block", id, reason.value.trim() ? { reason: reason.value.trim() } : {});
  openDialog({ title: "Block this visitor?", returnTo }, (dialog) => [
    form(dialog, "Block", "warns", act, h("p", null, "Their connection ends at once, and they cannot write again until you unblock them."), field("Reason", reason)),
  ]);
}

/** @param {Desk} desk @param {() => HTMLElement} returnTo */
export function jumpDialog(desk, returnTo) {
  openDialog({ title: "Jump to a conversation", class: "jump", returnTo }, (dialog) => {
    const states = { queued: "waiting", open: "", closed: "closed" };
    const picker = new Picker({
      label: "Name, address or words",
      empty: "None of those listed has that. Older ones come with “Show more”.",
      load: async () =>
        [...desk.mine, ...desk.waiting, ...desk.others, ...desk.closed].map((one) => ({
          key: one.id,
          words: `${one.visitor.name ?? "Visitor"} ${one.visitor.email ?? ""} ${one.visitor.identity ?? ""} ${desk.lastLine(one)}`,
          content: () => [
            h("span", { class: "option-title" }, bdi(one.visitor.name || "Visitor"), " ", h("span", { class: "hint" }, bdi(desk.lastLine(one)))),
            h("span", { class: "hint" }, states[one.status] || (one.assignee === desk.me.subject ? "yours" : bdi(one.assignee_name ?? ""))),
          ],
          pick: () => {
            desk.show(one.id);
            dialog.close();
            giveFocus(returnTo());
          },
        })),
    });
    return [picker.element];
  });
}
