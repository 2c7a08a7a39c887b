/**
 * The page's dialogs: make, browse, invite, jump, delete, a member, oneself, the keys. Each asks one thing.
 * @module
 */

import { avatar } from "../elements/avatar.js";
import { giveFocus, openDialog, troubleSpot } from "../elements/dialog.js";
import { bdi, h, icon } from "../elements/dom.js";
import { ParleyError } from "../parley.js";
import { Picker } from "./picker.js";

/**
 * @typedef {import("./workspace.js").Workspace} Workspace
 * @typedef {import("./room.js").Room} Room
 * @typedef {() => HTMLElement|null} ReturnTo
 * @typedef {ReturnType<typeof troubleSpot>} TroubleSpot
 */

/**
 * Run what a button asked for: busy while it runs, and in words what went wrong.
 * @param {HTMLButtonElement} button
 * @param {TroubleSpot} trouble
 * @param {() => Promise<void>} work
 * @param {Record<string, string>} words for the refusals that are to be expected
 */
async function attempt(button, trouble, work, words) {
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  trouble.clear();
  try {
    await work();
  } catch (error) {
    const code = error instanceof ParleyError ? error.code : "internal";
    const common = code === "connection_lost" ? "The connection is lost just now; try again when it is back." : "That did not work. Nothing was changed.";
    trouble.tell(words[code] ?? common, code);
  } finally {
    button.removeAttribute("aria-busy");
  }
}

/** @param {Workspace} workspace @param {ReturnTo} returnTo */
export function createDialog(workspace, returnTo) {
  openDialog({ title: "New room", returnTo }, (dialog) => {
    const trouble = troubleSpot();
    const title = h("input", { id: "room-title", autocomplete: "off", maxlength: "120", dir: "auto", required: true });
    const button = h("button", { type: "submit", class: "button leads" }, "Make the room");
    const form = h(
      "form",
      { class: "dialog-form", novalidate: true },
      h("div", { class: "field" }, h("label", { for: "room-title" }, "Name"), title),
      h(
        "fieldset",
        { class: "choices" },
        h("legend", { class: "unseen" }, "Who can find it"),
        choice("visibility", "public", "Public", "Everyone with an account can find and join it.", true),
        choice("visibility", "private", "Private", "Only those who are invited see that it exists.", false),
      ),
      trouble.element,
      h("div", { class: "dialog-actions" }, button),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (title.value.trim() === "") {
        trouble.tell("Give the room a name.");
        title.focus();
        return;
      }
      const visibility = String(new FormData(form).get("visibility"));
      void attempt(
        button,
        trouble,
        async () => {
          const room = await workspace.create({ title: title.value.trim(), visibility });
          dialog.close();
          workspace.show(room);
        },
        { invalid_params: "The server does not accept this name.", forbidden: "You may not make rooms." },
      );
    });
    return [form];
  });
}

/**
 * @param {string} name
 * @param {string} value
 * @param {string} label
 * @param {string} hint
 * @param {boolean} checked
 */
function choice(name, value, label, hint, checked) {
  return h(
    "label",
    { class: "choice" },
    h("input", { type: "radio", name, value, checked }),
    h("b", null, label),
    h("span", { class: "hint" }, hint),
  );
}

/** @param {Workspace} workspace @param {ReturnTo} returnTo */
export function browseDialog(workspace, returnTo) {
  openDialog({ title: "Browse rooms", returnTo }, (dialog) => {
    const trouble = troubleSpot();
    const picker = new Picker({
      label: "Find a room",
      empty: "There is no other public room. Make one?",
      load: async () =>
        (await workspace.joinable()).map((info) => ({
          key: info.id,
          words: `${info.title ?? ""} ${info.id}`,
          content: () => [icon("hash"), h("span", { class: "option-title" }, bdi(info.title || info.id)), h("span", { class: "hint" }, info.archived ? "archived" : "Join")],
          pick: () =>
            void attempt(
              picker.button,
              trouble,
              async () => {
                const room = await workspace.join(info);
                dialog.close();
                workspace.show(room);
              },
              { banned: "You are banned from this room.", archived: "This room is archived.", not_found: "This room is gone." },
            ),
        })),
    });
    return [picker.element, trouble.element];
  });
}

