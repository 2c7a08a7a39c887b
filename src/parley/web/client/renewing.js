/**
 * Putting a new token on a living line before the old one runs out.
 * @module
 */

import { ParleyError } from "./errors.js";

/**
 * @typedef {object} Renewal
 * @property {() => Promise<string>} access a token that is not the old one
 * @property {(token: string) => Promise<void>} present it on the line
 * @property {() => boolean} isCurrent whether the line is still the one there is
 * @property {(reason: string) => void} hold only a person can help
 * @property {number} retryMs the first pause where trying again may help
 */

/** @param {Renewal} renewal */
export async function renewInTime({ access, present, isCurrent, hold, retryMs }) {
  for (let pauseMs = retryMs; isCurrent(); pauseMs *= 2) {
    try {
      const token = await access();
      if (isCurrent()) await present(token);
      return;
    } catch (error) {
      if (!isCurrent()) return;
      if (error instanceof ParleyError && !error.passing) return hold(error.code);
      await new Promise((resolve) => setTimeout(resolve, pauseMs * (1 + Math.random())));
    }
  }
}
