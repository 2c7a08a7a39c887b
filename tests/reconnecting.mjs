// npm's clients as an application has them, many in one process: they speak, listen, come back and resume.
// node reconnecting.mjs URL TIMING; in: {add, kind, token, speaks, stubborn} · {enough} · {leave}, a line each.
// Out: {who, on: "heard" | "acknowledged" | "refused" | "doubted" | "lost" | "silent" | "out" | "wrong", ...}, {lag_s}.
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "graphql-ws";
import { io } from "socket.io-client";
import WebSocket from "ws";

const [url, timing] = [process.argv[2], JSON.parse(process.argv[3])];
const now_s = () => Number(process.hrtime.bigint()) / 1e9; // the clock of Python's time.monotonic()
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const passes = ({ code, status }) => status >= 500 || code === "rate_limited";
let enough = false;

class Person {
  constructor({ add, token, stubborn }) {
    Object.assign(this, { name: add, token, stubborn, last: 0 });
  }
  tell(on, facts) {
    say({ who: this.name, on, at_s: now_s(), ...facts });
  }
  heard({ seq, text }) {
    this.last = seq;
    this.tell("heard", { seq, text });
  }
  // One message after the other; each until it is answered, by one client_id.
  async speak() {
    for (let number = 1; !enough; number++) {
      const text = `${this.name}-${number}`;
      for (;;) {
        const { seq, refusal } = await this.send(text);
        if (seq !== undefined) {
          this.tell("acknowledged", { text, seq });
          break;
        }
        if (refusal === undefined) this.tell("doubted", { text });
        else if (passes(refusal)) this.tell("refused", refusal);
        else return this.tell("wrong", { refusal });
        await sleep(timing.again_ms);
      }
      await sleep(timing.pace_ms);
    }
    this.tell("silent");
  }
}

class SocketIoPerson extends Person {
  constructor(asked) {
    super(asked);
    const { token } = asked;
    this.socket = io(url, {
      transports: [asked.kind.split(" ")[1]],
      forceNew: true,
      auth: (give) => give({ token }),
      timeout: timing.connect_ms,
      ...timing.socketio,
    });
    this.socket.on("connect", () => this.subscribe(this.socket.id));
    // Until a subscription has been answered, what is heard belongs to one that was asked before it and given up.
    this.socket.on("event", (event) => this.isLive && this.#event(event));
    this.socket.on("subscription.ended", (body) => this.tell("wrong", body));
    this.socket.on("disconnect", (reason) => {
      this.tell("lost", { reason });
      if (!this.socket.active) this.#refused({ code: reason, status: 403 });
    });
    this.socket.on("connect_error", ({ data }) => {
      // What the library does not try again by itself was said by the server.
      if (!this.socket.active) this.#refused(data);
    });
  }
  #event({ seq, data }) {
    this.heard({ seq, text: data.message?.text });
  }
  #refused(refusal) {
    if (refusal.code === "token_revoked" || !(this.stubborn || passes(refusal))) return this.tell("out", refusal);
    setTimeout(() => this.socket.connect(), timing.again_ms);
  }
  // Its answer is taken in its own turn: after an `await` what was said right behind it would have overtaken it.
  ask(name, params, answered) {
    this.socket.timeout(timing.answer_ms).emit(name, params, (lost, said) => answered(lost ? {} : said));
  }
  subscribe(connection) {
    if (this.socket.id !== connection) return; // the next connection asks
    const again = () => this.subscribe(connection);
    this.isLive = false;
    this.ask("room.subscribe", { room: "lobby", after: this.last }, ({ result, error }) => {
      if (error && !passes(error)) return this.tell("wrong", { refusal: error });
      if (result === undefined) return setTimeout(again, timing.again_ms);
      if (result.reset) this.tell("wrong", { reset: true });
      result.events.forEach((event) => this.#event(event));
      this.isLive = result.complete;
      if (!result.complete) again();
    });
  }
  async send(text) {
    while (!this.socket.connected) await new Promise((resolve) => this.socket.once("connect", resolve));
    return new Promise((resolve) =>
      this.ask("message.send", { room: "lobby", text, client_id: text }, ({ result, error }) =>
        resolve({ seq: result?.message.seq, refusal: error }),
      ),
    );
  }
  leave() {
    this.socket.close();
  }
}

class Patient extends WebSocket {
  constructor(address, protocols) {
    super(address, protocols, { handshakeTimeout: timing.connect_ms });
  }
}
const EVENTS = `subscription ($room: ID!, $after: Int) {
  roomEvents(room: $room, after: $after) { seq message { text } } }`;
const SEND = `mutation ($room: ID!, $text: String!, $clientId: String) {
  sendMessage(room: $room, text: $text, clientId: $clientId) { message { seq } } }`;

class GraphqlPerson extends Person {
  constructor(asked) {
    super(asked);
    const { token } = asked;
    this.client = createClient({
      url: url.replace("http", "ws") + "/graphql",
      webSocketImpl: Patient,
      connectionParams: { token },
      connectionAckWaitTimeout: timing.connect_ms,
      retryAttempts: Infinity,
      shouldRetry: () => true,
      ...(timing.graphql_ms && { retryWait: () => sleep(Math.random() * timing.graphql_ms) }),
      on: { closed: ({ code, reason }) => this.tell("lost", { reason: `${code} ${reason}` }) },
    });
    this.variables = { room: "lobby", after: 0 };
    this.subscribe();
  }
  subscribe() {
    const next = ({ data, errors }) => {
      if (errors) return this.tell("wrong", { errors });
      const { seq, message } = data.roomEvents;
      this.variables.after = seq; // a retry sends these very variables again
      this.heard({ seq, text: message?.text });
    };
    const again = () => setTimeout(() => this.subscribe(), timing.again_ms);
    const error = (wrong) => {
      const refusal = Array.isArray(wrong) ? wrong[0].extensions : { code: wrong.reason, status: wrong.code - 4000 };
      if (refusal.code === "token_revoked" || !(this.stubborn || passes(refusal))) return this.tell("out", refusal);
      this.tell("refused", refusal);
      again();
    };
    this.client.subscribe({ query: EVENTS, variables: this.variables }, { next, error, complete: () => {} });
  }
  send(text) {
    return new Promise((resolve) => {
      this.client.subscribe(
        { query: SEND, variables: { room: "lobby", text, clientId: text } },
        {
          next: ({ data, errors }) =>
            resolve(errors ? { refusal: errors[0].extensions } : { seq: data.sendMessage.message.seq }),
          error: (wrong) => resolve(Array.isArray(wrong) ? { refusal: wrong[0].extensions } : {}),
          complete: () => {},
        },
      );
    });
  }
  leave() {
    this.client.dispose();
  }
}

async function watch() {
  for (;;) {
    const began_s = now_s();
    await sleep(50);
    const lag_s = now_s() - began_s - 0.05;
    if (lag_s > 0.1) say({ lag_s });
  }
}
watch();

const people = new Map();
for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  if (asked.add) {
    const person = new (asked.kind === "graphql-ws" ? GraphqlPerson : SocketIoPerson)(asked);
    people.set(asked.add, person);
    if (asked.speaks) person.speak();
  } else if (asked.enough) enough = true;
  else people.get(asked.leave).leave();
}
process.exit(0);
