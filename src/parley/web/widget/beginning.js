/**
 * Asks the server to begin a conversation. What follows from it is `visit.js`'s.
 * @module
 */

import { ParleyError, connectionLost, fromHttp } from "../client/errors.js";

/** How long it may take. */
const BEGIN_MS = 20_000;

/** A page that goes away cuts its own requests off, and must not keep that they failed: the next one goes on with them. */
let isLeaving = false;
addEventListener("pagehide", () => (isLeaving = true));
addEventListener("pageshow", () => (isLeaving = false));

/**
 * @param {{message: string, page: string|null, department: string|null, identity: string|null}} said
 * @returns {Promise<{conversation: import("./visit.js").Conversation, refresh_token: string}>} rejects with ParleyError
 */
export async function begin(said) {
  try {
    const response = await fetch("/conversations", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(Object.fromEntries(Object.entries(said).filter(([, value]) => value))),
      signal: AbortSignal.timeout(BEGIN_MS),
    });
    if (!response.ok) throw await fromHttp(response);
    return await response.json();
  } catch (error) {
    if (error instanceof ParleyError) throw error;
    if (isLeaving) await new Promise((resolve) => addEventListener("pageshow", resolve, { once: true }));
    throw connectionLost(String(error));
  }
}
