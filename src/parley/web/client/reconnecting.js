/**
 * What a close code asks of a native client: stop, or come back, and when. The table of the protocol's page on close codes.
 * Does not dial: `../parley.js` does.
 * @module
 */

/**
 * Codes after which trying again is wrong: the server refused us (4403), gave our place to another connection of ours (4409),
 * or we broke the protocol (4400, and RFC 6455's 1002, 1003, 1007, 1009).
 */
const FINAL = new Set([1002, 1003, 1007, 1009, 4400, 4403, 4409]);

/** Codes that ask for patience: overloaded, and over a limit. */
const PATIENT = new Set([1013, 4429]);

/** @param {number} code */
export const isFinal = (code) => FINAL.has(code);

/**
 * How long to wait before the next attempt. Always with jitter: after a restart everybody comes at once.
 * @param {number} code the close code; 0 where we gave the line up
 * @param {number} attempts in a row that failed before
 * @param {import("../parley.js").Timing} timing
 * @param {number} [chance] from 0 to 1
 * @returns {number} milliseconds
 */
export function after(code, attempts, timing, chance = Math.random()) {
  if (code === 1012 && attempts === 0) return chance * timing.restartMs;
  const firstMs = PATIENT.has(code) ? timing.overloadedMs : timing.retryMs;
  const capMs = Math.min(timing.retryMaxMs, firstMs * 2 ** Math.min(attempts, 16));
  return capMs * (0.5 + chance / 2);
}
