/**
 * Runs the console's desk, on the real client and a scripted socket, for `test_console_modules.py`: one story, its outcome as JSON.
 * The socket answers every command at once, but for those that the story holds or refuses: so each order of events is forced.
 * @module
 */

import { mock } from "node:test";

const [web, story] = process.argv.slice(2);
const { Parley } = await import(`${web}/parley.js`);
const { Desk } = await import(`${web}/console/desk.js`);

const AT = "2026-11-22T09:30:00.000Z";
const ME = { subject: "me", name: "Me", type: "account", roles: ["agent"], session: "s", connection: "c", expires_at: AT, server_time: AT };

/** The server's state, as far as the stories need it. */
const server = {
  /** @type {Map<string, any>} */ conversations: new Map(),
  /** @type {Map<string, any[]>} */ events: new Map(),
  /** @type {any[]} */ receipts: [],
  agents: [{ subject: "me", name: "Me", status: "available", capacity: 10, conversations: 0, online: true }],
  epoch: "one",
  /** Where the list of those who wait goes on. @type {string|null} */ next: null,
};
/** The commands that came, and what a story does with some of them. */
const calls = [];
/** @type {(call: any) => "hold"|"refuse"|undefined} */
let meddle = () => undefined;
/** @type {any[]} */
let held = [];
/** @type {Wire|null} */
let wire = null;

class Wire {
  readyState = 0;

  constructor() {
    wire = this;
    queueMicrotask(() => {
      this.readyState = 1;
      this.onopen();
    });
  }

  send(text) {
    const call = { ...JSON.parse(text), wire: this };
    calls.push(call);
    // What is answered is decided now, whenever it arrives.
    const answered = { ...call, answer: structuredClone(answerTo(call)) };
    const deed = meddle(call);
    if (deed === "hold") held.push(answered);
    else if (deed === "refuse") this.hear({ id: call.id, error: { message: "busy", data: { code: "unavailable", status: 503 } } });
    else arrive(answered);
  }

  hear(message) {
    queueMicrotask(() => this.readyState === 1 && this.onmessage({ data: JSON.stringify({ jsonrpc: "2.0", ...message }) }));
  }

  close() {
    this.readyState = 3;
  }
}

function arrive({ wire: to, id, answer }) {
  to.hear({ id, result: answer });
}

function release() {
  const all = held;
  held = [];
  meddle = () => undefined;
  all.forEach(arrive);
}

function answerTo({ method, params }) {
  const listed = [...server.conversations.values()];
  if (method === "session.describe") return ME;
  if (method === "room.subscribe") {
    const log = server.events.get(params.room) ?? [];
    const reset = params.epoch !== undefined && params.epoch !== server.epoch;
    const after = params.after === undefined ? log.length : reset ? 0 : params.after;
    return { room: params.room, epoch: server.epoch, seq: log.length, events: log.slice(after), complete: true, reset };
  }
  if (method === "conversation.list") {
    const fits = (one) => (!params.status || one.status === params.status) && (!params.assignee || one.assignee === params.assignee) && (!params.visitor || one.visitor.subject === params.visitor);
    return { conversations: listed.filter(fits), next: params.status === "queued" ? server.next : null };
  }
  if (method === "conversation.claim") return { conversation: change(params.conversation, "claimed", { status: "open", assignee: "me", assignee_name: "Me" }, ME) };
  if (method === "agent.list") return { agents: server.agents };
  if (method === "agent.set_status") return { agent: (server.agents[0] = { ...server.agents[0], status: params.status }) };
  if (method === "receipt.list") return { receipts: server.receipts.filter(({ room }) => room === params.room) };
  if (method === "receipt.mark") server.receipts = [...server.receipts.filter(({ room }) => room !== params.room), { ...params, subject: "me", at: AT }];
  if (method === "presence.list") return { present: [] };
  if (method === "message.list") return { messages: messagesOf(params.room).slice(-1) };
  if (method === "message.send") return { message: write(params.room, params.text, ME, params.client_id), duplicate: false };
  return { replies: [], departments: [] };
}

const messagesOf = (room) => (server.events.get(room) ?? []).filter(({ data }) => data.message).map(({ data }) => data.message);

/** Put an event in a log, and tell it on the line there is. */
function tell(room, type, data, actor) {
  const log = server.events.get(room) ?? [];
  const event = { room, seq: log.length + 1, type, at: AT, actor: { subject: actor.subject, name: actor.name, type: "account" }, data };
  server.events.set(room, [...log, event]);
  wire?.hear({ method: "event", params: event });
  return event;
}

const visitorOf = (id) => ({ subject: `guest:${id}`, name: `Visitor ${id}` });

function write(room, text, sender, client_id) {
  const seq = (server.events.get(room) ?? []).length + 1;
  const { subject, name } = sender;
  const message = { id: `${room}-${seq}`, room, seq, text, sender: { subject, name }, at: AT, ...(client_id && { client_id }) };
  tell(room, "message.created", { message }, sender);
  const one = server.conversations.get(room);
  if (one) server.conversations.set(room, { ...one, last_message: message, unread: subject === "me" ? one.unread : one.unread + 1 });
  return message;
}

