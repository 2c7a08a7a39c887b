/**
 * Waiting until a connection stands, or needs somebody.
 * @module
 */

import { ParleyError } from "./errors.js";

/**
 * @param {import("../parley.js").Parley} parley
 * @returns {Promise<import("../parley.js").Session>} rejects where somebody must sign in, or it ended
 */
export function whenSettled(parley) {
  return new Promise((resolve, reject) => {
    const off = parley.on("state", ({ name, reason }) => {
      if (name === "live" && parley.session) resolve(parley.session);
      else if (name === "held") reject(new ParleyError(reason ?? "sign_in_needed", 401, "somebody must sign in"));
      else if (name === "ended") reject(new ParleyError(reason ?? "ended", 0, "the connection ended"));
      else return;
      off();
    });
  });
}