/** @param {Workspace} workspace @param {ReturnTo} returnTo */
export function jumpDialog(workspace, returnTo) {
  openDialog({ title: "Jump to a room", class: "jump", returnTo }, (dialog) => {
    const picker = new Picker({
      label: "Room",
      empty: "No room of yours is called that.",
      load: async () =>
        workspace.sorted
          .sort((a, b) => Number(b.unread > 0) - Number(a.unread > 0))
          .map((room) => ({
            key: room.id,
            words: `${room.title} ${room.id}`,
            content: () => [
              icon(room.info.visibility === "private" ? "lock" : "hash"),
              h("span", { class: "option-title" }, bdi(room.title)),
              room.unread > 0 && h("span", { class: "hint" }, `${room.unread} unread`),
            ],
            pick: () => {
              workspace.show(room);
              dialog.close();
              const target = returnTo();
              if (target) giveFocus(target);
            },
          })),
    });
    return [picker.element];
  });
}

/** @param {Workspace} workspace @param {Room} room @param {ReturnTo} returnTo */
export function inviteDialog(workspace, room, returnTo) {
  openDialog({ title: `Invite to ${room.title}`, returnTo }, (dialog) => {
    const trouble = troubleSpot();
    const invite = (/** @type {string} */ subject) =>
      void attempt(
        picker.button,
        trouble,
        async () => {
          await workspace.parley.call("room.invite", { room: room.id, subject });
          dialog.close();
        },
        {
          not_found: "Nobody here goes by that name.",
          invalid_params: "That is not a name or an id.",
          forbidden: "You may not invite people to this room.",
          archived: "This room is archived.",
        },
      );
    const picker = new Picker({
      label: "Name or id",
      empty: "Nobody you share a room with goes by that name. Enter invites by id.",
      load: async () =>
        (await workspace.people())
          .filter(({ subject }) => !room.members.has(subject))
          .map((person) => ({
            key: person.subject,
            words: `${person.name} ${person.subject}`,
            content: () => [avatar(person, 28), h("span", { class: "option-title" }, bdi(person.name))],
            pick: () => invite(person.subject),
          })),
      other: invite,
    });
    return [h("p", { class: "hint" }, "They are in at once, and can read back to the beginning."), picker.element, trouble.element];
  });
}

/** @param {Workspace} workspace @param {import("../parley.js").Message} message @param {ReturnTo} returnTo */
export function deleteDialog(workspace, message, returnTo) {
  openDialog({ title: "Delete this message?", returnTo }, (dialog) => {
    const trouble = troubleSpot();
    const reason = h("input", { id: "delete-reason", autocomplete: "off", maxlength: "200", dir: "auto" });
    const button = h("button", { type: "submit", class: "button warns" }, "Delete");
    const form = h(
      "form",
      { class: "dialog-form" },
      h("figure", { class: "excerpt" }, h("b", null, bdi(message.sender.name)), h("p", { dir: "auto" }, (message.text ?? "").slice(0, 300))),
      h("div", { class: "field" }, h("label", { for: "delete-reason" }, "Reason ", h("span", { class: "hint" }, "(optional, everyone sees it)")), reason),
      h("p", { class: "hint" }, "Its place stays, marked as deleted. The text remains in the audit log only."),
      trouble.element,
      h(
        "div",
        { class: "dialog-actions" },
        h("button", { type: "button", class: "button", on: { click: () => dialog.close() } }, "Keep it"),
        button,
      ),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const why = reason.value.trim();
      void attempt(
        button,
        trouble,
        async () => {
          await workspace.parley.call("message.delete", { message: message.id, ...(why ? { reason: why } : {}) });
          dialog.close();
        },
        { forbidden: "You may not delete messages here.", not_found: "This message is gone." },
      );
    });
    return [form];
  });
}

