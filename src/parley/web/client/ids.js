/**
 * Ids that nobody guesses, made here.
 * @module
 */

/** 128 random bits. (`crypto.randomUUID` is missing outside secure contexts.) */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
