/**
 * Runs the player's lines on a scripted socket for `test_player_stories.py`: one story, its outcome as JSON.
 * @module
 */

import { mock } from "node:test";

const [web, story] = process.argv.slice(2);

const ORIGIN = "http://server.test";
const STREAM = { id: "radio", title: "Radio", visibility: "public", owner: "ada", live: false, started_at: null, listeners: 0, broadcaster: null };

/** Every socket that was opened, in order. @type {Wire[]} */
const wires = [];
/** What is asked by HTTP: answered at once, or when the story says so. @type {Record<string, () => Promise<object>>} */
const answers = {
  "/auth/login": async () => ({ access_token: "h.e30.s", token_type: "Bearer", expires_in: 900, refresh_token: "r" }),
  "/auth/tickets": async () => ({ ticket: "one" }),
  "/rpc": async () => ({ result: { stream: STREAM } }),
};

class Wire {
  static OPEN = 1;
  readyState = 0;
  bufferedAmount = 0;
  /** What the page sent as text, and how it closed. */
  sent = [];
  closed = null;

  constructor(url) {
    this.url = String(url);
    wires.push(this);
    queueMicrotask(() => {
      if (this.readyState !== 0) return;
      this.readyState = 1;
      this.onopen();
    });
  }

  send(data) {
    if (typeof data === "string") this.sent.push(JSON.parse(data));
  }

  tell(stream) {
    const params = { room: "s-radio", type: "stream.changed", data: { stream: { ...STREAM, ...stream } } };
    this.onmessage({ data: JSON.stringify({ jsonrpc: "2.0", method: "signal", params }) });
  }

  lose(code, reason = "") {
    this.readyState = 3;
    this.onclose({ code, reason });
  }

  close(code) {
    this.readyState = 3;
    this.closed = code;
  }
}

/** An `<audio>` that plays until the story says otherwise. */
class Sound extends EventTarget {
  static all = [];
  paused = false;
  readyState = 4;
  buffered = { length: 0 };

  constructor() {
    super();
    Sound.all.push(this);
  }

  canPlayType = () => "maybe";
  play = async () => {};
  load() {}
  removeAttribute() {}
}

class Context {
  state = "running";
  destination = {};
  resume = async () => {};
  close = async () => {};
  createAnalyser = () => ({ connect: (to) => to, getFloatTimeDomainData() {} });
  createMediaElementSource = () => ({ connect: (to) => to });
}

Object.assign(globalThis, {
  location: new URL(`${ORIGIN}/listen/radio`),
  WebSocket: Wire,
  Audio: Sound,
  AudioContext: Context,
  fetch: async (path) => {
    const answer = await answers[new URL(path, ORIGIN).pathname]();
    return { ok: true, status: 200, headers: new Headers(), json: async () => answer };
  },
});

const { SignIn, memoryStore } = await import(`${web}/client/credentials.js`);
const { Broadcasting } = await import(`${web}/player/broadcasting.js`);
const { Listening } = await import(`${web}/player/listening.js`);

/** Everything that is on its way arrives. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

async function signedIn() {
  mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const signIn = new SignIn(ORIGIN, memoryStore(), globalThis.fetch, "tests");
  await signIn.login("ada", "ada");
  return signIn;
}

const stories = {
  async look_is_older_than_the_end() {
    const broadcasting = new Broadcasting("radio", await signedIn());
    broadcasting.go();
    await settle();
    wires[0].tell({ live: true });
    let answer = () => {};
    answers["/rpc"] = () => new Promise((resolve) => (answer = () => resolve({ result: { stream: { ...STREAM, live: true, may_publish: true } } })));
    const looked = broadcasting.look();
    await settle();
    broadcasting.stop();
    answer();
    await looked;
    return { live: broadcasting.stream.live, may: broadcasting.stream.may_publish };
  },
  async line_lost_before_the_first_sound() {
    const broadcasting = new Broadcasting("radio", await signedIn());
    broadcasting.go();
    await settle();
    wires[0].tell({ live: true });
    wires[0].lose(1006);
    mock.timers.tick(2_000);
    await settle();
    // The server has not missed the first line yet: the place is our own.
    wires[1].lose(4409, "already_live");
    await settle();
    mock.timers.tick(2_000);
    await settle();
    return { phase: broadcasting.phase, said: broadcasting.said, lines: wires.length };
  },
  async played_again_before_the_pause_is_over() {
    const listening = new Listening("radio", await signedIn());
    await listening.start();
    await settle();
    wires[0].tell({ live: true });
    listening.play();
    await settle();
    // It breaks; before the page tries again by itself, a person does.
    Sound.all.at(-1).dispatchEvent(new Event("error"));
    listening.stop();
    await settle();
    wires[1].tell({ live: true });
    listening.play();
    await settle();
    mock.timers.tick(3_000);
    await settle();
    return { phase: listening.phase, open: wires.filter(({ closed }) => closed === null).length };
  },
};

console.log(JSON.stringify(await stories[story]()));
process.exit();