/** @param {Workspace} workspace @param {Room} room @param {import("./room.js").Member} member */
export function memberDialog(workspace, room, member) {
  openDialog({ title: member.name }, (dialog) => {
    const trouble = troubleSpot();
    const words = {
      conflict: "A room needs an owner: make someone else one first.",
      forbidden: "You may not do that here.",
    };
    /** @param {string} label @param {string} kind @param {string} method @param {object} params */
    const deed = (label, kind, method, params) => {
      const button = h("button", { type: "button", class: `button ${kind}` }, label);
      const work = async () => {
        await workspace.parley.call(method, { room: room.id, subject: member.subject, ...params });
        dialog.close();
      };
      button.addEventListener("click", () => void attempt(button, trouble, work, words));
      return button;
    };
    const roles = /** @type {const} */ (["owner", "moderator", "member"]).filter((role) => role !== member.role);
    return [
      h("p", { class: "hint" }, `${member.role} of `, bdi(room.title), " ", h("span", { class: "code" }, member.subject)),
      room.mayManage && !room.info.archived
        ? h("div", { class: "deeds" }, ...roles.map((role) => deed(`Make ${role === "owner" ? "an owner" : `a ${role}`}`, "", "room.set_role", { role })))
        : null,
      h("div", { class: "deeds" }, deed("Remove from the room", "", "room.remove", {}), deed("Remove and ban", "warns", "room.remove", { ban: true })),
      trouble.element,
    ];
  });
}

/**
 * @param {Workspace} workspace
 * @param {{signOut: () => Promise<void>, keys: () => void}} deeds
 * @param {ReturnTo} returnTo
 */
export function accountDialog(workspace, deeds, returnTo) {
  const { me } = workspace;
  openDialog({ title: me.name || me.subject, returnTo }, (dialog) => {
    const trouble = troubleSpot();
    const waiting = workspace.kept.unsent().length;
    const room = workspace.current;
    const leave = h("button", { type: "button", class: "button" }, icon("leave"), "Leave this room");
    leave.addEventListener(
      "click",
      () =>
        void attempt(
          leave,
          trouble,
          async () => {
            if (room) await workspace.leave(room);
            dialog.close();
          },
          { conflict: "You are its only owner: make someone else one first." },
        ),
    );
    const keys = () => {
      dialog.close();
      deeds.keys();
    };
    const signOut = () => void deeds.signOut();
    return [
      h("p", { class: "hint" }, `Signed in as ${me.roles.join(", ")}, with the id `, h("span", { class: "code" }, me.subject)),
      waiting > 0 ? h("p", { class: "hint" }, `${waiting === 1 ? "1 message is" : `${waiting} messages are`} not sent yet; signing out forgets them.`) : null,
      trouble.element,
      h(
        "div",
        { class: "deeds" },
        h("button", { type: "button", class: "button", on: { click: keys } }, icon("keys"), "Keys"),
        room?.isMine ? leave : null,
        h("button", { type: "button", class: "button", on: { click: signOut } }, "Sign out"),
      ),
    ];
  });
}

/** @param {ReturnTo} returnTo */
export function keysDialog(returnTo) {
  const isMac = /Mac|iPhone|iPad/.test(navigator.userAgent);
  /** @type {[string[], string][]} */
  const keys = [
    [["Enter"], "Send"],
    [["Shift", "Enter"], "New line"],
    [["↑"], "Edit your last message, in an empty composer"],
    [["Esc"], "Leave: an edit, a reply, a dialog"],
    [[isMac ? "⌘" : "Ctrl", "K"], "Jump to a room"],
    [["↑", "↓"], "From message to message, in the log"],
    [["R"], "Reply to the message"],
    [["E"], "Edit it"],
    [["Del"], "Delete it"],
    [["?"], "These keys"],
  ];
  openDialog({ title: "Keys", returnTo }, () => [
    h(
      "dl",
      { class: "keys" },
      ...keys.map(([names, what]) =>
        h("div", null, h("dt", null, ...names.flatMap((name, i) => [i > 0 ? " " : null, h("kbd", null, name)])), h("dd", null, what)),
      ),
    ),
  ]);
}

