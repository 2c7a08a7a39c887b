/**
 * What the player asks by HTTP: whether a stream is there, what it is, a ticket for a place where a URL is all there is.
 * @module
 */

import { connectionLost, fromHttp, fromRpc } from "../client/errors.js";

/**
 * @typedef {object} Stream as the commands and signals return it
 * @property {string} id
 * @property {string} [title]
 * @property {"public"|"members"} visibility
 * @property {boolean} live
 * @property {string|null} [started_at]
 * @property {number} [listeners]
 * @property {string|{subject: string, name?: string}} [owner]
 * @property {{subject: string, name?: string}|null} [broadcaster]
 * @property {boolean} [may_publish] told to whoever asks for it
 */

/** A kept connection may be as dead as the socket that was lost: what is not answered by then is asked anew. */
const ANSWER_MS = 5_000;

/** @param {string} name */
export const streamPath = (name) => `/streams/${encodeURIComponent(name)}`;

/** The stream that this page is about: the last part of its address. */
export const streamOfPage = () => decodeURIComponent(location.pathname.split("/").pop() ?? "");

/** @param {string|null} token @returns {Record<string, string>} */
const bearer = (token) => (token === null ? {} : { authorization: `Bearer ${token}` });

/**
 * What a browser is not told when an upgrade is refused. Resolves where one may listen, be something on the air or not.
 * @param {string} name
 * @param {string|null} token
 * @returns {Promise<void>} rejects with the refusal
 */
export async function mayListen(name, token) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), ANSWER_MS);
  const response = await fetch(streamPath(name), { headers: bearer(token), signal: abort.signal, cache: "no-store" }).catch((error) => {
    throw connectionLost(String(error?.message ?? error));
  });
  clearTimeout(timer);
  if (response.ok) return abort.abort();
  const refusal = await fromHttp(response);
  if (refusal.code !== "not_live") throw refusal;
}

/**
 * @param {string} name
 * @param {string} token
 * @returns {Promise<Stream>} rejects with the refusal
 */
export async function describe(name, token) {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "stream.get", params: { stream: name } });
  const answer = await post("/rpc", token, body);
  const { result, error } = await answer.json();
  if (error) throw fromRpc(error);
  return result.stream;
}

/** @param {string} token @returns {Promise<string>} for one use within 30 s */
export async function ticket(token) {
  const answer = await post("/auth/tickets", token, "{}");
  return (await answer.json()).ticket;
}

/** @param {string} path @param {string} token @param {string} body */
async function post(path, token, body) {
  const signal = AbortSignal.timeout(ANSWER_MS);
  const init = { method: "POST", headers: { ...bearer(token), "content-type": "application/json" }, body, signal };
  const response = await fetch(path, init).catch((error) => {
    throw connectionLost(String(error?.message ?? error));
  });
  if (!response.ok) throw await fromHttp(response);
  return response;
}

/** Whoever is on the air, as far as we are told. @param {Stream} stream */
export function broadcasterName(stream) {
  const who = stream.broadcaster ?? stream.owner;
  return typeof who === "string" ? who : (who?.name ?? who?.subject ?? "");
}

