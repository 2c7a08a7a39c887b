/**
 * Who is in a room: its members, who of them is here, who types.
 * @module
 */

/**
 * @typedef {import("../parley.js").Person} Person
 * @typedef {{room: string, subject: string, name: string, role: "owner"|"moderator"|"member", joined_at: string}} Member
 */

const MEMBERS_MAX = 500;
/** Somebody who started typing and was never heard to stop has stopped. */
const TYPING_MS = 30_000;

export class Attendance {
  /** @type {Map<string, Member>} */
  members = new Map();
  /** @type {Map<string, Person>} */
  present = new Map();
  /** How many are present, where they are too many to be told by name. @type {number|null} */
  presentCount = null;
  /** @type {Map<string, {name: string, timer: ReturnType<typeof setTimeout>}>} */
  typing = new Map();

  #handlers;
  /** What was told while a list was on its way: the list may be older. @type {Set<(() => void)[]>} */
  #loads = new Set();

  /** @param {{people: () => void, typing: () => void}} handlers told of what changed */
  constructor(handlers) {
    this.#handlers = handlers;
  }

  /** @param {string} subject @returns {Person} */
  person(subject) {
    const known = this.members.get(subject) ?? this.present.get(subject);
    return { subject, name: known?.name ?? subject };
  }

  /**
   * @param {import("../parley.js").Parley} parley
   * @param {string} room its id
   */
  async loadMembers(parley, room) {
    /** @type {Map<string, Member>} */
    const members = new Map();
    const read = async () => {
      let after;
      do {
        const page = await parley.call("room.members", { room, limit: 100, ...(after ? { after } : {}) });
        for (const member of page.members) members.set(member.subject, member);
        after = page.next;
      } while (after && members.size < MEMBERS_MAX);
    };
    await this.#load(read, () => (this.members = members));
  }

  /**
   * @param {import("../parley.js").Parley} parley
   * @param {string} room its id
   */
  async loadPresent(parley, room) {
    await this.#load(
      () => parley.call("presence.list", { room }),
      ({ present, count }) => {
        this.present = new Map(present.map((/** @type {Person} */ person) => [person.subject, person]));
        this.presentCount = count ?? null;
      },
    );
  }

  /**
   * @template T
   * @param {() => Promise<T>} read
   * @param {(found: T) => void} take
   */
  async #load(read, take) {
    /** @type {(() => void)[]} */
    const meanwhile = [];
    this.#loads.add(meanwhile);
    try {
      take(await read());
    } finally {
      this.#loads.delete(meanwhile);
    }
    for (const change of meanwhile) change();
    this.#handlers.people();
  }

  /** Now, and once more on each list that comes. @param {() => void} change */
  #change(change) {
    for (const meanwhile of this.#loads) meanwhile.push(change);
    change();
  }

  /**
   * An event about a member.
   * @param {Member} member
   * @param {string} verb
   */
  member(member, verb) {
    this.#change(() => {
      if (verb === "left" || verb === "removed") {
        this.members.delete(member.subject);
        this.present.delete(member.subject);
      } else {
        this.members.set(member.subject, member);
      }
    });
  }

  /**
   * The signal `presence.changed`.
   * @param {{count?: number, joined?: Person[], left?: Person[]}} data
   */
  presenceChanged({ count, joined, left }) {
    this.#change(() => {
      if (typeof count === "number") this.presentCount = count;
      for (const person of joined ?? []) this.present.set(person.subject, person);
      for (const { subject } of left ?? []) this.present.delete(subject);
      if (joined || left) this.presentCount = null;
    });
    for (const { subject } of left ?? []) this.stopTyping(subject);
    this.#handlers.people();
  }

  /**
   * The signal `typing.changed`.
   * @param {{started?: Person[], stopped?: Person[]}} data
   * @param {string} me whose own typing is not told
   */
  typingChanged({ started, stopped }, me) {
    for (const { subject } of stopped ?? []) this.stopTyping(subject);
    for (const { subject, name } of started ?? []) {
      if (subject === me) continue;
      clearTimeout(this.typing.get(subject)?.timer);
      this.typing.set(subject, { name, timer: setTimeout(() => this.stopTyping(subject), TYPING_MS) });
    }
    this.#handlers.typing();
  }

  /** @param {string} subject */
  stopTyping(subject) {
    clearTimeout(this.typing.get(subject)?.timer);
    if (this.typing.delete(subject)) this.#handlers.typing();
  }

  /** Signals are lost with a line: who typed then may have stopped. */
  forgetTyping() {
    for (const { timer } of this.typing.values()) clearTimeout(timer);
    this.typing.clear();
    this.#handlers.typing();
  }
}