const shown = ({ last_message: _, unread: __, ...conversation }) => conversation;

function change(id, what, changes, actor) {
  const one = { ...server.conversations.get(id), ...changes };
  server.conversations.set(id, one);
  for (const room of [id, "queue"]) tell(room, `conversation.${what}`, { conversation: shown(one) }, actor);
  return shown(one);
}

function begin(id, text, changes = {}) {
  const visitor = { ...visitorOf(id), email: null, page: null, verified: false, identity: null };
  server.conversations.set(id, { id, department: null, assignee: null, assignee_name: null, visitor, rating: null, comment: null, blocked: false, created_at: AT, queued_at: AT, closed_at: null, unread: 0 });
  change(id, "queued", { status: "queued" }, visitorOf(id));
  write(id, text, visitorOf(id));
  if (Object.keys(changes).length > 0) change(id, "claimed", { status: "open", ...changes }, { subject: changes.assignee, name: changes.assignee });
}

const mine = { assignee: "me", assignee_name: "Me" };
/** Everything that is on its way arrives. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

/** @type {any} */
let desk;
/** Who was told to wait, by the bell. @type {string[]} */
const rung = [];
const troubles = [];

async function open() {
  mock.timers.enable({ apis: ["setTimeout"] });
  const parley = new Parley({ url: "http://server.test", token: "t", WebSocket: Wire });
  const session = parley.connect();
  await settle();
  desk = new Desk(parley, await session);
  desk.on("waiting", ({ id }) => rung.push(id));
  desk.on("trouble", ({ code }) => troubles.push(code));
  desk.open();
  await settle();
}

/** The line is lost; `meanwhile` happens where nobody hears it. */
async function lose(meanwhile = () => {}) {
  const lost = wire;
  wire = null;
  lost.readyState = 3;
  lost.onclose({ code: 1006, reason: "" });
  await settle();
  meanwhile();
}

async function comeBack() {
  mock.timers.tick(60_000);
  await settle();
  await settle();
}

const texts = (talk) => talk.items.filter(({ life }) => !life).map(({ message }) => message.text);
const count = (method, room) => calls.filter((call) => call.method === method && (!room || call.params.room === room)).length;

