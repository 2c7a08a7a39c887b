/**
 * What the player says where something is in the way: why, that nothing is lost, what to do.
 * @module
 */

/** @type {Record<string, string>} */
const LISTENING = {
  not_found: "There is no stream of this name. Look at the address, or ask whoever gave it to you.",
  forbidden: "You may not listen to this stream.",
  revoked: "Your sign-in was ended. Sign in again to listen.",
  stopped: "This stream was taken down.",
};

/** @param {string} code */
export const listeningEnded = (code) => LISTENING[code] ?? "The server ended this. Press play to try again.";

export const CANNOT_PLAY = "This browser cannot play Opus. A current Chrome, Edge, Firefox or Safari can; so can any player, at the stream’s own address.";

/** @type {Record<string, string>} */
const BROADCASTING = {
  already_live: "Somebody else is on the air, and nobody can take their place. Try again when they are done.",
  stopped: "Your broadcast was stopped by the stream’s owner or an admin.",
  forbidden: "You may not broadcast here. The stream’s owner can let you.",
  revoked: "Your sign-in was ended, and the broadcast with it. Sign in to go on.",
  rate_limited: "The server got sound faster than it can be heard, and cut it. Go live again to go on.",
  stalled: "No sound reached the server for ten seconds, so it ended the broadcast. Go live again to go on.",
  not_ogg_opus: "The server could not read the sound that this browser makes. Try another browser, or ffmpeg.",
  not_found: "There is no stream of this name. Look at the address, or ask its owner.",
};

/** @param {string} code */
export const broadcastEnded = (code) => BROADCASTING[code] ?? "The server ended the broadcast. Go live again to go on.";

/** @type {Record<string, string>} */
const SOURCE = {
  not_allowed: "The browser was not allowed to. Allow it beside the address, then choose again.",
  no_device: "There is no such microphone. Plug one in, then choose again.",
  no_sound: "What you shared brings no sound. Share a tab, and tick “Also share tab audio”.",
  not_readable: "The sound could not be opened. Another program may be holding it; then choose again.",
  insecure: "Browsers give a microphone to secure pages only. Open this page by https.",
};

/** @param {string} code */
export const sourceTrouble = (code) => SOURCE[code] ?? SOURCE.not_readable;
