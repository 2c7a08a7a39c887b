/**
 * What people wrote, as nodes: text stays text, and a web address becomes a link. Nothing here reads markup.
 * @module
 */

import { h } from "./dom.js";

const ADDRESS = /\bhttps?:\/\/[^\s<>"'`]+/giu;
/** What ends a sentence does not belong to the address before it. */
const TRAILING = /[.,:;!?…)\]}»”’]+$/u;

/**
 * @param {string} text
 * @returns {(Node|string)[]}
 */
export function written(text) {
  /** @type {(Node|string)[]} */
  const nodes = [];
  let from = 0;
  for (const match of text.matchAll(ADDRESS)) {
    let address = match[0].replace(TRAILING, "");
    // A closing bracket belongs to the address that opened it: /wiki/Parley_(chat)
    if (address.includes("(") && match[0][address.length] === ")") address += ")";
    if (!URL.canParse(address)) continue;
    nodes.push(text.slice(from, match.index));
    nodes.push(h("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow" }, address));
    from = match.index + address.length;
  }
  nodes.push(text.slice(from));
  return nodes;
}

const EMOJI_ONLY = /^(?:\p{Extended_Pictographic}|\p{Emoji_Modifier}|\p{Regional_Indicator}|[\u200d\ufe0f\u20e3]|[\u{e0020}-\u{e007f}]|\s)+$/u;
const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** One to three emoji and nothing else are drawn larger. @param {string} text */
export function isEmojiOnly(text) {
  return text.length <= 60 && EMOJI_ONLY.test(text) && [...segmenter.segment(text.replace(/\s/gu, ""))].length <= 3;
}
