/**
 * What one signed-in person has before them: the connection, their rooms, the one that is open. Draws nothing.
 * @module
 */

import { Emitter } from "../client/emitter.js";
import { Kept } from "./kept.js";
import { Room } from "./room.js";

/**
 * @typedef {import("./room.js").RoomInfo} RoomInfo
 * @typedef {import("../parley.js").Person} Person
 *
 * @typedef {object} WorkspaceEvents
 * @property {null} rooms the list changed, or what it shows
 * @property {Room|null} current
 * @property {{room: Room, message: import("../parley.js").Message}} arrived somebody else wrote
 * @property {null} me
 */

/** New rooms that others put us into are found by asking: nothing is sent to those who are not in yet. */
const LOOK_MS = 20_000;
/** The server allows 100 subscriptions on one connection. */
const FOLLOWED_MAX = 95;

const collator = new Intl.Collator(undefined, { sensitivity: "base", numeric: true });

/** @extends {Emitter<WorkspaceEvents>} */
export class Workspace extends Emitter {
  /** @type {Map<string, Room>} */
  rooms = new Map();
  /** @type {Room|null} */
  current = null;

  #isClosed = false;
  /** @type {(() => void)[]} */
  #offs = [];
  /** @type {ReturnType<typeof setInterval>|undefined} */
  #looking;

  /**
   * @param {import("../parley.js").Parley} parley connected
   * @param {import("../parley.js").Session} session
   */
  constructor(parley, session) {
    super();
    this.parley = parley;
    this.me = session;
    this.kept = new Kept(session.subject);
    this.#offs.push(
      parley.on("session", (changed) => {
        this.me = changed;
        this.emit("me", null);
      }),
      parley.on("state", ({ name }) => {
        if (name === "live") void this.look().catch(() => {});
      }),
    );
    this.#looking = setInterval(() => {
      if (document.visibilityState === "visible" && parley.state.name === "live") void this.look().catch(() => {});
    }, LOOK_MS);
  }

  close() {
    this.#isClosed = true;
    clearInterval(this.#looking);
    for (const off of this.#offs) off();
  }

  get isAdmin() {
    return this.me.roles.includes("admin");
  }

  /** Rooms by title. */
  get sorted() {
    return [...this.rooms.values()].sort((a, b) => collator.compare(a.title, b.title));
  }

  get unread() {
    return [...this.rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  }

  /** Read the list of our rooms and follow those that are new. */
  async look() {
    const infos = await this.#list({ mine: true });
    if (this.#isClosed) return;
    for (const info of infos) {
      const room = this.rooms.get(info.id);
      if (room && room.ended === null) room.info = { ...room.info, ...info };
      else this.#add(info);
    }
    this.emit("rooms", null);
  }

  /** Rooms that one could join. @returns {Promise<RoomInfo[]>} */
  async joinable() {
    const all = await this.#list({});
    return all.filter(({ id, visibility }) => visibility === "public" && !this.rooms.has(id)).sort((a, b) => collator.compare(a.title || a.id, b.title || b.id));
  }

  /** @param {{title: string, room?: string, visibility: string}} params */
  async create(params) {
    const { room } = await this.parley.call("room.create", params);
    return this.#add(room);
  }

  /** @param {RoomInfo} info */
  async join(info) {
    const { member } = await this.parley.call("room.join", { room: info.id });
    return this.#add({ ...info, role: member.role });
  }

  /** @param {Room} room */
  async leave(room) {
    await this.parley.call("room.leave", { room: room.id });
    this.#remove(room);
  }

  /** @param {Room} room */
  #remove(room) {
    this.parley.unsubscribe(room.id);
    this.rooms.delete(room.id);
    if (this.current === room) this.show(this.sorted[0] ?? null);
    this.emit("rooms", null);
  }

  /** @param {Room|null} room */
  show(room) {
    if (room && !room.isFollowed && room.ended === null) {
      // Full: whoever was followed first gives way, and is followed again when it is opened.
      const followed = [...this.rooms.values()].filter(({ isFollowed }) => isFollowed);
      if (followed.length >= FOLLOWED_MAX) followed[0].unfollow();
      room.follow();
    }
    this.current = room;
    this.emit("current", room);
  }

  /** @param {Room} room @param {import("../parley.js").Message} message */
  arrived(room, message) {
    this.emit("arrived", { room, message });
  }

  /** Send what an earlier visit could not. */
  resume() {
    for (const unsent of this.kept.unsent()) this.rooms.get(unsent.room)?.restore(unsent);
  }

  /**
   * People one may know: those of our rooms, and for an admin everyone.
   * @returns {Promise<Person[]>}
   */
  async people() {
    /** @type {Map<string, Person>} */
    const people = new Map();
    const pages = [...this.rooms.keys()].slice(0, 20).map((room) => this.parley.call("room.members", { room, limit: 100 }));
    for (const page of await Promise.allSettled(pages)) {
      if (page.status === "fulfilled") for (const { subject, name } of page.value.members) people.set(subject, { subject, name });
    }
    if (this.isAdmin) {
      const { accounts } = await this.parley.call("account.list", { limit: 100 });
      for (const { id, name, username } of accounts) people.set(id, { subject: id, name: name || username });
    }
    return [...people.values()].sort((a, b) => collator.compare(a.name, b.name));
  }

  /** @param {RoomInfo} info */
  #add(info) {
    const old = this.rooms.get(info.id);
    if (old && old.ended === null) return old;
    const room = new Room(this, info);
    this.rooms.set(info.id, room);
    room.on("info", () => this.emit("rooms", null));
    if (this.rooms.size <= FOLLOWED_MAX) room.follow();
    // What could not be sent in its life before goes along.
    for (const unsent of old ? this.kept.unsent() : []) if (unsent.room === info.id) room.restore(unsent);
    if (old && this.current === old) this.show(room);
    this.emit("rooms", null);
    return room;
  }

  /** @param {Record<string, unknown>} params @returns {Promise<RoomInfo[]>} */
  async #list(params) {
    const rooms = [];
    let after;
    do {
      const page = await this.parley.call("room.list", { ...params, limit: 100, ...(after ? { after } : {}) });
      rooms.push(...page.rooms);
      after = page.next;
    } while (after && rooms.length < 1000);
    return rooms;
  }
}