const stories = {
  async left_before_it_was_begun() {
    begin("a", "hello");
    begin("b", "and me");
    await open();
    meddle = ({ method, params }) => (method === "receipt.list" && params.room === "a" ? "hold" : undefined);
    desk.show("a");
    await settle();
    desk.show("b");
    release();
    await settle();
    const followed = count("room.subscribe", "a");
    desk.show("a");
    await settle();
    return { followed, texts: texts(desk.current) };
  },
  async list_is_older_than_an_event() {
    begin("a", "hello");
    meddle = ({ method, params }) => (method === "conversation.list" && params.status === "queued" ? "hold" : undefined);
    await open();
    change("a", "claimed", { status: "open", assignee: "bo", assignee_name: "Bo" }, { subject: "bo", name: "Bo" });
    await settle();
    release();
    await settle();
    return { waiting: desk.waiting.map(({ id }) => id), others: desk.others.map((one) => [one.id, one.assignee_name, desk.lastLine(one), one.unread]) };
  },
  async agents_are_older_than_an_answer() {
    meddle = ({ method, params }) => (method === "agent.list" || params.status === "closed" ? "hold" : undefined);
    await open();
    await desk.setStatus("away");
    release();
    await settle();
    return { status: desk.agent.status };
  },
  async lists_are_later_than_agents() {
    meddle = ({ params }) => (params.status === "closed" ? "hold" : undefined);
    await open();
    await desk.setStatus("away");
    release();
    await settle();
    return { status: desk.agent.status };
  },
  async claim_is_answered_after_one_went_elsewhere() {
    begin("a", "hello");
    begin("b", "and me", mine);
    await open();
    meddle = ({ method }) => (method === "conversation.claim" ? "hold" : undefined);
    const claimed = desk.claim("a");
    await settle();
    desk.show("b");
    await settle();
    release();
    await claimed;
    return { current: desk.current.id, mine: desk.mine.map(({ id }) => id).sort() };
  },
  async claim_is_answered_where_one_stayed() {
    begin("a", "hello");
    await open();
    await desk.claim();
    await settle();
    return { current: desk.current.id, texts: texts(desk.current) };
  },
  async receipt_is_lost_with_the_line() {
    begin("a", "hello", mine);
    await open();
    desk.show("a");
    await settle();
    await lose(() => {});
    // Shown from what is there already: it is read while there is no line.
    write("a", "again", visitorOf("a"));
    meddle = ({ method }) => (method === "receipt.mark" ? "hold" : undefined);
    await comeBack();
    desk.current.read();
    await settle();
    await lose();
    held = [];
    meddle = () => undefined;
    server.receipts = [];
    await comeBack();
    return { marked: server.receipts.map(({ seq }) => seq), last: messagesOf("a").at(-1).seq, unread: desk.current.unread };
  },
  async how_far_one_read_is_lost_with_the_line() {
    begin("a", "hello", mine);
    server.receipts = [{ room: "a", subject: "me", seq: 2, at: AT }];
    meddle = ({ method }) => (method === "receipt.list" ? "hold" : undefined);
    await open();
    await lose();
    held = [];
    meddle = () => undefined;
    await comeBack();
    return { unread: desk.unread(desk.conversations.get("a")) };
  },
  async read_in_another_tab() {
    begin("a", "hello", mine);
    await open();
    const before = desk.unread(desk.conversations.get("a"));
    wire.hear({ method: "signal", params: { room: "a", type: "receipts.changed", at: AT, data: { receipts: [{ subject: "me", seq: 2, at: AT }] } } });
    await settle();
    return { before, after: desk.unread(desk.conversations.get("a")) };
  },
  async typing_when_the_line_was_lost() {
    begin("a", "hello", mine);
    await open();
    desk.show("a");
    await settle();
    wire.hear({ method: "signal", params: { room: "a", type: "typing.changed", at: AT, data: { started: [visitorOf("a")], stopped: [] } } });
    await settle();
    const before = desk.current.typing.size;
    await lose();
    await comeBack();
    return { before, after: desk.current.typing.size };
  },
  async line_is_lost_between_answer_and_event() {
    begin("a", "hello", mine);
    await open();
    desk.show("a");
    await settle();
    // The answer is on the line; the event is not yet.
    const on = wire;
    wire = null;
    desk.current.send("my answer");
    await settle();
    wire = on;
    const between = [texts(desk.current), desk.current.pending.length];
    await lose();
    await comeBack();
    return { between, after: [texts(desk.current), desk.current.pending.length] };
  },
  async back_after_lunch() {
    begin("a", "hello");
    await open();
    const reads = count("message.list");
    await lose(() => {
      for (const id of ["b", "c", "d"]) begin(id, `I am ${id}`, { assignee: "bo", assignee_name: "Bo" });
      begin("e", "I am still here");
      begin("f", "I too");
    });
    await comeBack();
    return { rung, reads: count("message.list") - reads, lines: desk.waiting.map((one) => desk.lastLine(one)) };
  },
  async reopened_by_a_message() {
    begin("a", "hello");
    change("a", "closed", { status: "closed", closed_at: AT }, visitorOf("a"));
    await open();
    change("a", "reopened", { status: "queued", closed_at: null }, visitorOf("a"));
    write("a", "one thing more", visitorOf("a"));
    await settle();
    return { rung, lines: desk.waiting.map((one) => desk.lastLine(one)) };
  },
  async list_is_refused_for_the_moment() {
    begin("a", "hello");
    let refused = 0;
    meddle = ({ method, params }) => (method === "conversation.list" && params.status === "queued" && refused++ === 0 ? "refuse" : undefined);
    await open();
    const before = desk.waiting.length;
    mock.timers.tick(1_000);
    await settle();
    return { before, troubles, after: desk.waiting.length };
  },
  async what_waiting_visitors_add() {
    begin("a", "hello");
    await open();
    write("a", "are you there?", visitorOf("a"));
    await settle();
    const before = desk.waiting.map((one) => desk.lastLine(one));
    await desk.refresh();
    return { before, after: desk.waiting.map((one) => [desk.lastLine(one), desk.unread(one)]) };
  },
  async what_waiting_visitors_add_is_drawn_once() {
    for (const id of ["a", "b", "c"]) begin(id, "hello");
    await open();
    let changes = 0;
    desk.on("changed", () => (changes += 1));
    await desk.refresh();
    const unchanged = changes;
    for (const id of ["a", "b"]) write(id, "are you there?", visitorOf(id));
    await settle();
    await desk.refresh();
    return { unchanged, changes, lines: desk.waiting.map((one) => desk.lastLine(one)) };
  },
  async a_list_that_was_read_to_its_end() {
    begin("a", "hello");
    server.next = "a";
    await open();
    const before = desk.goesOn("queued");
    server.next = null;
    await desk.more("queued");
    server.next = "a";
    await desk.refresh();
    return { before, after: desk.goesOn("queued") };
  },
  async erased_while_it_is_listed() {
    begin("a", "I live at number seven", { assignee: "bo", assignee_name: "Bo" });
    await open();
    const before = desk.others.map((one) => desk.lastLine(one));
    const root = { subject: "root", name: "Root" };
    const { text: _, ...said } = messagesOf("a").at(-1);
    tell("a", "message.deleted", { message: { ...said, deleted: true, deleted_at: AT, deleted_by: root } }, root);
    change("a", "updated", { visitor: { ...server.conversations.get("a").visitor, name: null } }, root);
    await settle();
    return { before, after: desk.others.map((one) => [desk.lastLine(one), desk.unread(one)]) };
  },
  async another_log() {
    begin("a", "hello", mine);
    await open();
    desk.show("a");
    await settle();
    write("a", "was never in the backup", visitorOf("a"));
    await settle();
    await lose(() => {
      server.epoch = "two";
      server.events.set("a", server.events.get("a").slice(0, 2));
    });
    await comeBack();
    return { texts: texts(desk.current) };
  },
};

console.log(JSON.stringify(await stories[story]()));
