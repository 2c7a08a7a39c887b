/**
 * What the client's users see of it, as types, and how long it waits for what. `../parley.js` gives all of them.
 * @module
 */

/**
 * @typedef {{subject: string, name: string, type?: string}} Person
 * @typedef {{id: string, room: string, seq: number, text?: string, sender: Person, at: string, client_id?: string,
 *   reply_to?: string, data?: object, edited_at?: string, deleted?: boolean, deleted_at?: string, deleted_by?: Person,
 *   reason?: string}} Message
 * @typedef {{room: string, seq: number, type: string, at: string, actor: Person, data: any}} Event
 * @typedef {{room: string, type: string, at: string, data: any}} Signal
 * @typedef {{subject: string, type: string, name: string, roles: string[], session: string, connection: string|null,
 *   expires_at: string, server_time: string}} Session
 *
 * Where the connection stands. `connecting` and `reconnecting` go on by themselves (`retryAtMs`: when the next attempt is
 * due); `held` waits for a sign-in, and `isOpen` says that the line still lives until `expiresAt`; `ended` is final until
 * `connect` or `login` is called. `reason` is a refusal's code, or `silent`, `lost`, `signed_out`.
 * @typedef {object} State
 * @property {"idle"|"connecting"|"live"|"reconnecting"|"held"|"ended"} name
 * @property {string} [reason]
 * @property {number} [retryAtMs] Unix milliseconds
 * @property {boolean} [isOpen]
 * @property {string} [expiresAt]
 *
 * @typedef {object} Timing all in milliseconds
 * @property {number} silenceMs a line that brings nothing for so long is given up (45,000: the server speaks every 25,000)
 * @property {number} connectMs how long one attempt may take (10,000)
 * @property {number} probeMs how long `nudge` waits for an answer (5,000)
 * @property {number} retryMs the first pause after a lost line, doubled each time (1,000)
 * @property {number} retryMaxMs the longest pause (30,000)
 * @property {number} restartMs the longest first pause after a restart (5,000)
 * @property {number} overloadedMs the first pause after an overload (5,000)
 *
 * @typedef {object} Options one of `token`, `tokenCallback`, `signIn`, or none: the sign-in kept from an earlier visit
 * @property {string} [url] origin of the server; the page's own by default
 * @property {string} [token]
 * @property {() => string|Promise<string>} [tokenCallback] called whenever a new token is needed
 * @property {{username: string, password: string}} [signIn]
 * @property {"subprotocol"|"message"} [carrier] how the token reaches the socket
 * @property {import("./credentials.js").TokenStore} [store] for the refresh token
 * @property {string} [session] another name for another sign-in beside the usual one: tabs share what has the same name
 * @property {Partial<Timing>} [timing]
 * @property {typeof WebSocket} [WebSocket]
 * @property {typeof fetch} [fetch]
 *
 * @typedef {{state: State, session: Session, event: Event, signal: Signal}} ParleyEvents
 */

/** @type {Timing} */
export const TIMING = {
  silenceMs: 45_000,
  connectMs: 10_000,
  probeMs: 5_000,
  retryMs: 1_000,
  retryMaxMs: 30_000,
  restartMs: 5_000,
  overloadedMs: 5_000,
};
