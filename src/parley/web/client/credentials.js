/**
 * Where the next access token comes from: a sign-in that is kept and renewed, a callback, or one fixed token.
 * Access tokens stay in memory. Does not touch sockets: `../parley.js` asks for a token when it needs one.
 * @module
 */

import { ParleyError, connectionLost, fromHttp } from "./errors.js";

/**
 * Keeps the refresh token between visits.
 * @typedef {{get(): string|null|Promise<string|null>, set(token: string): void|Promise<void>, remove(): void|Promise<void>}} TokenStore
 *
 * What `../parley.js` needs of any source of tokens. `access` rejects with ParleyError: a passing one means "ask again later",
 * any other that somebody must sign in.
 * @typedef {object} Credentials
 * @property {(refused?: string) => Promise<string>} access a token that is not `refused`
 * @property {() => void} close
 *
 * @typedef {{access_token: string, token_type: string, expires_in: number, refresh_token?: string}} Grant
 */

/** A store that forgets with the page. @returns {TokenStore} */
export function memoryStore() {
  /** @type {string|null} */
  let held = null;
  return { get: () => held, set: (token) => void (held = token), remove: () => void (held = null) };
}

/**
 * The default store: `localStorage` of our own origin, memory where that throws (blocked cookies, some private windows, Node).
 * @param {string} key
 * @returns {TokenStore}
 */
export function localStore(key) {
  try {
    const storage = globalThis.localStorage;
    storage.getItem(key);
    return {
      get: () => storage.getItem(key),
      set: (token) => storage.setItem(key, token),
      remove: () => storage.removeItem(key),
    };
  } catch {
    return memoryStore();
  }
}

/**
 * @param {string} token
 * @returns {Credentials}
 */
export function fixedToken(token) {
  return {
    async access(refused) {
      if (token === refused) throw new ParleyError("sign_in_needed", 401, "the one token there is was refused");
      return token;
    },
    close() {},
  };
}

/**
 * @param {() => string|Promise<string>} callback
 * @returns {Credentials}
 */
export function tokenCallback(callback) {
  return {
    async access(refused) {
      const token = await callback();
      if (token === refused) throw new ParleyError("sign_in_needed", 401, "the callback gave the refused token again");
      return token;
    },
    close() {},
  };
}

/**
 * What a client was given to show; null where it signs in by itself.
 * @param {{token?: string, tokenCallback?: () => string|Promise<string>}} options
 * @returns {Credentials|null}
 */
export function credentialsOf({ token, tokenCallback: callback }) {
  if (token !== undefined) return fixedToken(token);
  return callback ? tokenCallback(callback) : null;
}

/** The claims of a token, unverified: good for display and for telling two people apart, for nothing else. @param {string} token */
export function peek(token) {
  try {
    const bytes = Uint8Array.from(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    return /** @type {Record<string, unknown>} */ (JSON.parse(new TextDecoder().decode(bytes)));
  } catch {
    return {};
  }
}

/** How long an answer may take. A password's hash waits its turn on a busy server; a refresh token's does not. */
const LOGIN_MS = 20_000;
const REFRESH_MS = 5_000;

/** A token this near its end is renewed before it is shown. */
const MARGIN_MS = 10_000;

/**
 * A sign-in with a refresh token, shared by the tabs of one origin: one of them renews, under a lock, and tells the others.
 * @implements {Credentials}
 */
export class SignIn {
  #base;
  #store;
  #fetch;
  #name;
  /** @type {{token: string, endsMs: number}|null} */
  #held = null;
  /** @type {Promise<string>|null} */
  #renewing = null;
  /** @type {BroadcastChannel|null} */
  #channel;
  /** Set by the owner: another tab signed out. @type {(() => void)|null} */
  onSignedOut = null;
  /** Set by the owner: another tab has a newer token of the same person, and so have we. @type {(() => void)|null} */
  onRenewed = null;

  /**
   * @param {string} base origin of the server, `https://…`
   * @param {TokenStore} store
   * @param {typeof fetch} fetcher
   * @param {string} name of the lock and the channel that tabs share
   */
  constructor(base, store, fetcher, name) {
    this.#base = base;
    this.#store = store;
    this.#fetch = fetcher;
    this.#name = name;
    this.#channel = typeof BroadcastChannel === "function" ? new BroadcastChannel(this.#name) : null;
    if (this.#channel) this.#channel.onmessage = ({ data }) => this.#hear(data);
    // Node would wait for the channel before it exits; browsers know no such thing.
    /** @type {any} */ (this.#channel)?.unref?.();
  }

  close() {
    this.#channel?.close();
    this.#channel = null;
  }

  /** Whether a refresh token is kept from an earlier visit. */
  async isKept() {
    return (await this.#store.get()) !== null;
  }

  /**
   * @param {string} username
   * @param {string} password
   */
  async login(username, password) {
    const grant = await this.#post("/auth/login", { username, password }, LOGIN_MS);
    await this.#keep(grant);
    return grant.access_token;
  }

  /** @param {string} [refused] */
  async access(refused) {
    const held = this.#held;
    if (held && held.token !== refused && held.endsMs - Date.now() > MARGIN_MS) return held.token;
    // Calls that come together share one renewal.
    this.#renewing ??= this.#locked(() => this.#renew(refused)).finally(() => (this.#renewing = null));
    return this.#renewing;
  }

  /** End the session here, on the server and in the other tabs. Never rejects: signing out always works. */
  async logout() {
    const token = this.#held?.token;
    this.#held = null;
    // Asked for and removed in one go: between the two nobody may find it still there.
    const reading = this.#store.get();
    await this.#store.remove();
    this.#channel?.postMessage({ kind: "signed_out" });
    if (token && (await this.#end(token))) return;
    // A token that ran out, as over a laptop's sleep, ends nothing; what it is renewed with does.
    const kept = await reading;
    const grant = kept === null ? null : await this.#post("/auth/refresh", { refresh_token: kept }, REFRESH_MS).catch(() => null);
    if (grant) await this.#end(grant.access_token);
  }

  /** @param {string} token @returns {Promise<boolean>} whether its session is over */
  async #end(token) {
    const headers = { authorization: `Bearer ${token}` };
    // Under the lock, too: a server that never answers must not keep every tab from signing in again.
    const init = { method: "POST", headers, keepalive: true, signal: AbortSignal.timeout(REFRESH_MS) };
    const answer = await this.#fetch(`${this.#base}/auth/logout`, init).catch(() => null);
    return answer?.ok ?? false;
  }

  /** @param {string} [refused] */
  async #renew(refused) {
    // While we waited for the lock another tab may have renewed, and said so.
    const told = this.#held;
    if (told && told.token !== refused && told.endsMs - Date.now() > MARGIN_MS) return told.token;
    // Read inside the lock: what we knew before it may be used up, and using it again late is taken for a theft.
    const kept = await this.#store.get();
    if (kept === null) throw new ParleyError("sign_in_needed", 401, "nobody is signed in");
    const grant = await this.#post("/auth/refresh", { refresh_token: kept }, REFRESH_MS).catch(async (error) => {
      // 404 is a server that keeps no sessions: like a session that is over, it asks for the password again.
      if (!error.passing && (await this.#store.get()) === kept) await this.#store.remove();
      throw error;
    });
    const now = await this.#store.get();
    if (now === kept) {
      await this.#keep(grant);
    } else if (now === null) {
      // Signed out while the answer was on its way: it must not bring the sign-in back.
      await this.#end(grant.access_token);
      throw new ParleyError("sign_in_needed", 401, "signed out meanwhile");
    } else if (!this.#held || peek(this.#held.token).sub === peek(grant.access_token).sub) {
      // Another tab renewed or signed in meanwhile, and its refresh token is the one to keep.
      this.#held = { token: grant.access_token, endsMs: Date.now() + grant.expires_in * 1000 };
    }
    return grant.access_token;
  }

  /** @param {Grant} grant */
  async #keep(grant) {
    this.#held = { token: grant.access_token, endsMs: Date.now() + grant.expires_in * 1000 };
    if (grant.refresh_token) await this.#store.set(grant.refresh_token);
    this.#channel?.postMessage({ kind: "renewed", token: grant.access_token, endsMs: this.#held.endsMs });
  }

  /** @param {{kind: string, token?: string, endsMs?: number}} told */
  #hear(told) {
    if (told.kind === "signed_out") {
      this.#held = null;
      this.onSignedOut?.();
    } else if (told.kind === "renewed" && told.token && this.#held) {
      // Another person's sign-in in another tab is not ours to take over in mid-sentence.
      if (peek(told.token).sub !== peek(this.#held.token).sub) return;
      this.#held = { token: told.token, endsMs: told.endsMs ?? 0 };
      this.onRenewed?.();
    }
  }

  /**
   * @template T
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  async #locked(work) {
    const locks = globalThis.navigator?.locks;
    // Only secure contexts have locks; without them the server's tolerance of one repeated use is what remains.
    return locks ? await locks.request(this.#name, work) : work();
  }

  /**
   * @param {string} path
   * @param {object} body
   * @param {number} answerMs
   * @returns {Promise<Grant>}
   */
  async #post(path, body, answerMs) {
    // A kept connection may be dead and never answer; asking again is safe, a refresh token's second use included.
    const signal = AbortSignal.timeout(answerMs);
    const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal };
    const response = await this.#fetch(this.#base + path, init).catch((error) => {
      throw connectionLost(String(error?.message ?? error));
    });
    if (!response.ok) throw await fromHttp(response);
    // Cut off in the middle it is no answer, and least of all a refusal.
    return response.json().catch((error) => {
      throw connectionLost(String(error?.message ?? error));
    });
  }
}
